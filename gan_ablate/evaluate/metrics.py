"""Every metric of generated images, from stored features: one forward pass per image feeds them all.

FID is our own (frechet.py), so are precision, recall, density and coverage (prdc.py) and modes (modes.py). KID and IS
are torchmetrics', which accepts any extractor: here the identity. float64 throughout, one process, and the random state
of the caller is left alone.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor, nn
from torchmetrics.image.inception import InceptionScore
from torchmetrics.image.kid import KernelInceptionDistance

from gan_ablate.data import ImageSet
from gan_ablate.errors import InputError, unknown
from gan_ablate.evaluate.cache import read_or_make
from gan_ablate.evaluate.features import Extractor, Features, exact, extract
from gan_ablate.evaluate.frechet import factor, frechet_distance, frechet_distance_infinity
from gan_ablate.evaluate.modes import (
    BY_CONFIDENCE,
    BY_DISTANCE,
    class_reach,
    good_samples,
    mode_coverage,
    mode_divergence,
    reached,
)
from gan_ablate.evaluate.prdc import precision_recall_density_coverage, squared_radii
from gan_ablate.evaluate.random_cnn import SPACE, RandomCNN

STATISTICS = 5  # raise it when what a statistics file holds changes
KID_REAL = 5000  # real feature rows kept, for KID's subsets and as the neighbours of prdc
PRDC_FAKE = KID_REAL  # generated rows that prdc looks at: more than of the real ones would only cost time
KID_SUBSET = 1000  # images per subset (Binkowski et al. 2018)
SPLIT_FROM = 5000  # IS is the mean over 10 splits from here on, over one below: a split needs 500 images
SEED = 0  # of KID's subsets and of the choice of real images: the same at every evaluation
NEEDED = "these real statistics need the random CNN's features of the generated images"
METRICS = {  # what can be asked for, and the figures that each gives
    "fid": ("fid",),
    "kid": ("kid",),
    "is": ("is_mean", "is_std"),
    "prdc": ("precision", "recall", "density", "coverage"),
    "modes": ("modes", "assigned_modes", "high_quality", "mode_kl"),
    "fid_infinity": ("fid_infinity",),
}
DEFAULT = tuple(name for name in METRICS if name != "fid_infinity")  # that one costs fifteen FIDs: on request
NAMES = tuple(figure for name in DEFAULT for figure in METRICS[name])
NOTHING: dict[str, float | int | None] = dict.fromkeys(NAMES)  # the result for images that are not finite


@dataclass(frozen=True)
class RealStatistics:
    """What the metrics need to know of the real images. Tensors lie on the CPU."""

    count: int  # real images that mean and factor come from
    mean: Tensor  # (d,) float64
    factor: Tensor  # (d, d) float64, lower triangular: factor factor^T is the covariance
    kid_features: Tensor  # (m, d) float32, m <= KID_REAL
    radii: Tensor  # (m, 2) float64: squared distances of each to its 3rd and 5th neighbour, in the space of prdc
    class_counts: Tensor | None  # (K,) int64: images per class in the whole set; None where modes are not known
    kept_labels: Tensor | None = None  # (m,) int64: classes of the kept rows; None where modes go by the logits alone
    reach: Tensor | None = None  # (K,) float64: see `class_reach`
    random_reach: Tensor | None = None  # (K,) float64: the same in the space of the random CNN
    prdc_features: Tensor | None = None  # (m, p) float32 of the random CNN; None where prdc is on the features above
    random_cnn: Tensor | None = None  # its `statistics`

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, Tensor) and not torch.isfinite(value).all():
                raise InputError(f"the {name} of the real images' features is not finite: nothing can be measured")

    @classmethod
    def of(
        cls,
        features: Tensor,
        class_counts: Tensor | None = None,
        labels: Tensor | None = None,
        images: Tensor | None = None,
    ) -> RealStatistics:
        """From features (N, d) of real images in random order; `InputError` for N < 2 and features not finite.

        labels: their classes (N,), for modes by distance. images: themselves, uint8 (N, C, H, W), for prdc in the space
        of the random CNN.
        """
        if len(features) < 2:
            raise InputError(f"statistics of real images need at least 2 images, got {len(features)}")
        if not torch.isfinite(features).all():
            raise InputError("the extractor's features of the real images are not finite: nothing can be measured")
        x = features.double()
        mean = x.mean(0)
        x = x - mean
        lower = factor(x.T @ x / (len(x) - 1))
        kept = features[:KID_REAL].float()
        found = cls(len(x), mean.cpu(), lower.cpu(), kept.cpu(), torch.empty(0), class_counts)
        if class_counts is not None and labels is not None:
            own = labels[:KID_REAL].to(kept.device)
            found = replace(found, kept_labels=own.cpu(), reach=class_reach(kept, own, len(class_counts)).cpu())
        space = kept
        if images is not None:
            with exact(kept.device):
                network = RandomCNN.fitted(images[:KID_REAL].to(kept.device))
                space = network(images[:KID_REAL])
            found = replace(found, prdc_features=space.cpu(), random_cnn=network.statistics.cpu())
            if found.reach is not None and found.kept_labels is not None:
                found = replace(found, random_reach=class_reach(space.cpu(), found.kept_labels, len(found.reach)))
        return replace(found, radii=squared_radii(space).cpu())


class Stored(nn.Module):
    """The identity, as the feature extractor of torchmetrics' metrics."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.num_features = dim

    def forward(self, features: Tensor) -> Tensor:
        return features


def real_statistics(real: ImageSet, extractor: Extractor) -> RealStatistics:
    """Statistics of `real` (at most `extractor.real_images` of it, chosen once for all by a fixed seed).

    Cached on disk by the set's content (its split is part of that), image size and classes, the extractor, its weights
    and the count; a file that is damaged, changed or of another key is made anew.
    """
    count = min(len(real), extractor.real_images)
    shape, classes = "x".join(map(str, real.images.shape)), hashlib.sha256("/".join(real.classes).encode()).hexdigest()
    data = f"{real.fingerprint}/{shape}/classes {classes[:16]}"
    key = f"statistics {STATISTICS}/{data}/{extractor.name}/{extractor.digest}/{count}/{KID_REAL}/{SEED}"
    return read_or_make(
        "statistics",
        key,
        suffix=".npz",
        read=_read,
        make=lambda: _compute(real, extractor, count),
        write=lambda made, to: _write(to, made),
    )


def evaluate_images(
    images: Tensor, extractor: Extractor, real: RealStatistics, *, only: Collection[str] | None = None
) -> dict[str, float | int | None]:
    """Every metric of generated uint8 images (N, C, H, W), N >= 2, against `real`; keys as in `NAMES`.

    only: names out of `METRICS` ("fid", "kid", "is", "prdc", "modes", "fid_infinity"): nothing else is computed, and
    the result has their figures alone. None: all but `fid_infinity`.
    `is_std` is None with one split; the figures of `modes` are None where the classes are not known; all are None where
    features are not finite. Raises `InputError` for fewer than 2 images, and for names that are not in `METRICS`.
    """
    chosen = _chosen(only)  # before the expensive part
    random = None
    if {"prdc", "modes"} & set(chosen) and real.random_cnn is not None:
        with exact(extractor.device):
            random = RandomCNN(images.shape[1], real.random_cnn).to(extractor.device)(images)
    features = extract(extractor, images)
    result = evaluate_features(features, real, kid_subsets=extractor.kid_subsets, only=only, random=random)
    if result.get("modes") is not None and extractor.own_modes:
        result["high_quality"] = extractor.high_quality(images)
    return result


def evaluate_features(
    fake: Features,
    real: RealStatistics,
    *,
    kid_subsets: int = 3,
    only: Collection[str] | None = None,
    random: Tensor | None = None,
) -> dict[str, float | int | None]:
    """`evaluate_images` from features that are already there. Computed on the device of the features.

    random: features (N, p) of the random CNN, where `real` has such for prdc.
    """
    chosen = _chosen(only)
    features, logits = fake
    if len(features) < 2:
        raise InputError(f"evaluation needs at least 2 generated images, got {len(features)}")
    if features.shape[1] != len(real.mean):
        raise InputError(f"{features.shape[1]} features per image, but the real statistics have {len(real.mean)}")
    result: dict[str, float | int | None] = {figure: None for name in chosen for figure in METRICS[name]}
    if not (torch.isfinite(features).all() and torch.isfinite(logits).all()):
        return result
    if "fid" in chosen:
        result["fid"] = frechet_distance(features, real)
    if "kid" in chosen:
        result["kid"] = kernel_distance(features, real, subsets=kid_subsets)
    if "is" in chosen:
        result["is_mean"], result["is_std"] = inception_score(logits)
    if "prdc" in chosen:
        space, kept = (features, real.kid_features) if real.prdc_features is None else (random, real.prdc_features)
        if space is None:
            raise ValueError(NEEDED)
        kept, radii = kept.to(space.device), real.radii.to(space.device)
        result |= precision_recall_density_coverage(space[:PRDC_FAKE], kept, radii)
    if "modes" in chosen and real.class_counts is not None:
        result |= _modes(fake, real, real.class_counts, random)
    if "fid_infinity" in chosen:
        result["fid_infinity"] = frechet_distance_infinity(features, real)
    return {k: v if v is None or math.isfinite(v) else None for k, v in result.items()}


def _modes(
    fake: Features, real: RealStatistics, counts: Tensor, random: Tensor | None
) -> dict[str, float | int | None]:
    """The figures of `modes`, by distance where `real` has the classes' reach, else by the logits alone."""
    if real.kept_labels is None or real.reach is None:
        covered, divergence = mode_coverage(fake.logits.cpu(), counts)
        return {"modes": covered, "mode_kl": divergence}
    mode = fake.logits.argmax(1)
    kept, labels, reach = (x.to(mode.device) for x in (real.kid_features, real.kept_labels, real.reach))
    good = good_samples(fake.features, mode, kept, labels, reach)
    if real.random_reach is not None and real.prdc_features is not None:
        if random is None:
            raise ValueError(NEEDED)
        kept, reach = (x.to(mode.device) for x in (real.prdc_features, real.random_reach))
        good &= good_samples(random, mode, kept, labels, reach)
    return {
        "modes": reached(mode[good].cpu(), counts, len(mode)),
        "assigned_modes": reached(mode.cpu(), counts, len(mode)),
        "high_quality": float(good.double().mean()),
        "mode_kl": mode_divergence(mode.cpu(), counts),
    }


def kernel_distance(features: Tensor, real: RealStatistics, *, subsets: int = 3) -> float:
    """Unbiased squared MMD under (x.y / d + 1)^3 between features (N, d) and `real`: the mean over seeded subsets of
    1,000 rows, or of as many as there are (Binkowski et al. 2018). Unbiased, so it may fall below 0."""
    size = min(KID_SUBSET, len(features), len(real.kid_features))
    with _quiet(features):
        metric = KernelInceptionDistance(
            Stored(features.shape[1]), subsets=subsets, subset_size=size, sync_on_compute=False
        ).to(features.device)
        metric.update(real.kid_features.to(features.device).double(), real=True)
        metric.update(features.double(), real=False)
        return metric.compute()[0].item()


def inception_score(logits: Tensor) -> tuple[float, float | None]:
    """exp of the mean KL(p(y|x) || p(y)) (Salimans et al. 2016) from logits (N, K): mean and standard deviation over
    10 splits, or over one split (whose deviation is None) where N < 5000."""
    splits = 10 if len(logits) >= SPLIT_FROM else 1
    # a probability of exactly 0 for all images would make 0 * log 0: exp(-700) is still a positive float64
    logits = logits.double()
    logits = (logits - logits.amax(1, keepdim=True)).clamp(min=-700)
    with _quiet(logits):
        metric = InceptionScore(Stored(logits.shape[1]), splits=splits, sync_on_compute=False)
        metric.update(logits)
        mean, deviation = metric.compute()
    return mean.item(), deviation.item() if splits > 1 else None


def metric_labels(extractor: Extractor, samples: int) -> dict[str, str]:
    """How tables and axes name the figures: with the sample count always, bare only for the literature's extractor.

    {"fid": "FID@2048 (shapes classifier)", "precision": "precision@2048 (random CNN)", ...}, or
    {"fid": "FID@50000", ...} for Inception.
    """
    names = {"fid": "FID", "kid": "KID", "is_mean": "IS"}
    labels = {key: f"{name}@{samples}{_of(extractor.name)}" for key, name in names.items()}
    space = _of(SPACE if extractor.random_prdc else extractor.name)
    labels |= {key: f"{key}@{samples}{space}" for key in METRICS["prdc"]}
    known = {"high_quality": f"high-quality share@{samples}{_of(extractor.name)}"} if extractor.classes else {}
    return labels | known


def measured_by(extractor: Extractor) -> dict[str, str]:
    """In which space prdc is, and what counts as a mode: only figures with equal ones may stand in one table."""
    found = {"prdc_space": SPACE if extractor.random_prdc else extractor.name}
    return found | ({"modes_by": BY_CONFIDENCE if extractor.own_modes else BY_DISTANCE} if extractor.classes else {})


def _of(name: str) -> str:
    return "" if name == "inception" else f" ({name})"


def _chosen(only: Collection[str] | None) -> tuple[str, ...]:
    """The metrics asked for, in the order of `METRICS`."""
    if only is None:
        return DEFAULT
    asked = {only} if isinstance(only, str) else set(only)
    for name in sorted(asked - set(METRICS)):
        raise unknown("metric", name, METRICS)
    return tuple(name for name in METRICS if name in asked)


@contextmanager
def _quiet(like: Tensor) -> Iterator[None]:
    """torchmetrics draws permutations from the global generator, and warns that it keeps features in memory."""
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.default_generator.manual_seed(SEED)  # the CPU's only: torch.manual_seed would reseed the GPU's as well
        with torch.autocast(like.device.type, enabled=False):
            yield


def _compute(real: ImageSet, extractor: Extractor, count: int) -> RealStatistics:
    generator = torch.Generator().manual_seed(SEED)  # shuffled: class folders come one class after the other
    rows = torch.randperm(len(real), generator=generator)[:count]
    counts = labels = None
    if real.labels is not None and extractor.classes and extractor.classes == real.classes:
        counts = torch.bincount(real.labels.cpu(), minlength=len(real.classes))
        labels = None if extractor.own_modes else real.labels.cpu()[rows]
    images = real.images[rows]
    return RealStatistics.of(
        extract(extractor, images).features, counts, labels, images if extractor.random_prdc else None
    )


def _write(file: IO[bytes], statistics: RealStatistics) -> None:
    arrays: dict[str, Any] = {n: value.numpy() for n, value in vars(statistics).items() if isinstance(value, Tensor)}
    np.savez(file, **{"count": np.array(statistics.count), **arrays})


def _read(content: IO[bytes]) -> RealStatistics | None:
    """The statistics in a file, or None where it is damaged or they are not finite."""
    try:
        with np.load(content, allow_pickle=False) as file:
            arrays: dict[str, Any] = {name: torch.from_numpy(file[name]) for name in file.files if name != "count"}
            count = int(file["count"])
        return RealStatistics(**{"class_counts": None, **arrays, "count": count})
    except Exception:  # a truncated zip raises one of many types
        return None
