"""The registry of published claims and what the data of one or several roots say of each. No torch, no files written.

>>> from gan_ablate.results.frames import load
>>> verdicts = judge([load("runs/ablation"), load("runs/norms")])  # doctest: +SKIP
"""

from __future__ import annotations

from gan_ablate.claims.catalogue import find_claim, registry
from gan_ablate.claims.claim import Claim, Contrast
from gan_ablate.claims.judging import judge
from gan_ablate.claims.verdict import VERDICTS, Evidence, Verdict

__all__ = ["VERDICTS", "Claim", "Contrast", "Evidence", "Verdict", "find_claim", "judge", "registry"]
