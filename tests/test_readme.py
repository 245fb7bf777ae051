"""The Python that the README and the docs show runs as it stands there, at smaller numbers."""

import re
from functools import partial
from pathlib import Path

import lightning
import pytest
import torch
from test_lightning import Pixels
from torch.utils.data import TensorDataset

import gan_ablate.evaluate.validation

SMALLER = {"max_epochs=20": "max_epochs=2", "samples=2048": "samples=64"}


def blocks(path, about):
    """The Python blocks of a page that speak of something, in their order."""
    found = re.findall(r"```python\n(.*?)```", Path(path).read_text(), re.DOTALL)
    return [block for block in found if about in block]


def run(blocks, **names):
    for block in blocks:
        for large, small in SMALLER.items():
            block = block.replace(large, small)
        exec(compile(block, "README.md", "exec"), names)
    return names


def test_the_readme(monkeypatch, tmp_path):
    small = {"accelerator": "cpu", "limit_train_batches": 2, "enable_progress_bar": False, "logger": False}
    monkeypatch.setattr(lightning, "Trainer", partial(lightning.Trainer, default_root_dir=tmp_path, **small))
    monkeypatch.setattr(gan_ablate.evaluate.validation, "load_extractor", lambda *_, **__: Pixels())
    pixels = torch.randint(0, 256, (128, 3, 16, 16), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    own, plain, habits = blocks("README.md", "lightning.Trainer")
    assert len(own.strip().splitlines()) == 5
    run([own], your_dataset=TensorDataset(pixels))
    found = run([plain, habits])
    assert found["images"].shape == (64, 3, 16, 16)
    assert found["best"].best_model_score.item() == pytest.approx(found["trainer"].callback_metrics["fid"].item())


def test_the_metric_objects():
    features = torch.randn(60, 6, generator=torch.Generator().manual_seed(0))
    names = {"real_features": features[:30], "fake_features": features[30:], "fake_logits": features}
    found = run(blocks("docs/evaluation.md", "FrechetDistance"), real_counts=torch.full((6,), 5), **names)
    assert found["fid"].compute() > 0
