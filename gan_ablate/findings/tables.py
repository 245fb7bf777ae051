"""From frames to findings: each arm against base, per protocol and model, Holm-corrected over the model's arms."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pandas as pd

from gan_ablate.findings.summaries import ArmSummary, ModelTable, Rows, by_arm, failed, scores, summarise
from gan_ablate.formatting import some
from gan_ablate.recipe import BASE
from gan_ablate.results.frames import Results
from gan_ablate.stats.corrections import ALPHA, holm
from gan_ablate.stats.paired import Comparison, Scores, compare_family
from gan_ablate.stats.ranks import floor_note
from gan_ablate.study.cells import Tie


def tables(loaded: Results) -> tuple[ModelTable, ...]:
    """A table per protocol, model and dataset, in the study's order."""
    found, runs = [], loaded.runs
    several = runs["dataset"].nunique() > 1
    for (model, dataset), part in runs.groupby(["model", "dataset"], sort=False):
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
            title = f"{model} on {dataset}" if several else str(model)
            ties = {a: t for (m, d, a), t in loaded.ties.items() if (m, d) == (model, dataset)}
            found.append(_table((str(model), str(dataset), title, protocol), chosen, skipped, unmeasured, ties))
    return tuple(found)


def _table(
    name: tuple[str, str, str, str],
    part: pd.DataFrame,
    skipped: tuple[tuple[str, str], ...],
    unmeasured: int,
    ties: Mapping[str, Tie],
) -> ModelTable:
    groups = by_arm(part)
    base_rows = groups.get(BASE)
    base = scores(base_rows) if base_rows is not None else {}
    same = {a: ties[a].same_as_base for a in groups if a in ties and ties[a].same_as_base}
    arms = {a: scores(rows) for a, rows in groups.items() if a != BASE and a not in same}
    one_training = {a for a in arms if a in ties and ties[a].shares_weights}
    family = compare_family(arms, base, alpha=ALPHA, one_training=one_training) if base and arms else None
    compared: Mapping[str, Comparison] = family.comparisons if family else {}
    adjusted = _holm(compared, groups)
    found = [
        summarise(arm, rows, compared.get(arm), adjusted.get(arm, math.nan), base, base_rows, arm in same)
        for arm, rows in groups.items()
    ]
    found.sort(key=lambda a: (a.arm != BASE, _order(a)))
    table = ModelTable(
        *name,
        label=name[3].partition(",")[0] or "FID",
        seeds=tuple(sorted({int(s) for s in part["seed"]})),
        arms=tuple(found),
        not_applicable=skipped,
        notes=(),
        family=len(arms),
        correlation=family.correlation if family else math.nan,
        groups=groups,
    )
    notes = (
        *_doubts(table, base, base_rows, unmeasured),
        *_tied(same, one_training, groups, base),
        *_ranks(table, compared, base),
        *(["One seed: nothing can be tested. Add seeds."] if len(base) == 1 else []),
    )
    return replace(table, notes=notes)


def _holm(compared: Mapping[str, Comparison], groups: Mapping[str, Rows]) -> dict[str, float]:
    """Holm's p over the whole plan: an arm that is still to be tested counts, so a look on the way gains nothing."""
    open_ = {a: bool((groups[a]["outcome"] == "missing").any()) for a in compared}
    p = [1.0 if math.isnan(c.p) and open_[a] else c.p for a, c in compared.items()]
    return {a: math.nan if math.isnan(c.p) else float(q) for (a, c), q in zip(compared.items(), holm(p), strict=True)}


def _order(a: ArmSummary) -> float:
    if a.against is None or math.isnan(a.against.ratio.point):
        return math.inf
    return a.against.ratio.point


def _doubts(table: ModelTable, base: Scores, base_rows: Rows | None, unmeasured: int) -> Iterator[str]:
    """What to know of the runs before the verdicts."""
    if unmeasured:
        yield (
            f"This model was measured in more than one way; its {unmeasured} runs without a measurement (missing or "
            "crashed) are counted here."
        )
    withheld = [a.arm for a in table.arms if a.withheld]
    if withheld:
        yield (
            f"No verdict for {some(withheld)}: the FID is lower than base's and passes the test, but every run "
            "failed, or more of them than of base."
        )
    if base_rows is None:
        yield "There is no arm called base here, so nothing can be compared."
    elif not base:
        yield "base has no finished run yet, so nothing can be compared."
    else:
        bad, n = failed(base_rows)
        if n and bad == n:
            yield (
                "Every run of base failed here: a lower FID than base's can still be a failed run. Read the failures "
                "and modes before the ratio."
            )


def _ranks(table: ModelTable, compared: Mapping[str, Comparison], base: Scores) -> Iterator[str]:
    """Which arms were tested on ranks, and which of these could not have passed."""
    ranked = [a for a, c in compared.items() if c.test == "rank"]
    if not ranked:
        return
    why = "a run of base" if None in base.values() else "a run of the arm"
    yield (
        f"Ranks instead of logarithms for {some(ranked)}: {why} diverged or crashed and has no FID; it counts as "
        "worst. The ratio is then over the runs that have one."
    )
    hopeless = [a for a in compared if a in table.hopeless]
    if hopeless:
        worst = max(hopeless, key=lambda a: compared[a].least_p)
        said = floor_note(compared[worst].n, compared[worst].least_p, len(compared), ALPHA)
        yield f"{said} This holds for {some(hopeless)}. A t test has no such floor."


def _tied(same: Mapping[str, str], one_training: set[str], groups: Mapping[str, Rows], base: Scores) -> Iterator[str]:
    """Arms that are base by construction, and those that sample from base's weights."""
    for arm, why in same.items():
        own = scores(groups[arm])
        both = [s for s in own if s in base]
        equal = sum(own[s] == base[s] for s in both)
        yield (
            f"{arm} is base by construction ({why}), so it is no test and takes no place in the family. The FIDs of "
            f"{equal} of {len(both)} seeds are equal to base's, bit for bit."
        )
    if one_training:
        yield f"Sampled from base's own trained weights, so always paired by seed: {some(sorted(one_training))}."
