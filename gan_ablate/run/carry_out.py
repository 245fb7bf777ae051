"""Carry out one run: train a recipe in a folder, from its checkpoint if there is one, and return the result as data."""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import torch

from gan_ablate.cache import holding
from gan_ablate.data import NAMES, ImageSet, load
from gan_ablate.data.module import GANDataModule
from gan_ablate.errors import InputError
from gan_ablate.evaluate import Extractor, health, load_extractor
from gan_ablate.evaluate.beside import ExtractorBeside, extractor_beside
from gan_ablate.evaluate.callback import EvaluationCallback
from gan_ablate.evaluate.memorisation import held_out_of, neighbours_of
from gan_ablate.evaluate.real_statistics import real_statistics
from gan_ablate.models import GANModule, module_class
from gan_ablate.recipe import SCHEMA, Recipe
from gan_ablate.run.checkpoints import Checkpoints, SealedCheckpoints, Untrained
from gan_ablate.run.log import RunLog, StepBar
from gan_ablate.run.loggers import conclude, outside_loggers
from gan_ablate.run.trainer import quiet_lightning, run_trainer
from gan_ablate.sources import identity
from gan_ablate.store.attempts import cpu, versions


class Stopped(Exception):
    """The run was asked to stop. Its checkpoint is written; the same call goes on from there."""


def carry_out(
    recipe: Recipe,
    folder: Path,
    *,
    data_root: str | None = None,
    weights: str | None = None,
    threads: int | None = None,
    accelerator: str = "auto",
    step: str = "auto",
    wandb: str = "disabled",
    wandb_artifacts: bool = False,
    logger: str = "none",
    group: str = "gan_ablate",
    progress: bool = False,
    beside: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Train and evaluate `recipe` in `folder`, from its checkpoint if there is one.

    Args:
        data_root: where torchvision's dataset files lie.
        weights: path of the extractor's weights file.
        accelerator: auto | cpu | gpu; `auto` is a GPU where there is one.
        threads: for torch in this process; `None` leaves torch's choice.
        step: captured | eager | auto, how rounds are played (see `models.rounds`); results do not depend on it.
        wandb: online | offline | disabled; a server that cannot be reached falls back to offline.
        wandb_artifacts: whether checkpoint and sample grids are uploaded at the end.
        logger: csv | tensorboard | none, in `folder`.
        beside: whether an extractor that has to be trained is trained in a second process, while the GAN trains; on the
            CPU only. Figures do not depend on it.
        should_stop: asked after every step; once true, a checkpoint is written and `Stopped` raised.

    Returns:
        The content of `result.json` (see docs/architecture.md).

    Raises:
        InputError: data, weights or recipe that cannot be used. Stopped: as above.
    """
    if threads:
        torch.set_num_threads(threads)
    quiet_lightning()
    started = time.perf_counter()
    run = _prepare(recipe, folder, data_root, weights, accelerator, should_stop, progress, beside)
    run.module.step = step
    run.loggers += outside_loggers(run.module.recipe, folder, wandb, logger, group, wandb_artifacts)
    fit_seconds = _train(run, progress)
    seconds = time.perf_counter() - started  # without the last upload, which is no part of the run
    if run.checkpoints.stopped:
        conclude(run.loggers)
        done, steps = run.module.g_steps, run.module.blueprint.steps
        raise Stopped(f"stopped after {done} of {steps} steps; the same command goes on from there")
    result = _result(run, seconds, fit_seconds)
    conclude(run.loggers, result)
    return result


def hold(recipe: Recipe, *, data_root: str | None = None, weights: str | None = None, **_: Any) -> None:
    """Read into this process what runs like `recipe` read before they train, so that forks have it in memory.

    That is the images, the extractor, and what the real images look like to it. For the server of a sweep, once such a
    run has ended: by then nothing has to be downloaded, decoded or trained. On the CPU and in one thread, since a fork
    inherits neither CUDA nor threads. Takes `carry_out`'s options.
    """
    recipe = recipe.resolved()
    if ":" in recipe.evaluation.extractor:  # code of the user's: it may start what no fork inherits
        return
    torch.set_num_threads(1)
    images = load(recipe.dataset, size=recipe.size, channels=recipe.channels, data_root=data_root)
    held_out = held_out_of(recipe.dataset, size=recipe.size, channels=recipe.channels, data_root=data_root)
    with holding():
        extractor = _extractor(recipe.evaluation.extractor, images, "cpu", weights)
        real_statistics(_real(recipe, images, data_root), extractor)
        neighbours_of(images, held_out, extractor)


@dataclass
class _Run:
    """A run that is ready to train. `data`: what `result.json` says of the data."""

    module: GANModule
    images: ImageSet
    device: torch.device
    folder: Path
    data: dict[str, Any]
    evaluation: EvaluationCallback
    log: RunLog
    loggers: list[Any]  # outside the store; the evaluations go to these too
    checkpoints: Checkpoints


def _prepare(  # noqa: PLR0917
    recipe: Recipe,
    folder: Path,
    data_root: str | None,
    weights: str | None,
    accelerator: str,
    should_stop: Callable[[], bool],
    progress: bool,
    beside: bool,
) -> _Run:
    """Data, networks, evaluation, log and checkpoints of a run; makes its folder. Arguments as in `carry_out`."""
    recipe = recipe.resolved()
    source = _source(recipe.dataset)  # before they are read: what is swapped meanwhile then shows as other data
    images = load(recipe.dataset, size=recipe.size, channels=recipe.channels, data_root=data_root, progress=progress)
    module = module_class(recipe.model).from_recipe(replace(recipe, classes=len(images.classes)))
    recipe, bp = module.recipe, module.blueprint
    if accelerator == "gpu" and not torch.cuda.is_available():
        raise InputError("accelerator gpu: no CUDA device is visible here: take auto or cpu")
    device = torch.device("cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu")
    extractor, real = _measure(recipe, images, data_root, weights, device, beside)
    # now, since an image that cannot be read has to end a run before it trains
    held_out = held_out_of(recipe.dataset, size=recipe.size, channels=recipe.channels, data_root=data_root)

    folder.mkdir(parents=True, exist_ok=True)
    log, loggers = RunLog(folder / "metrics.jsonl", bp.probabilities), list[Any]()

    def record(point: dict[str, Any]) -> None:
        log.evaluated(point)
        for each in loggers:
            each.log_metrics({k: v for k, v in point.items() if k != "step" and v is not None}, step=point["step"])

    evaluation = EvaluationCallback(
        recipe.evaluation,
        bp.steps,
        real,
        extractor,
        record,
        folder / "samples",
        recipe.seed,
        lambda: neighbours_of(images, held_out, evaluation.extractor),
    )
    data = {"name": images.name, "fingerprint": images.fingerprint, "images": len(images)}
    belongs = {"run_id": recipe.run_id, "data": data}
    checkpoints = Checkpoints(folder / "checkpoints", bp.steps, should_stop, belongs, evaluation, log)
    return _Run(module, images, device, folder, {**data, **source}, evaluation, log, loggers, checkpoints)


def _train(run: _Run, progress: bool) -> float:
    """Train from the newest checkpoint, if there is one; returns the seconds that it took."""
    checkpoint = run.checkpoints.latest()
    bars = [StepBar(run.evaluation.beside)] if progress else []
    trainer = run_trainer(
        run.device.type,
        logger=[run.log, *run.loggers],
        callbacks=[Untrained(run.evaluation), run.evaluation, run.checkpoints, *bars],
        plugins=[SealedCheckpoints()],
        enable_progress_bar=progress,
        default_root_dir=run.folder,
    )
    bp = run.module.blueprint
    data = GANDataModule(run.images, batch_size=bp.batch_size, seed=run.module.recipe.seed, batches=bp.d_steps)
    if run.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    with closing(run.log):
        trainer.fit(run.module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
        run.log.position()  # on the disk before the result is
    return time.perf_counter() - started


def _measure(  # noqa: PLR0917
    recipe: Recipe, images: ImageSet, data_root: str | None, weights: str | None, device: torch.device, beside: bool
) -> tuple[Extractor | ExtractorBeside, ImageSet]:
    """The extractor and the real images that a recipe's evaluation plan asks for."""
    name, real = recipe.evaluation.extractor, _real(recipe, images, data_root)
    # the classifier is always of the training split: a measuring rod must not depend on what is measured
    if beside and device.type == "cpu":
        return extractor_beside(name, images, real, weights), real
    return _extractor(name, images, str(device), weights), real


def _real(recipe: Recipe, images: ImageSet, data_root: str | None) -> ImageSet:
    """The real images that a recipe's samples are measured against. images: those of the training split."""
    split = recipe.evaluation.split
    if split == "train":
        return images
    return load(recipe.dataset, size=recipe.size, channels=recipe.channels, split=split, data_root=data_root)


def _source(dataset: str) -> dict[str, Any]:
    """What lay at the dataset's path, where it has one: by that a sweep, which decodes nothing, knows it again."""
    if dataset not in NAMES:
        with suppress(OSError, BadZipFile):  # `load` says what is wrong
            return {"source": identity(Path(dataset).expanduser())}
    return {}


_EXTRACTORS: dict[tuple[str, str, str | None], Extractor] = {}


def _extractor(name: str, images: ImageSet, device: str, weights: str | None) -> Extractor:
    key = (name, images.fingerprint, weights)
    if key not in _EXTRACTORS:
        _EXTRACTORS[key] = load_extractor(name, dataset=images, device=device, weights=weights)
    return _EXTRACTORS[key].to(device)


def _result(run: _Run, seconds: float, fit_seconds: float) -> dict[str, Any]:
    """The content of `result.json`. `seconds`, `fit_seconds`: of this process; earlier ones are added."""
    module, evaluation, records = run.module, run.evaluation, run.log.records
    recipe, curve, earlier = module.recipe, evaluation.curve, run.checkpoints.seconds_before
    finite = bool(module.finite) and all(bool(torch.isfinite(p).all()) for p in module.parameters())
    final = next((row for row in curve if row["step"] == module.total_steps), None)
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
        "metrics": {k: v for k, v in (final or {}).items() if k not in ("step", "seconds")},
        "best": {"fid": best["fid"], "step": best["step"]} if best else None,
        "curve": curve,
        "labels": evaluation.labels(),
        "evaluation": evaluation.settings(),
        "g_steps": module.g_steps,
        "d_steps": module.d_steps,
        "images_seen": module.d_steps * module.blueprint.batch_size,
        "sample_grid": "samples/final.png",
        "data": run.data,
        "signs": health.signs(records, probabilities=module.blueprint.probabilities),
        "stability": health.card(records, curve, module.blueprint.steps),
        "seconds": round(earlier + seconds, 3),
        "train_seconds": round(earlier + fit_seconds - evaluation.seconds, 3),
        "evaluation_seconds": round(evaluation.seconds, 3),
        "resumed": run.checkpoints.resumed,
        "peak_memory_bytes": _peak_memory(run.device),
        "versions": versions(),
        "hardware": hardware(run.device),
    }


def judge(finite: bool, final: dict[str, Any] | None, curve: list[dict[str, Any]], classes: int) -> tuple[str, str]:
    """Outcome and its reason, by the rules that were fixed before any grid ran (docs/architecture.md).

    Diversity is judged by the classes that samples are read as, good or not: quality is the floor's to judge. The floor
    comes first, because an untrained generator's samples all look alike.
    """
    fid = None if final is None else final.get("fid")
    if not finite:
        return "diverged", "loss or weights are not finite"
    if final is None or fid is None or not math.isfinite(fid):
        return "diverged", "no finite FID at the final step"
    floor = next((row["fid"] for row in curve if row["step"] == 0), None)
    if floor is not None and fid >= floor:
        return "undertrained", f"final FID {fid:.1f} is no better than an untrained generator's {floor:.1f}"
    modes = final.get("assigned_modes")
    modes = final.get("modes") if modes is None else modes
    if modes is not None and modes < classes / 2:
        return "collapsed", f"reaches {modes} of {classes} modes"
    return "ok", ""


def _peak_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def hardware(device: torch.device) -> dict[str, Any]:
    """What a run was carried out on."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {"cpu": cpu(), "gpu": gpu, "threads": torch.get_num_threads()}
