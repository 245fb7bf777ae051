"""What a study asks for by now, and its root made ready for it: the same for the local pool, Slurm and W&B's agents."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gan_ablate import trust
from gan_ablate.errors import InputError
from gan_ablate.recipe import Recipe
from gan_ablate.store.store import Store
from gan_ablate.study.seed_plan import SeedPlan
from gan_ablate.study.study import Expansion, Study, expand, select_runs
from gan_ablate.sweep.releases import Releases, refuse_other_plan
from gan_ablate.sweep.tuning import TunedReleases, refuse_other_tune


def refuse_part(study: Study) -> None:
    """Raises `InputError` for a study of which no single runs can be chosen by `--only`."""
    if study.tune:
        what = "the choice of settings of a tuned study"
    elif study.seed_plan:
        what = "a look of an adaptive study"
    elif study.budgets:
        what = "the second budget"
    else:
        return
    raise InputError(f"--only: {what} needs every arm: choose by --arms and --models")


def releases_of(
    study: Study, root: str | Path, only: str | Sequence[str] | None, expansion: Expansion
) -> Releases | TunedReleases | None:
    """The releases of a study that is adaptive, tuned or has a second budget, `None` for another. Raises `InputError`
    for other looks, or another grid, than it began with."""
    if only is not None:
        refuse_part(study)
    if study.seed_plan is None and study.tune is None and study.budgets is None:
        return None
    if study.seed_plan:
        refuse_other_plan(Path(root), study.seed_plan)
    if study.tune:
        refuse_other_tune(Path(root), study.tune)
        return TunedReleases(Path(root), expansion, study.tune, study.seed_plan)
    plan = study.seed_plan or SeedPlan.plain(study.seeds)
    return Releases(Path(root), expansion, plan, study.budgets)


def prepare(
    study: Study, root: str | Path, only: str | Sequence[str] | None, expansion: Expansion | None
) -> tuple[Store, tuple[Recipe, ...]]:
    """The root with its `study.yaml` up to date, and the runs that `only` chooses."""
    expansion = expand(study) if expansion is None else expansion
    chosen = select_runs(expansion.every, only)
    for extractor in {r.evaluation.extractor for r in chosen if ":" in r.evaluation.extractor}:
        trust.require(extractor, f"{study.path}: extractor {extractor!r}")  # of tricks, `expand` has asked already
    return Store.create(root, name=study.name, source=study.source, **vars(expansion)), chosen
