"""Figures of what exists already: a checkpoint's samples against its data, or a folder of images against another."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from gan_ablate import trust
from gan_ablate.blueprint import Factory
from gan_ablate.data import ImageSet, load
from gan_ablate.data.folders import FORMATS, list_entries
from gan_ablate.errors import InputError, unknown
from gan_ablate.evaluate import Extractor, load_extractor
from gan_ablate.evaluate.metrics import METRICS, checkerboard_energy, evaluate_images, metric_labels
from gan_ablate.evaluate.real_statistics import RealStatistics, real_statistics
from gan_ablate.models import GANModule
from gan_ablate.recipe import seed_for
from gan_ablate.run.optimum import gradient_at_optimum
from gan_ablate.run.sampling import open_checkpoint

SAMPLES = 2048  # generated images where the caller names no number
# what only a trained generator can be asked: name -> changes of the blueprint it samples by
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "interpolation": {
        f"fid_{path}": {"sample_latents": Factory("gan_ablate.interpolation:midpoints", {"path": path})}
        for path in ("slerp", "lerp")
    },
    "sampling": {f"fid_{mode}_mode": {"sample_mode": mode} for mode in ("eval", "train")},
}


def checkpoint(
    path: Path,
    *,
    extractor: str | None = None,
    samples: int | None = None,
    metrics: Sequence[str] = (),
    seed: int = 0,
    data_root: str | None = None,
    weights: str | None = None,
    device: str = "cpu",
) -> dict[str, Any]:
    """Figures of a checkpoint's generator against the dataset it was trained on.

    extractor, samples: the checkpoint's own evaluation plan where `None`. metrics: of `metrics.METRICS`,
    `checkerboard`, `interpolation` (FID of midpoints by slerp and lerp), `sampling` (eval and train mode) and `optimum`
    (G's gradient norm with D at its optimum); empty: all of the first but the slow ones. Raises `InputError` for
    unknown names, weights that are not finite, and a D that does not stay finite on the way to its optimum.
    """
    module = open_checkpoint(path).to(device)
    recipe = module.recipe
    if not extractor and ":" in recipe.evaluation.extractor:
        trust.require(recipe.evaluation.extractor, f"{path}: extractor {recipe.evaluation.extractor!r}")
    images = load(recipe.dataset, size=recipe.size, channels=recipe.channels, data_root=data_root)
    if not all(bool(torch.isfinite(p).all()) for p in module.generator.parameters()):
        raise InputError(
            f"{path}: the generator's weights are not finite: the run diverged, there is nothing to measure"
        )
    measured = load_extractor(extractor or recipe.evaluation.extractor, dataset=images, device=device, weights=weights)
    count = samples or recipe.evaluation.samples
    ours, named = _split(metrics)
    real = real_statistics(images, measured) if set(ours) - {"checkerboard", "optimum"} or named or not ours else None

    def figures(only: list[str] | None) -> dict[str, Any]:
        assert real is not None
        made = module.generate(count, seed=seed_for(seed, "evaluation"))
        return _figures(made, measured, real, only)

    found = figures(named or None) if named or not ours else {}
    for name in ours:
        if name == "checkerboard":
            found |= _checkerboard(module.generate(count, seed=seed_for(seed, "evaluation")), images.images)
        if name == "optimum":
            found["optimum_g_gradient"] = gradient_at_optimum(module, images)
        for key, changes in VARIANTS.get(name, {}).items():
            with _sampled_by(module, changes):
                found[key] = figures(["fid"])["fid"]
    return _report(found, measured, count, images, {"checkpoint": str(path), "g_steps": module.g_steps})


def folders(
    real: Path,
    generated: Path,
    *,
    size: int | None = None,
    channels: int = 3,
    extractor: str = "inception",
    samples: int | None = None,
    metrics: Sequence[str] = (),
    data_root: str | None = None,
    weights: str | None = None,
    device: str = "cpu",
) -> dict[str, Any]:
    """Figures of one folder or zip of images against another (or against a dataset by its name).

    size: pixels that both are brought to; `None`: those of the first generated image, so that nothing is resized where
    all are alike, as other tools do it. samples: that many of `generated`, the first by name; all where `None`. Raises
    `InputError` where there are fewer.
    """
    size = size or _own_size(generated)
    sets = [load(p, size=size, channels=channels, data_root=data_root) for p in (real, generated)]
    count = samples or len(sets[1])
    if not 2 <= count <= len(sets[1]):
        raise InputError(
            f"{generated}: has {len(sets[1])} images, {count} were asked for: give --samples 2 to {len(sets[1])}"
        )
    ours, named = _split(metrics)
    if wrong := set(ours) - {"checkerboard"}:
        raise InputError(f"{sorted(wrong)[0]}: needs a generator: give one checkpoint in place of two folders")
    measured = load_extractor(extractor, dataset=sets[0], device=device, weights=weights)
    images = sets[1].images[:count]
    found: dict[str, Any] = {}
    if named or not ours:
        found |= _figures(images, measured, real_statistics(sets[0], measured), named or None)
    if "checkerboard" in ours:
        found |= _checkerboard(images, sets[0].images)
    return _report(found, measured, count, sets[0], {"generated": str(generated), "size": size})


def _own_size(source: Path) -> int:
    """Pixels of the first image of a folder or zip; `InputError` where it is not square."""
    if not source.exists():
        raise InputError(f"{source}: no such folder or zip of images")
    first = list_entries(source)[0].path
    if source.is_dir():
        width, height = Image.open(source / first, formats=FORMATS).size
    else:
        with zipfile.ZipFile(source) as archive, archive.open(first) as file:
            width, height = Image.open(file, formats=FORMATS).size
    if width != height:
        raise InputError(f"{source}: {first} is {width} x {height}: give --size, which both are cropped and brought to")
    return width


def _split(metrics: Sequence[str]) -> tuple[list[str], list[str]]:
    """The names that are answered here, and those of `evaluate_images`."""
    own = ["checkerboard", "optimum", *VARIANTS]
    for name in metrics:
        if name not in (*own, *METRICS):
            raise unknown("metric", name, [*METRICS, *own])
    return [m for m in metrics if m in own], [m for m in metrics if m not in own]


def _checkerboard(made: Tensor, real: Tensor) -> dict[str, float]:
    return {"checkerboard": checkerboard_energy(made), "checkerboard_real": checkerboard_energy(real[:SAMPLES])}


@contextmanager
def _sampled_by(module: GANModule, changes: dict[str, Any]) -> Iterator[None]:
    """The module sampling by another blueprint for a while; its weights are the same."""
    own = module.blueprint
    module.blueprint = replace(own, **changes)
    try:
        yield
    finally:
        module.blueprint = own


def _figures(images: Tensor, extractor: Extractor, real: RealStatistics, only: list[str] | None) -> dict[str, Any]:
    """`evaluate_images`; `InputError` where the extractor's features are not finite, which makes all figures `None`."""
    found = evaluate_images(images, extractor, real, only=only)
    if found and all(value is None for name, value in found.items() if name not in ("modes", "mode_kl")):
        raise InputError(f"extractor {extractor.name}: its features of these images are not finite: nothing to measure")
    return found


def _report(
    found: dict[str, Any], extractor: Extractor, count: int, real: ImageSet, more: dict[str, Any]
) -> dict[str, Any]:
    """The figures with what they were measured by: only figures with equal settings may be compared."""
    return {
        "metrics": {k: v for k, v in found.items() if v is not None},
        "labels": metric_labels(extractor, count),
        "extractor": extractor.name,
        "extractor_digest": extractor.digest,
        "samples": count,
        "real": real.name,
        "real_images": min(len(real), extractor.real_images),
        "real_fingerprint": real.fingerprint,
        **({"note": extractor.note} if extractor.note else {}),
        **more,
    }
