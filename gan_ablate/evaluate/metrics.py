"""Every metric of generated images, from stored features: one forward pass per image feeds them all.

FID is our own (frechet.py), so are precision, recall, density and coverage (prdc.py) and modes (modes.py). KID and IS
are torchmetrics', which accepts any extractor: here the identity. float64 throughout, one process, and the random state
of the caller is left alone.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torchmetrics.image.inception import InceptionScore
from torchmetrics.image.kid import KernelInceptionDistance

from gan_ablate.errors import InputError, unknown
from gan_ablate.evaluate.cmmd import clip_mmd
from gan_ablate.evaluate.extractors import Extractor, Features, exact, extract
from gan_ablate.evaluate.frechet import frechet_distance, frechet_distance_infinity
from gan_ablate.evaluate.memorisation import Neighbours, nearest_neighbour_ratio
from gan_ablate.evaluate.modes import BY_CONFIDENCE, BY_DISTANCE, good_samples, mode_coverage, mode_divergence, reached
from gan_ablate.evaluate.prdc import SPACE, RandomCNN, precision_recall_density_coverage
from gan_ablate.evaluate.real_statistics import KID_REAL, RealStatistics
from gan_ablate.outcomes import METRICS as RECORDED

PRDC_FAKE = KID_REAL  # generated rows that prdc looks at: more than of the real ones would only cost time
KID_SUBSET = 1000  # images per subset (Binkowski et al. 2018)
SPLIT_FROM = 5000  # IS is the mean over 10 splits from here on, over one below: a split needs 500 images
SEED = 0  # of KID's subsets: the same at every evaluation
NEEDED = "these real statistics need the random CNN's features of the generated images"
METRICS = {  # what can be asked for, and the figures that each gives
    "fid": ("fid",),
    "kid": ("kid",),
    "cmmd": ("cmmd",),
    "is": ("is_mean", "is_std"),
    "prdc": ("precision", "recall", "density", "coverage"),
    "modes": ("modes", "assigned_modes", "high_quality", "mode_kl"),
    "memorisation": ("nn_ratio",),
    "fid_infinity": ("fid_infinity",),
}
DEFAULT = tuple(name for name in METRICS if name != "fid_infinity")  # that one costs fifteen FIDs: on request
NOTHING: dict[str, float | int | None] = dict.fromkeys(RECORDED)  # the result for images that are not finite


class Stored(nn.Module):
    """The identity, as the feature extractor of torchmetrics' metrics."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.num_features = dim

    def forward(self, features: Tensor) -> Tensor:
        return features


def evaluate_images(
    images: Tensor,
    extractor: Extractor,
    real: RealStatistics,
    *,
    only: Collection[str] | None = None,
    neighbours: Neighbours | None = None,
) -> dict[str, float | int | None]:
    """Every metric of generated uint8 images (N, C, H, W), N >= 2, against `real`; keys as in `outcomes.METRICS`.

    only: names out of `METRICS` ("fid", "kid", "cmmd", "is", "prdc", "modes", "memorisation", "fid_infinity"): nothing
    else is computed, and the result has their figures alone. None: all but `fid_infinity`.
    neighbours: what `memorisation` compares with; its figure is None without.
    `is_std` is None with one split; the figures of `is` are None where the extractor has no logits, that of `cmmd`
    where it is not CLIP's, those of `modes` where the classes are not known, and all where features are not finite.
    Raises `InputError` for fewer than 2 images, for names that are not in `METRICS`, and for figures that are asked for
    by name and cannot be had of the extractor.
    """
    chosen = _chosen(only)  # before the expensive part
    _refuse(only, extractor.has_logits, neighbours, extractor.cmmd)
    random = None
    if {"prdc", "modes"} & set(chosen) and real.random_cnn is not None:
        with exact(extractor.device):
            random = RandomCNN(images.shape[1], real.random_cnn, dims=images.ndim - 2).to(extractor.device)(images)
    features = extract(extractor, images)
    result = evaluate_features(
        features,
        real,
        kid_subsets=extractor.kid_subsets,
        only=only,
        random=random,
        neighbours=neighbours,
        cmmd=extractor.cmmd,
    )
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
    neighbours: Neighbours | None = None,
    cmmd: bool = False,
) -> dict[str, float | int | None]:
    """`evaluate_images` from features that are already there. Computed on the device of the features.

    random: features (N, p) of the random CNN, where `real` has such for prdc. cmmd: whether the features are CLIP's.
    """
    chosen = _chosen(only)
    features, logits = fake
    if len(features) < 2:
        raise InputError(f"evaluation needs at least 2 generated images, got {len(features)}")
    if features.shape[1] != len(real.mean):
        raise InputError(f"{features.shape[1]} features per image, but the real statistics have {len(real.mean)}")
    _refuse(only, logits is not None, neighbours, cmmd)
    result: dict[str, float | int | None] = {figure: None for name in chosen for figure in METRICS[name]}
    if not all(bool(torch.isfinite(x).all()) for x in fake if x is not None):
        return result
    if "fid" in chosen:
        result["fid"] = frechet_distance(features, real)
    if "kid" in chosen:
        result["kid"] = kernel_distance(features, real, subsets=kid_subsets)
    if "cmmd" in chosen and cmmd:
        result["cmmd"] = clip_mmd(features, real.kid_features)
    if "is" in chosen and logits is not None:
        result["is_mean"], result["is_std"] = inception_score(logits)
    if "prdc" in chosen:
        space, kept = (features, real.kid_features) if real.prdc_features is None else (random, real.prdc_features)
        if space is None:
            raise ValueError(NEEDED)
        kept, radii = kept.to(space.device), real.radii.to(space.device)
        result |= precision_recall_density_coverage(space[:PRDC_FAKE], kept, radii)
    if "modes" in chosen and logits is not None and real.class_counts is not None:
        result |= _modes(features, logits, real, real.class_counts, random)
    if "memorisation" in chosen and neighbours is not None:
        result["nn_ratio"] = nearest_neighbour_ratio(features, neighbours)
    if "fid_infinity" in chosen:
        result["fid_infinity"] = frechet_distance_infinity(features, real)
    return {k: v if v is None or math.isfinite(v) else None for k, v in result.items()}


def _modes(
    features: Tensor, logits: Tensor, real: RealStatistics, counts: Tensor, random: Tensor | None
) -> dict[str, float | int | None]:
    """The figures of `modes`, by distance where `real` has the classes' reach, else by the logits alone."""
    if real.kept_labels is None or real.reach is None:
        covered, divergence = mode_coverage(logits.cpu(), counts)
        return {"modes": covered, "mode_kl": divergence}
    mode = logits.argmax(1)
    kept, labels, reach = (x.to(mode.device) for x in (real.kid_features, real.kept_labels, real.reach))
    good = good_samples(features, mode, kept, labels, reach)
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
    names = {**extractor.figures, "nn_ratio": "NN ratio"} | ({"is_mean": "IS"} if extractor.has_logits else {})
    names |= {"cmmd": "CMMD"} if extractor.cmmd else {}
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


def _refuse(only: Collection[str] | None, has_logits: bool, neighbours: Neighbours | None, cmmd: bool) -> None:
    """Raises `InputError` for what was asked for by name and cannot be had."""
    if only is not None and "is" in _chosen(only) and not has_logits:
        raise InputError("is: the Inception score is of class scores, and this extractor gives features only")
    if only is not None and "cmmd" in _chosen(only) and not cmmd:
        raise InputError("cmmd: is of CLIP's image embeddings, which the extractor clip gives")
    if only is not None and "memorisation" in _chosen(only) and neighbours is None:
        raise InputError("memorisation: needs real images that were not trained on: a split 'test' beside 'train'")


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


def checkerboard_energy(images: Tensor) -> float:
    """Share of the images' spectral energy at the period of two pixels, which stride-2 up-sampling leaves behind.

    images: uint8 or float (N, C, H, W), or volumes, of even sides. The power of each image less its mean, at a
    frequency of 1/2 per pixel along one of the axes, over all of it: 1 for a pure checkerboard or stripes, 0 for a
    smooth image, about 2 / min(H, W) for white noise (Odena et al. 2016 show the artefact; the measure is ours). NaN
    for constant images.
    """
    x = images.double()
    over = tuple(range(2, x.ndim))
    power = torch.fft.fftn(x - x.mean(over, keepdim=True), dim=over).abs().square().mean((0, 1))  # (H, W)
    at = torch.zeros_like(power, dtype=torch.bool)
    for axis, side in enumerate(power.shape):
        at.select(axis, side // 2).fill_(True)
    return float(power[at].sum() / power.sum())
