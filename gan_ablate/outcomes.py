"""What comes of a run: how it can end, what is measured of it, and the signs of failure. Each name stands here once."""

from __future__ import annotations

FAILURES = {
    "crashed": "raised an error twice, so that it could not be carried out",
    "diverged": "a loss, a weight or the final FID is not finite",
    "undertrained": "final FID no better than its untrained self's",
    "collapsed": "fewer than half of the modes have their share of samples",
}
MEANINGS = {"ok": "none of the failures", **FAILURES}
UNMEASURED = ("crashed", "diverged")  # end without a final FID: they rank worst
MEASURED = tuple(word for word in MEANINGS if word not in UNMEASURED)

METRICS = {  # of each evaluation, as results record them: which of two values is the better one
    "fid": "lower",
    "kid": "lower",
    "cmmd": "lower",
    "is_mean": "higher",
    "is_std": "neither",
    "precision": "higher",
    "recall": "higher",
    "density": "higher",
    "coverage": "higher",
    "modes": "higher",
    "assigned_modes": "higher",
    "high_quality": "higher",
    "mode_kl": "lower",
    "nn_ratio": "higher",
}
SIGNS = {  # of failure, in the log of a run (Chintala et al. 2016, tip 10); the rules are in `evaluate.health`
    "d_loss_near_zero": "D wins every time, so G has nothing left to learn from",
    "gradient_over_100": "the norm of a player's gradient is over 100",
    "d_loss_spikes": "D's loss leaves the range of its recent values",
    "g_loss_falls": "G's loss falls steadily: it fools D, and often with garbage",
}


def listed(words: tuple[str, ...] | list[str] = tuple(FAILURES)) -> str:
    """`crashed, diverged, undertrained or collapsed`."""
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last


def explained() -> str:
    """`crashed (raised an error twice, ...), diverged (...), ...`."""
    return ", ".join(f"{word} ({meaning})" for word, meaning in FAILURES.items())


TINY = 1e-12  # in place of a FID of 0, which has no logarithm
