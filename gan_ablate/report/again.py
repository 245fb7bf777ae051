"""Commands that make runs again, as far as one can be given: a reader pastes them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from gan_ablate.errors import InputError
from gan_ablate.formatting import one_line, place, slug
from gan_ablate.recipe import Recipe
from gan_ablate.results.files import UNREADABLE
from gan_ablate.results.frames import Results

TRAIN = "train"  # the study's name in a root of single runs: no sweep made it
SHOWN = 20  # lines of a root of single runs
NO_COMMAND = "# no command can say this recipe: put it into a study"


def train(recipe: Mapping[str, Any]) -> str | None:
    """`gan-ablate train ..`; `None` where its options cannot say the recipe."""
    from gan_ablate.store.show import train_command

    if not recipe:  # of a run that crashed: it would read as the recipe of all defaults
        return None
    try:
        return train_command(Recipe.from_dict(recipe))
    except (InputError, *UNREADABLE):
        return None


def sweep(loaded: Results, only: str = "") -> str:
    """The study's sweep, or its cells `only`."""
    root = quoted(place(loaded.root))
    chosen = f" --root {root}" + (f" --only {quoted(only)}" if only else "")
    path = f"sweeps/{loaded.name}.yaml"
    if _is_source(path, loaded):
        return f"gan-ablate sweep {path}{chosen}"
    return f"gan-ablate sweep STUDY.yaml{chosen}  # STUDY.yaml: what {root}/study.yaml has as source"


def study(loaded: Results) -> list[str]:
    """Lines that train every run of a root again."""
    if loaded.name != TRAIN:
        return [sweep(loaded)]
    lines = list(dict.fromkeys(train(r["recipe"]) or NO_COMMAND for r in loaded.records.values()))
    left = len(lines) - SHOWN
    return [*lines[:SHOWN], *([f"# and {left} more: each arm says its own"] if left > 0 else [])]


def quoted(text: object) -> str:
    """One word of a shell's line."""
    return shlex.quote(one_line(text))


def _is_source(path: str, loaded: Results) -> bool:
    """Whether that file of the current folder is the study as the root keeps it: names alone prove nothing."""
    from gan_ablate.study.study import read

    if loaded.name != slug(loaded.name):
        return False
    try:
        return bool(read(path).source == loaded.source)
    except (InputError, *UNREADABLE):
        return False
