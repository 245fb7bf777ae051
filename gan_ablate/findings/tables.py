"""From frames to findings: each arm against base, per protocol and model."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pandas as pd

from gan_ablate.findings.rows import by_arm, scores
from gan_ablate.findings.summaries import ArmSummary, ModelTable, summarise
from gan_ablate.findings.verdicts import judge
from gan_ablate.formatting import some
from gan_ablate.recipe import BASE
from gan_ablate.results.frames import Results
from gan_ablate.stats.two_part import MARGIN
from gan_ablate.study.budgets import at
from gan_ablate.study.cells import Tie
from gan_ablate.study.designs import BALANCED
from gan_ablate.study.seed_plan import SeedPlan, plan_of
from gan_ablate.study.tuning import tune_of


def tables(loaded: Results, margin: float = MARGIN) -> tuple[ModelTable, ...]:
    """A table per protocol, model, dataset and budget, in the study's order. margin: of "same", a ratio."""
    found, runs = [], loaded.runs
    several, plan = runs["dataset"].nunique() > 1, plan_of(loaded.source)
    by_effects = loaded.design.get("name") in BALANCED
    for (model, dataset, budget), part in runs.groupby(["model", "dataset", "budget"], sort=False):
        counts = Counter(p for p in part["protocol"] if p)
        # a run without a measurement (missing or crashed) stands with the commonest protocol: it never vanishes
        home = counts.most_common(1)[0][0] if counts else ""
        for protocol in [p for p, _ in counts.most_common()] or [""]:
            chosen = part[(part["protocol"] == protocol) | ((part["protocol"] == "") & (protocol == home))]
            skipped = tuple(
                (n["arm"], n["reason"])
                for n in loaded.not_applicable
                if n["model"] == model and n.get("dataset", dataset) == dataset
            )
            unmeasured = int((chosen["protocol"] == "").sum()) if len(counts) > 1 else 0
            title = (f"{model} on {dataset}" if several else str(model)) + at(str(budget))
            ties = {a: t for (m, d, a), t in loaded.ties.items() if (m, d) == (model, dataset)}
            table = _table(
                (str(model), str(dataset), title, protocol), chosen, ties, margin, plan, by_effects=by_effects
            )
            table = _longer(table, str(budget))
            notes = (*_doubts(table, unmeasured), *_looks(table, plan), *_tied(table, ties), *_tuned(loaded.source))
            found.append(replace(table, not_applicable=() if budget else skipped, notes=(*table.notes, *notes)))
    return tuple(found)


def _longer(table: ModelTable, budget: str) -> ModelTable:
    """With its budget; that of a second one says how its arms were chosen."""
    if not budget:
        return table
    note = (
        f"Trained {budget} the study's steps, and compared with base at as many: base, the arms that helped, rescued "
        "or failed more at the first budget, and those that the study names."
    )
    verdicts = replace(table.verdicts, budget=budget) if table.verdicts else None
    return replace(table, budget=budget, verdicts=verdicts, notes=(note,))


def _table(
    name: tuple[str, str, str, str],
    part: pd.DataFrame,
    ties: Mapping[str, Tie],
    margin: float,
    plan: SeedPlan | None,
    *,
    by_effects: bool,
) -> ModelTable:
    """Without notes and what is not applicable. by_effects: a design whose runs tell of factors, not of single arms."""
    groups = by_arm(part)
    same = {a for a in groups if a in ties and ties[a].same_as_base}
    verdicts = None if by_effects else judge(name, groups, same, margin, plan)
    arms = [summarise(arm, rows, verdicts, groups.get(BASE), arm in same) for arm, rows in groups.items()]
    return ModelTable(
        *name,
        label=name[3].partition(",")[0] or "FID",
        seeds=tuple(sorted({int(s) for s in part["seed"]})),
        arms=tuple(sorted(arms, key=lambda a: (a.arm != BASE, _order(a)))),
        not_applicable=(),
        notes=(),
        family=len(groups.keys() - {BASE} - same),
        verdicts=verdicts,
        by_effects=by_effects,
        groups=groups,
    )


def _order(a: ArmSummary) -> float:
    return math.inf if math.isnan(a.ratio.point) else a.ratio.point


def _doubts(table: ModelTable, unmeasured: int) -> Iterator[str]:
    """What to know of the runs before the verdicts."""
    if unmeasured:
        yield (
            f"This model was measured in more than one way; its {unmeasured} runs without a measurement (missing or "
            "crashed) are counted here."
        )
    base = table.base
    if table.by_effects:
        yield "Arms are not compared with base one by one here: each factor's effect is estimated from all runs."
    elif base is None:
        yield "There is no arm called base here, so nothing can be compared."
    elif not base.runs:
        yield "base has no finished run yet, so nothing can be compared."
    elif base.failures == base.runs:
        yield "Every run of base failed here, so no FID can be compared: only failures are."
    elif base.runs == 1:
        yield "One seed: nothing can be tested. Add seeds."


def _looks(table: ModelTable, plan: SeedPlan | None) -> Iterator[str]:
    """Of an adaptive study: which runs its verdicts rest on."""
    if plan is None or table.verdicts is None:
        return
    held = sum(runs.finished for runs in table.verdicts.runs.values()) + table.verdicts.base.finished
    extra = sum(a.runs for a in table.arms if a.arm == BASE or a.arm in table.verdicts.runs) - held
    looks = ", ".join(map(str, plan.looks))
    yield (
        f"The seeds of this study were added in looks: {plan.base} of base, and {looks} of each arm until it was "
        "decided. The verdicts hold over all looks together."
    )
    if extra:
        yield f"{extra} runs that no look has asked for yet stand in the tables, but not in the verdicts."


def _tuned(source: object) -> Iterator[str]:
    """Of a tuned study: at which settings its arms stand."""
    if (tune := tune_of(source)) is not None:
        yield f"Each arm, base too, stands at the setting that it picked on {tune.seeds} other seeds per setting."


def _tied(table: ModelTable, ties: Mapping[str, Tie]) -> Iterator[str]:
    """Arms that are base by construction, and those that sample from base's weights."""
    groups = table.groups
    base: dict[int, float | None] = scores(groups[BASE]) if BASE in groups else {}
    for arm, tie in ties.items():
        if arm not in groups or not tie.same_as_base:
            continue
        own = scores(groups[arm])
        both = [s for s in own if s in base]
        equal = sum(own[s] == base[s] for s in both)
        yield (
            f"{arm} is base by construction ({tie.same_as_base}), so it is no test and takes no place in the family. "
            f"The FIDs of {equal} of {len(both)} seeds are equal to base's, bit for bit."
        )
    shared = sorted(a for a in groups if a in ties and ties[a].shares_weights and not ties[a].same_as_base)
    if shared:
        yield (
            f"Sampled from base's own trained weights: {some(shared)}. Their seeds are not paired with base's: "
            "they are tested like the others, which is cautious, since what they share with base counts as noise."
        )
