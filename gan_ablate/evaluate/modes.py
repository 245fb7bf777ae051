"""Which of the dataset's known modes a generator reaches, and with samples as good as real ones or not.

A sample is read as a member of its most likely class. It is good if it lies as near to a real image of that class as
real images of the class lie to each other (`class_reach`), in the classifier's feature space and in the random CNN's:
the classifier is sure of images that are nothing like its training set, such as the mean of two, so its confidence says
little, and its features of digits are as forgiving. Of coloured shapes it is the random features that forgive.

A mode is reached by `SHARE` of the samples that real images would put there: 8 of 2,048 for 64 equal classes. A single
lucky sample reaches none.

Stacked digits and points in the plane keep the rule of their literature: one sample that the extractor is sure of.
"""

from __future__ import annotations

import torch
from torch import Tensor

CONFIDENCE = 0.9  # the literature's rule: the probability from which a sample counts as a member of a mode
SHARE = 0.25  # of a mode's real share of the samples
WITHIN = 0.99  # of a class's real images lie within its reach
OWN = 20  # real images of a class from which its reach is its own; with fewer it is that of all classes together
BY_DISTANCE = f"distance within the class in both spaces ({WITHIN:.0%}), {SHARE:g} of the real share"
BY_CONFIDENCE = f"one sample over {CONFIDENCE:g}"


def class_reach(features: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Squared distance (K,) float64 within which `WITHIN` of each class's real images have another of their class.

    features (m, d), labels (m,) of real images. A class with fewer than `OWN` of them has the reach of all together.
    """
    members = {c: features[labels == c].double() for c in range(classes)}
    nearest = {c: _nearest(x, x, skip_itself=True) for c, x in members.items() if len(x) > 1}
    if not nearest:
        return torch.zeros(classes, dtype=torch.float64)
    common = torch.cat(list(nearest.values())).quantile(WITHIN)
    own = {c: d.quantile(WITHIN) for c, d in nearest.items() if len(d) >= OWN}
    return torch.stack([own.get(c, common) for c in range(classes)])


def good_samples(features: Tensor, mode: Tensor, real: Tensor, labels: Tensor, reach: Tensor) -> Tensor:
    """Which samples, features (N, d) and their classes `mode` (N,), are within the reach of a real one (m, d) of their
    class: bool (N,)."""
    good = torch.zeros(len(features), dtype=torch.bool, device=features.device)
    for c in mode.unique().tolist():
        own = real[labels == c].double()
        if len(own):
            rows = mode == c
            good[rows] = _nearest(features[rows].double(), own) <= reach[c]
    return good


def reached(mode: Tensor, real_counts: Tensor, total: int) -> int:
    """Modes with at least `SHARE` of the samples, of `total`, that real images would put there.

    mode (n,): classes of those samples that count. real_counts (K,): real images per class.
    """
    due = SHARE * total * real_counts.double() / real_counts.sum()
    found = torch.bincount(mode, minlength=len(real_counts))
    return int(((found >= due) & (found > 0)).sum())


def mode_coverage(logits: Tensor, real_counts: Tensor, *, confidence: float = CONFIDENCE) -> tuple[int, float]:
    """The literature's rule: modes with a sample, of logits (N, K), of probability >= `confidence`; and their KL.

    Points in the plane have that probability where they are of high quality, see `toys`.
    """
    probability, mode = logits.double().softmax(1).max(1)
    covered = int(mode[probability >= confidence].unique().numel())
    return covered, mode_divergence(mode, real_counts)


def mode_divergence(mode: Tensor, real_counts: Tensor) -> float:
    """KL(generated || real) in nats of the histogram of *all* samples' classes (N,), as for stacked digits (Metz et al.
    2017). 0 for the real proportions, log K for one of K equal classes, infinite if a class without real images is
    generated."""
    generated = torch.bincount(mode, minlength=len(real_counts)).double() / len(mode)
    real = real_counts.double() / real_counts.sum()
    seen = generated > 0
    return float((generated[seen] * (generated[seen] / real[seen]).log()).sum())


def _nearest(x: Tensor, y: Tensor, *, skip_itself: bool = False) -> Tensor:
    """Squared distance (n,) of each row of x (n, d) to the nearest row of y (m, d)."""
    distances = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")  # rounding must not decide repeats
    if skip_itself:
        distances.fill_diagonal_(torch.inf)
    return distances.amin(1).square()
