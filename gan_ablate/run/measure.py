"""What exists already, measured: a checkpoint's samples against its data, or a folder of images against another."""

from __future__ import annotations

import copy
import math
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
from gan_ablate.data.folders import FORMATS
from gan_ablate.data.module import GANDataModule
from gan_ablate.errors import InputError, unknown
from gan_ablate.evaluate import Extractor, load_extractor
from gan_ablate.evaluate.memorisation import Neighbours, held_out_of, neighbours_of
from gan_ablate.evaluate.metrics import METRICS, checkerboard_energy, evaluate_images, metric_labels
from gan_ablate.evaluate.real_statistics import RealStatistics, real_statistics
from gan_ablate.evaluate.samples import save_grid
from gan_ablate.evaluate.systems import Against, own_figures, own_labels
from gan_ablate.layout import list_entries
from gan_ablate.models import GANModule, module_class
from gan_ablate.models.networks import gradient_norm
from gan_ablate.recipe import Recipe, seed_for
from gan_ablate.run.trainer import quiet_lightning, run_trainer

D_STEPS = 500  # Arjovsky & Bottou 2017, figure 2, train D for up to 4,000 steps on 64 px; D's loss here is flat before
SAMPLES = 2048  # generated images where the caller names no number
# what only a trained generator can be asked: name -> changes of the blueprint it samples by
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "interpolation": {
        f"fid_{path}": {"sample_latents": Factory("gan_ablate.interpolation:midpoints", {"path": path})}
        for path in ("slerp", "lerp")
    },
    "sampling": {f"fid_{mode}_mode": {"sample_mode": mode} for mode in ("eval", "train")},
}


def open_checkpoint(path: Path) -> GANModule:
    """The module that a checkpoint holds, on the CPU.

    Raises `InputError` if the file is not a checkpoint, or if it names a trick of a module that the user has not
    trusted (`gan_ablate.trust`).
    """
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        recipe = Recipe.from_dict(checkpoint["gan_ablate"]["recipe"]).validate()
    except FileNotFoundError:
        raise InputError(f"{path}: no such checkpoint") from None
    except Exception as error:
        raise _not_a_checkpoint(path, error) from error
    try:
        module = module_class(recipe.model).from_recipe(recipe)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    try:
        module.on_load_checkpoint(checkpoint)
        module.load_state_dict(checkpoint["state_dict"])
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise _not_a_checkpoint(path, error) from error
    return module


def _not_a_checkpoint(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: not a checkpoint of gan_ablate ({type(error).__name__})")


def sample(checkpoint: Path, count: int, seed: int, out: Path) -> Path:
    """Write a PNG grid of `count` images at the z of `seed`; returns its path."""
    images = open_checkpoint(checkpoint).generate(count, seed=seed)  # (count, C, H, W) uint8
    out.parent.mkdir(parents=True, exist_ok=True)
    save_grid(images, out, columns=max(1, round(count**0.5)))
    return out


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
    (G's gradient norm with D at its optimum); empty: all of the first but the slow ones, and what the model measures of
    its own. Raises `InputError` for unknown names, weights that are not finite, and a D that does not stay finite on
    the way to its optimum.
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

    neighbours = None
    if "memorisation" in named or not metrics:
        held_out = held_out_of(recipe.dataset, size=recipe.size, channels=recipe.channels, data_root=data_root)
        neighbours = neighbours_of(images, held_out, measured)

    def figures(only: list[str] | None) -> dict[str, Any]:
        assert real is not None
        made = module.generate(count, seed=seed_for(seed, "evaluation"))
        return _figures(made, measured, real, only, neighbours)

    found = figures(named or None) if named or not ours else {}
    if not metrics and real is not None:
        found |= own_figures(module, Against(images, measured, real, seed_for(seed, "measures")))
    for name in ours:
        if name == "checkerboard":
            found |= _checkerboard(module.generate(count, seed=seed_for(seed, "evaluation")), images.images)
        if name == "optimum":
            found["optimum_g_gradient"] = gradient_at_optimum(module, images)
        for key, changes in VARIANTS.get(name, {}).items():
            with _sampled_by(module, changes):
                found[key] = figures(["fid"])["fid"]
    labels = metric_labels(measured, count) | own_labels(module)
    more = {"labels": labels, "checkpoint": str(path), "g_steps": module.g_steps}
    return _report(found, measured, count, images, more)


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
        neighbours = None
        if "memorisation" in named or not metrics:
            held_out = held_out_of(real, size=size, channels=channels, data_root=data_root)
            neighbours = neighbours_of(sets[0], held_out, measured)
        found |= _figures(images, measured, real_statistics(sets[0], measured), named or None, neighbours)
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


def _figures(
    images: Tensor, extractor: Extractor, real: RealStatistics, only: list[str] | None, neighbours: Neighbours | None
) -> dict[str, Any]:
    """`evaluate_images`; `InputError` where the extractor's features are not finite, which makes all figures `None`."""
    found = evaluate_images(images, extractor, real, only=only, neighbours=neighbours)
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


def gradient_at_optimum(module: GANModule, images: ImageSet, d_steps: int = D_STEPS) -> float:
    """2-norm of the gradient of G's loss in G's parameters, after `d_steps` of D alone (Arjovsky & Bottou 2017, 2.2).

    D goes on from the module's weights by its own objective, penalties and optimiser (fresh moments), without gates,
    clipping or schedule; G stands still until one batch of it is differentiated. `module` itself is not changed. Seeded
    by the recipe. Raises `InputError` where D's loss or that gradient is not finite: then there is no optimum to ask.
    """
    trained = copy.deepcopy(module)
    trained.blueprint = replace(
        trained.blueprint,
        n_critic=d_steps,
        n_generator=1,
        d_gate=None,
        g_gate=None,
        gradient_clip=None,
        lr_schedule=None,
        beta2_schedule=None,
    )
    trained.d_steps, trained.diverged_at, trained.limit = 0, 0, trained.g_steps + 1
    quiet_lightning()
    trainer = run_trainer(module.device.type)
    seed = seed_for(module.recipe.seed, "optimum")
    trainer.fit(trained, GANDataModule(images, batch_size=trained.blueprint.batch_size, seed=seed, batches=d_steps))
    found = float(gradient_norm(trained.generator))  # of the one G step, the last thing that happened
    if not (trained.finite.item() and math.isfinite(found)):
        raise InputError(f"D alone did not stay finite over {d_steps} steps: G's gradient at its optimum is not known")
    return found
