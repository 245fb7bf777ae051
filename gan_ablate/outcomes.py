"""How a run can end: one word and one meaning each, the same in results, sweeps, reports and claims."""

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


def listed(words: tuple[str, ...] | list[str] = tuple(FAILURES)) -> str:
    """`crashed, diverged, undertrained or collapsed`."""
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last


def explained() -> str:
    """`crashed (raised an error twice, ...), diverged (...), ...`."""
    return ", ".join(f"{word} ({meaning})" for word, meaning in FAILURES.items())
