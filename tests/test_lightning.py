"""Lightning's habits: monitors, early stopping, validation and checkpoints in a script with a Trainer of one's own."""

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from gan_ablate import DCGAN, WGANGP, GANDataModule, GANEvaluation, GANModule
from gan_ablate.data.images import ImageSet
from gan_ablate.errors import InputError
from gan_ablate.evaluate import Extractor, Features
from gan_ablate.evaluate.metrics import evaluate_images
from gan_ablate.evaluate.real_statistics import real_statistics
from gan_ablate.recipe import seed_for


class Pixels(Extractor):
    """Images at 4 x 4 pixels as features: a measure that needs no training."""

    name, digest, dim = "pixels", "0", 16

    def __init__(self):
        super().__init__()
        self.register_parameter("nothing", torch.nn.Parameter(torch.zeros(())))
        self.freeze()

    def forward(self, images):
        features = F.adaptive_avg_pool2d(images.float().mean(1, keepdim=True), 4).flatten(1)
        return Features(features, features[:, :4] / 100)


def images(n=96):
    pixels = torch.randint(0, 256, (n, 1, 16, 16), generator=torch.Generator().manual_seed(0))
    return ImageSet.of(pixels.to(torch.uint8), torch.arange(n) % 4, tuple("abcd"), "noise")


def small(cls=DCGAN, **fields):
    return cls(**{"size": 16, "channels": 1, "batch_size": 8, "width": 4, "precision": "fp32", **fields})


def trainer(tmp_path, *callbacks, **options):
    return lightning.Trainer(
        accelerator="cpu", callbacks=list(callbacks), enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=tmp_path, **{"logger": False, "max_epochs": 3, **options},
    )  # fmt: skip


def test_fid_is_a_metric_that_callbacks_loggers_and_validate_read(tmp_path):
    data, module = GANDataModule(images(), batch_size=8), small(tricks=["generator_ema:decay=0.5"])
    measure = GANEvaluation(extractor=Pixels(), samples=64, samples_dir=tmp_path / "samples")
    best = ModelCheckpoint(tmp_path, monitor="fid", save_top_k=1)
    own = trainer(tmp_path, EarlyStopping("fid", patience=9), best, measure, logger=CSVLogger(tmp_path, "csv", ""))
    own.fit(module, data)
    found = {point["step"]: point["fid"] for point in measure.curve}
    assert list(found) == [12, 24, 36]  # G steps; none in the sanity check
    assert {"d_loss", "g_loss", "fid", "is_mean", "precision"} <= set(own.callback_metrics)
    assert best.best_model_score.item() == pytest.approx(min(found.values()))
    rows = (tmp_path / "csv" / "metrics.csv").read_text().splitlines()
    at, fid = (rows[0].split(",").index(key) for key in ("step", "fid"))
    logged = {int(row.split(",")[at]): float(row.split(",")[fid]) for row in rows[1:] if row.split(",")[fid]}
    assert logged == pytest.approx(found)
    assert sorted(p.name for p in (tmp_path / "samples").iterdir())[:2] == ["final.png", "step_000012.png"]
    # the kept checkpoint is a module of its own, and what it makes is what was measured
    again = DCGAN.load_from_checkpoint(best.best_model_path)
    assert own.validate(again, data)[0]["fid"] == pytest.approx(min(found.values()))
    made = again.generate(64, seed=seed_for(0, "evaluation"))
    real = real_statistics(images(), Pixels())
    assert evaluate_images(made, Pixels(), real, only=["fid"])["fid"] == pytest.approx(min(found.values()))


def test_early_stopping_by_fid_ends_training(tmp_path):
    stop = EarlyStopping("fid", patience=1, min_delta=1e9)
    own = trainer(tmp_path, stop, GANEvaluation(extractor=Pixels(), samples=16), max_epochs=50)
    own.fit(small(), GANDataModule(images(), batch_size=8))
    assert own.current_epoch == 2


def test_a_loader_without_validation_is_measured_after_each_epoch(tmp_path):
    measure = GANEvaluation(images(), extractor=Pixels(), samples=16)
    own = trainer(tmp_path, measure, max_epochs=2)
    own.fit(small(), DataLoader(TensorDataset(images().images), batch_size=8))
    assert [point["step"] for point in measure.curve] == [12, 24]
    assert own.callback_metrics["fid"].item() == pytest.approx(measure.curve[-1]["fid"])
    with pytest.raises(InputError, match="the trainer has no GANDataModule: give the real images"):
        trainer(tmp_path, GANEvaluation(extractor=Pixels())).fit(small(), DataLoader(images().images, batch_size=8))


def test_what_is_logged_and_measured_changes_no_weight(tmp_path):
    def end(*callbacks, **options):
        module = small(tricks=["generator_dropout"])
        trainer(tmp_path, *callbacks, **options).fit(module, GANDataModule(images(), batch_size=8))
        return module.state_dict()

    plain = end(limit_val_batches=0)
    watched = end(GANEvaluation(extractor=Pixels(), samples=16), ModelCheckpoint(tmp_path, monitor="fid"))
    assert all(torch.equal(plain[k], watched[k]) for k in plain)


@pytest.mark.parametrize("steps", [None, 4])
def test_a_checkpoint_knows_what_to_build(tmp_path, steps):
    own = trainer(tmp_path, max_epochs=1, limit_train_batches=10)
    module = small(WGANGP, steps=steps, tricks=["instance_noise:std=0.3", "generator_ema"], beta1=0.25)
    own.fit(module, GANDataModule(images(), batch_size=8))
    own.save_checkpoint(tmp_path / "c.ckpt")
    for cls in (WGANGP, GANModule):
        again = cls.load_from_checkpoint(tmp_path / "c.ckpt")
        assert again.recipe.run_id == module.recipe.run_id
        assert (again.limit, again.total_steps, again.hparams) == (module.limit, module.total_steps, module.hparams)
        assert torch.equal(again.generate(5, seed=1), module.generate(5, seed=1))
    assert WGANGP.load_from_checkpoint(tmp_path / "c.ckpt", lr=0.5).recipe.lr == 0.5
    with pytest.raises(InputError, match="DCGAN plays dcgan, not wgan_gp"):
        DCGAN.load_from_checkpoint(tmp_path / "c.ckpt")


class _Devices:
    """As much of a trainer as `setup` looks at."""

    world_size = 2


def test_several_devices_are_refused_with_the_way_to_use_them(monkeypatch):
    data, module = GANDataModule(images()), small()
    data.trainer = module._trainer = _Devices()
    for refuses in (data.setup, module.setup):
        with pytest.raises(InputError, match=r"2 devices: a run trains on one: .* gan-ablate sweep gives every GPU"):
            refuses("fit")
