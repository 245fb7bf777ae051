"""Which of the dataset's known classes a generator reaches."""

from __future__ import annotations

import torch
from torch import Tensor

CONFIDENCE = 0.9  # the classifier's probability from which a sample counts as a member of a mode


def mode_coverage(logits: Tensor, real_counts: Tensor, *, confidence: float = CONFIDENCE) -> tuple[int, float]:
    """Modes covered, and KL of the mode histogram, of generated images with class logits (N, K).

    A mode is covered when at least one sample is assigned to it with probability >= `confidence` (points in the plane
    have that probability where they are of high quality, see `toys`).
    The KL is KL(generated || real) in nats over *all* samples, each counted for its most likely class, as for stacked
    digits (Metz et al. 2017); `real_counts` (K,) are the real images per class. It is 0 for the real proportions,
    log K for one of K equal classes, and infinite if a class without real images is generated.
    """
    probability, mode = logits.double().softmax(1).max(1)
    covered = int(torch.bincount(mode[probability >= confidence], minlength=len(real_counts)).count_nonzero())
    generated = torch.bincount(mode, minlength=len(real_counts)).double() / len(logits)
    real = real_counts.double() / real_counts.sum()
    seen = generated > 0
    return covered, float((generated[seen] * (generated[seen] / real[seen]).log()).sum())
