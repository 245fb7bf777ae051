"""The local pool carries out a study's runs in worker slots, until none is left or it is told to stop."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gan_ablate.recipe import Recipe
from gan_ablate.store.store import Store
from gan_ablate.study.study import Expansion, Study, expand
from gan_ablate.sweep.display import Display, choose
from gan_ablate.sweep.prepare import prepare, releases_of
from gan_ablate.sweep.summary import Summary
from gan_ablate.sweep.sweeper import Sweeper
from gan_ablate.sweep.way import Way


def sweep(
    study: Study,
    root: str | Path,
    *,
    only: str | Sequence[str] | None = None,
    display: Display | None = None,
    expansion: Expansion | None = None,
    retry_failed: bool = False,
    **way: Any,
) -> Summary:
    """Carries out what is left of a study in `root` on this machine; `way` are the fields of `Way`.

    Runs that another sweeper holds are waited for. Ctrl-C (or SIGTERM, SIGHUP) asks the runs to checkpoint and leave,
    a second one kills them. Raises `InputError` for a root of another study, and for bad input that only a run notices.
    """
    carried = Way(**way)
    expansion = expand(study) if expansion is None else expansion
    releases = releases_of(study, root, only, expansion)
    released = releases.wanted() if releases else expansion
    store, chosen = prepare(study, root, only, released)
    display = display or choose()

    def more() -> Sequence[Recipe]:
        """What an adaptive study, or one with a second budget, asks for by now."""
        return prepare(study, root, None, releases.wanted())[1] if releases else ()

    try:
        with carried.open_places(_first_left(store, chosen, carried)) as places:
            setup = carried.setup(store.root, places, sys.path)
            return Sweeper(store, chosen, places, setup, display, carried, retry_failed, more=more).run()
    finally:
        display.close()


def carry_out_share(
    root: Path, recipes: Sequence[Recipe], way: Way, *, display: Display, path: Sequence[str], numbers: Sequence[int]
) -> Summary:
    """Carries out some runs of a study that another process watches over, in a job of a cluster.

    Runs that others hold are left to them. Each of the signals `numbers` lets runs checkpoint and leave; none of them,
    however often it comes, shortens the `grace` that runs have for it. `path` is the submitter's `sys.path`.
    """
    with way.open_places(_first_left(Store(root), recipes, way)) as places:
        setup = way.setup(root, places, path)
        return Sweeper(Store(root), recipes, places, setup, display, way, numbers=numbers, own=False).run()


def _first_left(store: Store, recipes: Sequence[Recipe], way: Way) -> Recipe | None:
    """The first run without a record, if places depend on it."""
    return next((r for r in recipes if way.per_gpu is None and store.finished(r.run_id) is None), None)
