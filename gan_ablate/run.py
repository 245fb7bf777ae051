"""One run: a recipe carried out in a folder, from its checkpoint if there is one; the result is plain data."""

from __future__ import annotations

import json
import logging
import os
import platform
import resource
import sys
import time
import warnings
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.loggers import Logger
from lightning.pytorch.loggers.logger import DummyExperiment

import gan_ablate
from gan_ablate.data import ImageSet, load
from gan_ablate.data.module import GANDataModule
from gan_ablate.evaluate import Extractor, load_extractor
from gan_ablate.evaluate.callback import EvaluationCallback
from gan_ablate.models import BY_NAME, GANModule
from gan_ablate.recipe import SCHEMA, Recipe
from gan_ablate.run_loggers import outside_loggers

CHECKPOINT_SHARE = 0.1  # of the steps between checkpoints
CHECKPOINT_SECONDS = 120.0  # or so much time, whichever comes first


class Stopped(Exception):
    """The run was asked to stop; its checkpoint is written and the same call goes on from there."""


def carry_out(
    recipe: Recipe,
    folder: Path,
    *,
    data_root: str | None = None,
    weights: str | None = None,
    threads: int | None = None,
    accelerator: str = "auto",
    wandb: str = "disabled",
    logger: str = "none",
    group: str = "gan_ablate",
    progress: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Train and evaluate `recipe` in `folder`, from its checkpoint if there is one.

    Args:
        data_root: where torchvision's dataset files lie.
        weights: path of Inception's weights file.
        threads: of this process; `None` leaves torch's choice.
        wandb: online | offline | disabled; a server that cannot be reached falls back to offline.
        logger: csv | tensorboard | none, in `folder`.
        should_stop: asked after every step; once true, a checkpoint is written and `Stopped` raised.

    Returns:
        The content of `result.json` (see docs/architecture.md).

    Raises:
        InputError: data, weights or recipe that cannot be used. Stopped: as above.
    """
    if threads:
        torch.set_num_threads(threads)
    _quiet()
    started = time.perf_counter()
    module = _module(recipe)
    recipe = module.recipe
    images = load(recipe.dataset, size=recipe.size, channels=recipe.channels, data_root=data_root, progress=progress)
    trainer_device = torch.device("cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu")
    extractor, real = _measure(recipe, images, data_root, weights, trainer_device)

    folder.mkdir(parents=True, exist_ok=True)
    log = RunLog(folder / "metrics.jsonl")
    outside = outside_loggers(recipe, folder, wandb, logger, group)

    def record(point: dict[str, Any]) -> None:
        log.evaluated(point)
        for each in outside:
            each.log_metrics({k: v for k, v in point.items() if k != "step" and v is not None}, step=point["step"])

    evaluation = EvaluationCallback(
        recipe.evaluation, recipe.steps, real, extractor, record, folder / "samples", recipe.seed
    )
    untrained = Untrained(evaluation, log)
    keeper = Checkpoints(folder / "checkpoints", recipe.steps, should_stop)
    checkpoint = keeper.latest()
    trainer = lightning.Trainer(
        accelerator="gpu" if trainer_device.type == "cuda" else "cpu",
        devices=1,
        max_epochs=1,
        logger=[log, *outside],
        callbacks=[untrained, evaluation, keeper, *([RichProgressBar(refresh_rate=20)] if progress else [])],
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=progress,
        default_root_dir=folder,
    )
    data = GANDataModule(
        images,
        batch_size=module.blueprint.batch_size,
        seed=recipe.seed,
        batches=recipe.steps * module.blueprint.n_critic,
    )
    if trainer_device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    fit_started = time.perf_counter()
    trainer.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    for each in outside:
        each.finalize("success")
    if keeper.stopped:
        raise Stopped(f"stopped after {module.g_steps} of {recipe.steps} steps; the same command goes on from there")
    now = time.perf_counter()
    earlier = keeper.seconds_before
    return {
        **_result(module, evaluation),
        "seconds": round(earlier + now - started, 3),
        "train_seconds": round(earlier + now - fit_started - evaluation.seconds, 3),
        "evaluation_seconds": round(evaluation.seconds, 3),
        "resumed": keeper.resumed,
        "peak_memory_bytes": _peak_memory(trainer_device),
        "versions": versions(),
        "hardware": hardware(trainer_device),
    }


def _module(recipe: Recipe) -> GANModule:
    full = recipe.resolved()
    return BY_NAME[full.model].from_recipe(full)


def _measure(
    recipe: Recipe, images: ImageSet, data_root: str | None, weights: str | None, device: torch.device
) -> tuple[Extractor, ImageSet]:
    """The extractor and the real images that a recipe's evaluation plan asks for."""
    plan = recipe.evaluation
    real = images
    if plan.split != "train":
        real = load(recipe.dataset, size=recipe.size, channels=recipe.channels, split=plan.split, data_root=data_root)
    # the classifier is always of the training split: a measuring rod must not depend on what is measured
    return _extractor(plan.extractor, images, str(device), weights), real


_EXTRACTORS: dict[tuple[str, str, str, str | None], Extractor] = {}


def _extractor(name: str, images: ImageSet, device: str, weights: str | None) -> Extractor:
    key = (name, images.fingerprint, device, weights)
    if key not in _EXTRACTORS:
        _EXTRACTORS[key] = load_extractor(name, dataset=images, device=device, weights=weights)
    return _EXTRACTORS[key]


def _result(module: GANModule, evaluation: EvaluationCallback) -> dict[str, Any]:
    recipe, curve = module.recipe, evaluation.curve
    finite = bool(module.finite) and all(bool(torch.isfinite(p).all()) for p in module.parameters())
    final = next((row for row in curve if row["step"] == recipe.steps), None)
    measured = {k: v for k, v in (final or {}).items() if k not in ("step", "seconds")}
    outcome, note = judge(finite, final, curve, len(evaluation.real.classes))
    scored = [row for row in curve if row["step"] and row.get("fid") is not None]
    best = min(scored, key=lambda row: row["fid"], default=None)
    return {
        "schema": SCHEMA,
        "run_id": recipe.run_id,
        "recipe": recipe.to_dict(),
        "outcome": outcome,
        "diverged_at": (module.diverged_at or module.g_steps) if outcome == "diverged" else None,
        "note": note,
        "metrics": measured,
        "best": {"fid": best["fid"], "step": best["step"]} if best else None,
        "curve": curve,
        "labels": evaluation.labels(),
        "evaluation": evaluation.settings(),
        "g_steps": module.g_steps,
        "d_steps": module.d_steps,
        "images_seen": module.d_steps * module.blueprint.batch_size,
        "sample_grid": "samples/final.png",
    }


def judge(finite: bool, final: dict[str, Any] | None, curve: list[dict[str, Any]], classes: int) -> tuple[str, str]:
    """Outcome and its reason, by the rules that were fixed before any grid ran (docs/architecture.md)."""
    if not finite or final is None or final.get("fid") is None:
        return "diverged", "loss or weights are not finite"
    floor = next((row["fid"] for row in curve if row["step"] == 0), None)
    if floor is not None and final["fid"] >= floor:
        return "collapsed", f"final FID {final['fid']:.1f} is no better than an untrained generator's {floor:.1f}"
    modes = final.get("modes")
    if modes is not None and modes < classes / 2:
        return "collapsed", f"covers {modes} of {classes} modes"
    return "ok", ""


class Untrained(lightning.Callback):
    """Measures the untrained generator: the floor that a run has to beat. A resumed run's log goes back to its step."""

    def __init__(self, evaluation: EvaluationCallback, log: RunLog) -> None:
        self.evaluation, self.run_log = evaluation, log  # Lightning sets `log` on every callback

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, GANModule)
        self.run_log.rewind(pl_module.g_steps if pl_module.d_steps else -1)
        if pl_module.d_steps == 0:
            self.evaluation.evaluate(pl_module)


class Checkpoints(lightning.Callback):
    """Writes `last.ckpt` atomically and keeps the one before it; leaves when asked to."""

    def __init__(self, folder: Path, steps: int, should_stop: Callable[[], bool]) -> None:
        self.folder, self.should_stop = folder, should_stop
        self.every = max(1, round(steps * CHECKPOINT_SHARE))
        self.stopped, self.resumed, self.seconds_before = False, 0, 0.0
        self._saved_at, self._began = 0, time.perf_counter()
        self._last_time = self._began

    def latest(self) -> str | None:
        """The newest checkpoint that can be read, or `None`."""
        for name in ("last.ckpt", "previous.ckpt"):
            path = self.folder / name
            if not path.exists():
                continue
            try:
                torch.load(path, map_location="cpu", weights_only=True)
            except Exception as error:
                print(f"{path}: cannot be read ({type(error).__name__}), trying the one before", file=sys.stderr)
                continue
            return str(path)
        return None

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, GANModule)
        asked = self.should_stop()
        done = pl_module.g_steps
        due = done - self._saved_at >= self.every or time.perf_counter() - self._last_time > CHECKPOINT_SECONDS
        finished = pl_module.limit is not None and done >= pl_module.limit
        if (asked or due or finished) and not pl_module.diverged_at:
            self._save(trainer, done)
        if asked and not finished:
            self.stopped = True
            trainer.should_stop = True

    def _save(self, trainer: lightning.Trainer, done: int) -> None:
        self._saved_at, self._last_time = done, time.perf_counter()
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary, last = self.folder / f".{os.getpid()}.ckpt", self.folder / "last.ckpt"
        trainer.save_checkpoint(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        if last.exists():
            last.replace(self.folder / "previous.ckpt")
        temporary.replace(last)

    def state_dict(self) -> dict[str, Any]:
        return {"resumed": self.resumed, "seconds": self.seconds_before + time.perf_counter() - self._began}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.resumed = state_dict["resumed"] + 1
        self.seconds_before = state_dict["seconds"]

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, GANModule)
        self._saved_at = pl_module.g_steps


class RunLog(Logger):
    """Training health and evaluations as JSON lines, each with its G step."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    @property
    def name(self) -> str:
        return "metrics"

    @property
    def version(self) -> str:
        return ""

    @property
    def experiment(self) -> Any:
        return DummyExperiment()

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: `recipe.json` holds them."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """One line; what is not finite is written as null."""
        self._write({"step": step, **metrics})

    def rewind(self, step: int) -> None:
        """Drop what was logged after `step`: the run that logged it died, and its checkpoint is older."""
        if not self.path.exists():
            return
        kept = []
        for line in self.path.read_text().splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue  # cut short when the process died
            if row.get("step", 0) <= step:
                kept.append(line + "\n")
        self.path.write_text("".join(kept))

    def evaluated(self, point: dict[str, Any]) -> None:
        """One evaluation's record."""
        self._write({"step": point["step"], "evaluation": point})

    def _write(self, row: dict[str, Any]) -> None:
        plain = {k: None if isinstance(v, float) and not abs(v) < float("inf") else v for k, v in row.items()}
        with self.path.open("a") as file:
            file.write(json.dumps(plain) + "\n")


def _quiet() -> None:
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning.*")


def _peak_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def versions() -> dict[str, str]:
    """Versions that a result depends on."""
    return {
        "gan_ablate": gan_ablate.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "lightning": lightning.__version__,
    }


def hardware(device: torch.device) -> dict[str, Any]:
    """What a run was carried out on."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {"cpu": _cpu(), "gpu": gpu, "threads": torch.get_num_threads()}


@lru_cache
def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
