"""`GANEvaluation`: FID and the other figures as Lightning's own metrics, for a script with a Trainer of one's own."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import lightning
from torch.utils.data import DataLoader, Dataset

from gan_ablate.data import ImageSet
from gan_ablate.data.torch_sets import image_set
from gan_ablate.errors import InputError
from gan_ablate.evaluate import Extractor, load_extractor
from gan_ablate.evaluate.callback import EvaluationCallback
from gan_ablate.recipe import Evaluation


class GANEvaluation(lightning.Callback):
    """Logs `fid`, `kid`, `is_mean`, `precision`, .. at the end of each validation, or of each epoch without one.

    So `ModelCheckpoint(monitor="fid")`, `EarlyStopping("fid")` and `trainer.validate` work, and Lightning's own options
    (`val_check_interval`, `check_val_every_n_epoch`) say when. Always from the same z; training goes on as if nothing
    had happened. Loggers get the G step as their step. `fid` is NaN where weights or images are not finite.

    Asks of the model: `g_steps` (int) and `generate(n, *, seed) -> uint8 (n, C, H, W)`.

    Args:
        real: the images to compare with; None: those of the trainer's `GANDataModule`.
        extractor: `classifier`, `inception`, `dinov2`, `clip`, `module:attribute`, or an `Extractor`.
        samples: generated images per evaluation, part of the metric's name: FID@2048.
        weights: path of the extractor's weights file.
        samples_dir: gets step_000500.png, .. ; None writes no pictures.
        seed: of z.

    Raises:
        InputError: no real images, or an extractor that cannot measure them; before training starts.
    """

    def __init__(
        self,
        real: ImageSet | Dataset[Any] | DataLoader[Any] | None = None,
        *,
        extractor: str | Extractor = "classifier",
        samples: int = 2048,
        weights: str | None = None,
        samples_dir: str | Path | None = None,
        seed: int = 0,
    ) -> None:
        self.real, self.extractor, self.samples = real, extractor, samples
        self.weights, self.seed = weights, seed
        self.samples_dir = None if samples_dir is None else Path(samples_dir)
        self._evaluation: EvaluationCallback | None = None

    @property
    def curve(self) -> list[dict[str, Any]]:
        """Every evaluation so far: {"step": G steps, "fid": .., "seconds": ..}."""
        return [] if self._evaluation is None else self._evaluation.curve

    @property
    def labels(self) -> dict[str, str]:
        """Names of the figures for tables: {"fid": "FID@2048 (digits classifier)", ..}; empty before the first."""
        return {} if self._evaluation is None else self._evaluation.labels()

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """The extractor, trained or loaded where it is not cached, and the statistics of the real images."""
        if self._evaluation is not None or stage not in ("fit", "validate"):
            return
        real = self.real if self.real is not None else getattr(trainer, "datamodule", None)
        real = getattr(real, "images", real)
        if real is None:
            raise InputError("GANEvaluation: the trainer has no GANDataModule: give the real images, real=...")
        images = real if isinstance(real, ImageSet) else image_set(real)
        measured = self.extractor
        if isinstance(measured, str):
            device = trainer.strategy.root_device
            measured = load_extractor(measured, dataset=images, device=device, weights=self.weights)
        plan = Evaluation(extractor=measured.name, samples=self.samples)
        self._evaluation = EvaluationCallback(
            plan, 1, images, measured, samples_dir=self.samples_dir, seed=self.seed
        )  # fmt: skip
        self._evaluation.on_fit_start(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if not trainer.sanity_checking:
            self._evaluate(pl_module)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if not trainer.fit_loop.epoch_loop.val_loop._has_run:  # no validation data: the epoch's end is all there is
            self._evaluate(pl_module)

    def _evaluate(self, module: lightning.LightningModule) -> None:
        assert self._evaluation is not None
        self._evaluation.total_steps = int(getattr(module, "total_steps", 0))  # known once training has started
        point = self._evaluation.evaluate(module)
        assert point is not None  # its extractor is there
        found = {k: float(v) for k, v in point.items() if v is not None and k != "seconds"}
        module.log("fid", found.pop("fid", math.nan), prog_bar=True, on_step=False, on_epoch=True, batch_size=1)
        module.log_dict(found, on_step=False, on_epoch=True, batch_size=1)
