"""Evaluation during training: a Lightning callback, so that no extractor or metric enters the model's own state."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import lightning
import torch
from torch import Tensor, nn

from gan_ablate.data import ImageSet
from gan_ablate.data.images import to_uint8
from gan_ablate.evaluate.beside import ExtractorBeside
from gan_ablate.evaluate.extractors import Extractor
from gan_ablate.evaluate.memorisation import Neighbours
from gan_ablate.evaluate.metrics import NOTHING, evaluate_images, measured_by, metric_labels
from gan_ablate.evaluate.real_statistics import RealStatistics, real_statistics
from gan_ablate.evaluate.samples import save_grid, save_points
from gan_ablate.evaluate.systems import Against, own_figures, own_labels, own_pictures
from gan_ablate.publishing import put
from gan_ablate.recipe import Evaluation, seed_for

GRID = 64  # images in a sample grid: 8 x 8
SCATTER = 2500  # points in a scatter plot
MOST_WAITING = 500_000_000  # bytes of images that wait for an extractor


class _Waiting(NamedTuple):
    """An evaluation whose images are there and whose extractor is not."""

    step: int
    images: Tensor | None  # None: not finite
    seconds: float  # that it took so far


class EvaluationCallback(lightning.Callback):
    """Measures the generator after the G steps of `plan.steps(total_steps)`, always from the same z.

    Asks of the model: `g_steps` (int) and `generate(n, *, seed) -> uint8 (n, C, H, W)` (float32 for points in the
    plane), which samples in evaluation mode from the averaged weights if there are any. Training goes on as if nothing
    had happened: random state and module modes are as before. A point that was evaluated before a checkpoint is not
    evaluated again after resuming.

    real: the images to compare with (their statistics are computed or read from the cache when training starts).
    extractor: may be one that is still being trained beside (`ExtractorBeside`). Images are then kept, and measured
    once it is ready; the last evaluation waits for it.
    record: called with {"step", "fid", "kid", "is_mean", "is_std", "precision", ..., "modes", "assigned_modes",
    "high_quality", "mode_kl", "seconds"}; None where a figure does not exist, and all of them None if the weights or
    the images are not finite. A model's blueprint may name further figures and pictures (`evaluate.systems`).
    samples_dir: gets step_000500.png, ... and final.png; None writes no pictures.
    neighbours: gives what `nn_ratio` compares with. It is asked, and the ratio measured, at the last step alone: the
    distances take as long as half of all other figures.
    seed: the run's; the evaluation's z come from `seed_for(seed, "evaluation")`.

    curve: the records so far. seconds: time spent in evaluation, statistics of the real images and pictures included.
    """

    def __init__(  # noqa: PLR0917
        self,
        plan: Evaluation,
        total_steps: int,
        real: ImageSet,
        extractor: Extractor | ExtractorBeside,
        record: Callable[[dict[str, Any]], None] = lambda point: None,
        samples_dir: Path | None = None,
        seed: int = 0,
        neighbours: Callable[[], Neighbours | None] = lambda: None,
    ) -> None:
        self.plan, self.total_steps, self.seed, self.neighbours = plan, total_steps, seed, neighbours
        self.real, self.record, self.samples_dir = real, record, samples_dir
        self._extractor = extractor
        self._waiting: list[_Waiting] = []
        self.points = frozenset(plan.steps(total_steps))
        self.done: set[int] = set()
        self.curve: list[dict[str, Any]] = []
        self.seconds = 0.0
        self._statistics: RealStatistics | None = None
        self._own_labels: dict[str, str] = {}  # of the figures that the model has beside

    @property
    def extractor(self) -> Extractor:
        """What measures; waits for one that is trained beside."""
        return self._extractor.get() if isinstance(self._extractor, ExtractorBeside) else self._extractor

    @property
    def beside(self) -> ExtractorBeside | None:
        """An extractor that is being trained beside."""
        return self._extractor if isinstance(self._extractor, ExtractorBeside) else None

    @property
    def ready(self) -> bool:
        """Whether the extractor is there, or need not be waited for any more."""
        return self.beside is None or self.beside.ready

    def labels(self) -> dict[str, str]:
        """Names of the figures for tables and axes: {"fid": "FID@2048 (shapes classifier)", ...}."""
        return metric_labels(self.extractor, self.plan.samples) | self._own_labels

    def settings(self) -> dict[str, Any]:
        """What the figures were measured with: only figures with equal settings may stand in one table."""
        settings = {
            "extractor": self.extractor.name,
            "extractor_digest": self.extractor.digest,
            "samples": self.plan.samples,
            "dataset": self.real.name,
            "split": self.plan.split,
            "real_fingerprint": self.real.fingerprint,
            "real_images": min(len(self.real), self.extractor.real_images),
            **measured_by(self.extractor),
        }
        return settings | ({"note": self.extractor.note} if self.extractor.note else {})

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        started = time.perf_counter()
        self._own_labels = own_labels(pl_module)
        if self.ready:
            self._real()
        self.seconds += time.perf_counter() - started

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        pauses: Any = getattr(pl_module, "pauses", None)
        if pauses is not None:  # a module that plays many steps per call
            pl_module.pauses = pauses | self.points
        self.evaluate_if_due(pl_module)  # resumed from a checkpoint that was written just before an evaluation

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.evaluate_if_due(pl_module)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.catch_up()  # of a run that diverged before its last evaluation

    def evaluate_if_due(self, module: nn.Module) -> dict[str, Any] | None:
        """Evaluate if a planned step was reached and not yet evaluated; returns the record, else None."""
        if self._waiting and self.ready:
            self.catch_up()
        step = int(module.g_steps)  # type: ignore[arg-type]
        due = {point for point in self.points - self.done if point <= step}
        if not due:
            return None
        self.done |= due  # several G steps per batch may stride over a planned one
        return self.evaluate(module)

    def evaluate(self, module: nn.Module) -> dict[str, Any] | None:
        """Evaluate the model where it stands, planned or not; returns the record, or None where that has to wait."""
        step = int(module.g_steps)  # type: ignore[arg-type]
        last = step == self.total_steps
        started = time.perf_counter()
        self.done.add(step)
        with torch.random.fork_rng(devices=_cuda_devices(module)):
            images = self._images(module)
            if self.samples_dir is not None:
                self._save_samples(module, step, self.samples_dir)
            point = _Waiting(step, images, time.perf_counter() - started)
            if not last and not self.ready and self._may_wait(images):
                self._waiting.append(point)
                return None
            self.catch_up()
            return self._finish(point, module, last)

    def catch_up(self) -> None:
        """Measure what waits for the extractor, in its order; waits for the extractor where there is any."""
        waiting, self._waiting = self._waiting, []
        with torch.random.fork_rng(devices=[]):  # nothing waits where there is a GPU
            for point in waiting:
                self._finish(point)

    def _may_wait(self, images: Tensor | None) -> bool:
        """Whether images may be kept for later: a model's own figures need the model as it is now."""
        held = sum(point.images.nbytes for point in self._waiting if point.images is not None)
        return not self._own_labels and held + (0 if images is None else images.nbytes) <= MOST_WAITING

    def _finish(self, point: _Waiting, module: nn.Module | None = None, last: bool = False) -> dict[str, Any]:
        """Measure and record; `module` only where it still is as it was at that step."""
        started = time.perf_counter()
        metrics = self._measure(point.images, module, last)
        seconds = point.seconds + time.perf_counter() - started
        row = {"step": point.step, **metrics, "seconds": round(seconds, 4)}
        self.seconds += seconds
        self.curve.append(row)
        self.record(row)
        return row

    def state_dict(self) -> dict[str, Any]:
        return {"done": sorted(self.done), "curve": [dict(point) for point in self.curve], "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.done = set(state_dict["done"])
        self.curve = [dict(point) for point in state_dict["curve"]]
        self.seconds = float(state_dict["seconds"])

    def _images(self, module: nn.Module) -> Tensor | None:
        """Samples as the extractor takes them; None where weights or points are not finite."""
        if not _finite(module):  # uint8 images could not show it
            return None
        images: Tensor = module.generate(self.plan.samples, seed=seed_for(self.seed, "evaluation"))  # type: ignore[operator]
        if images.is_floating_point() and not torch.isfinite(images).all():
            return None
        return to_uint8(images) if images.is_floating_point() and not self._points else images

    def _measure(self, images: Tensor | None, module: nn.Module | None, last: bool) -> dict[str, float | int | None]:
        if images is None:
            return dict(NOTHING)
        known = self.neighbours() if last else None
        found = evaluate_images(images, self.extractor, self._real(), neighbours=known)
        if module is None:
            return found
        against = Against(self.real, self.extractor, self._real(), seed_for(self.seed, "measures"))
        return found | own_figures(module, against)

    @property
    def _points(self) -> bool:
        return self.real.images.is_floating_point()  # points in the plane

    def _save_samples(self, module: nn.Module, step: int, folder: Path) -> None:
        count = SCATTER if self._points else GRID
        images: Tensor = module.generate(count, seed=seed_for(self.seed, "samples"))  # type: ignore[operator]
        path = folder / f"step_{step:06d}.png"
        if self._points:
            save_points(images, path, self.real.images[:count])
        else:
            save_grid(to_uint8(images) if images.is_floating_point() else images, path)
        if step == self.total_steps:
            put(folder / "final.png", path.read_bytes())
            for name, picture in own_pictures(module, self.real).items():
                save_grid(picture.images, folder / f"{name}.png", columns=picture.columns)

    def _real(self) -> RealStatistics:
        if self._statistics is None:
            self._statistics = real_statistics(self.real, self.extractor)
        return self._statistics


def _finite(module: nn.Module) -> bool:
    generator = getattr(module, "generator", None)
    statistics = generator.buffers() if isinstance(generator, nn.Module) else ()  # of batch norm: sampling uses them
    return all(bool(torch.isfinite(value).all()) for value in (*module.parameters(), *statistics))


def _cuda_devices(module: nn.Module) -> list[torch.device]:
    """The GPU whose random state has to be kept; none on the CPU, where asking all GPUs for theirs would be slow."""
    return list({p.device for p in module.parameters() if p.device.type == "cuda"})
