"""Where a study stands that goes on by what it has found: a tuned one, one with looks or with a second budget."""

from __future__ import annotations

from os import PathLike

from gan_ablate.findings.looks import Opened, open_root
from gan_ablate.findings.tuning import TunedRoot, open_tuned
from gan_ablate.results.runs import Reader, read_run


def open_stages(root: str | PathLike[str], read: Reader = read_run) -> TunedRoot | Opened | None:
    """A root's study as it stands; `None` for one that trains all of its runs. Raises `InputError` where there is no
    study."""
    return open_tuned(root, read) or open_root(root, read)


def describe_stages(study: TunedRoot | Opened | None) -> list[str]:
    """Of a tuned study: which part it is in. Of one with looks or a second budget: what they have found, and what comes
    next."""
    return study.describe() if study else []
