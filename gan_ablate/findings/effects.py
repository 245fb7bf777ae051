"""What goes with what: factors of a two-level design with the FID, signs of failure in the first half with failure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from gan_ablate.findings.rows import known, scores, where
from gan_ablate.findings.summaries import ModelTable
from gan_ablate.formatting import percent, some
from gan_ablate.results.frames import Results
from gan_ablate.stats.corrections import ALPHA
from gan_ablate.stats.factorial import Effect, Factorial, factorial
from gan_ablate.stats.failures import Association, auc
from gan_ablate.stats.two_part import MARGIN


class Effects(NamedTuple):
    """The effects on one model."""

    title: str
    label: str  # what was measured
    levels: dict[str, tuple[str, str]]  # factor -> (low, high)
    found: Factorial
    left_out: tuple[str, ...]  # factors without just two levels here


def effects(loaded: Results, table: ModelTable) -> Effects | None:
    """Least squares on log FID with seeds as blocks; None where the study has no factors or no run has a FID."""
    coded = {arm: levels for arm, levels in loaded.factors.items() if arm in table.groups}
    if not coded:
        return None
    levels, left_out = _levels(loaded.design.get("factors") or {}, coded)
    if not levels:
        return None
    signs = {arm: [1 if own.get(f) == high else -1 for f, (_, high) in levels.items()] for arm, own in coded.items()}
    rows = [(signs[arm], fid, seed) for arm in coded for seed, fid in scores(table.groups[arm]).items()]
    if sum(fid is not None for _, fid, _ in rows) < 2:
        return None
    design, scored, blocks = zip(*rows)
    found = factorial(np.array(design), scored, list(levels), blocks)
    names = {f: (level_name(a), level_name(b)) for f, (a, b) in levels.items()}
    return Effects(table.title, table.label, names, found, left_out)


def confounded(e: Effect) -> str:
    """What the estimate cannot be told from, of the terms that are looked at: main effects and pairs."""
    others = ", ".join(e.aliases)
    if math.isnan(e.difference.point):
        return f"not estimable apart from {others}" if others else "not estimable"
    return others or "nothing up to two-way"


def verdict(e: Effect, margin: float = MARGIN) -> str:
    """Of a factor: helps, hurts, same (its 95 % interval lies within the margin) or undecided. Of an interaction "same"
    says that neither factor changes what the other does by more than the margin; another verdict, that it does."""
    if math.isnan(e.difference.point):
        return "undecided"
    widest = math.log(margin) / (1 + e.interaction)  # an interaction is half the difference of two effects
    if max(abs(e.difference.low), abs(e.difference.high)) <= widest:
        return "same"
    if not e.p_holm < ALPHA:
        return "undecided"
    return "helps" if e.difference.point < 0 else "hurts"


def said_of(found: Effects) -> list[str]:
    """What a design's factors do to FID, and whether they change what the others do: two sentences."""
    main = [(e, verdict(e)) for e in found.found.effects if not e.interaction]
    pairs = [(e, verdict(e)) for e in found.found.effects if e.interaction]
    acts = [e for e, said in main if said in ("helps", "hurts")]
    slight = [e for e, said in main if said == "same" and e.p_holm < ALPHA]
    none = [e for e, said in main if said == "same" and not e.p_holm < ALPHA]
    open_ = [e for e, said in main if said == "undecided"]
    parts = [("FID changes with", acts), ("within the margin with", slight), ("not with", none), ("undecided:", open_)]
    lines = [f"{found.title}: " + "; ".join(f"{words} {_listed(found, of)}" for words, of in parts if of) + "."]
    if pairs:
        acting = [e for e, said in pairs if said in ("helps", "hurts")]
        alone = sum(said == "same" for _, said in pairs)
        more = f"These pairs do: {_listed(found, acting)}." if acting else "No pair is known to."
        lines.append(
            f"{found.title}: in {alone} of {len(pairs)} pairs neither factor changes what the other does by more than "
            f"the margin. {more}"
        )
    return lines


def _listed(found: Effects, effects: list[Effect]) -> str:
    ordered = sorted(effects, key=lambda e: -abs(e.difference.point))
    return some([f"{e.name}{_change(found, e.name)} ({percent(e.ratio.point)})" for e in ordered], most=len(ordered))


def _change(found: Effects, name: str) -> str:
    """` batch → layer`, of a factor that is not a trick put on."""
    low, high = found.levels.get(name, ("off", "on"))
    return "" if (low, high) == ("off", "on") else f" {low} → {high}"


def _levels(
    declared: Mapping[str, list[Any]], coded: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, tuple[Any, Any]], tuple[str, ...]]:
    """Factor -> (low, high) of those with two levels among the arms, in the declared order; and the others."""
    names = list(dict.fromkeys([*declared, *(f for levels in coded.values() for f in levels)]))
    found, left_out = {}, []
    for name in names:
        seen = list(dict.fromkeys(levels[name] for levels in coded.values() if name in levels))
        order = [v for v in declared.get(name, ()) if v in seen] or sorted(seen, key=_rank)
        if len(seen) == 2 and len(order) == 2 and all(name in levels for levels in coded.values()):
            found[name] = (order[0], order[1])
        elif len(seen) > 2:
            left_out.append(name)
    return found, tuple(left_out)


def _rank(value: Any) -> tuple[int, float, str]:
    """Off before on, small before large, else by name."""
    return (0, float(value), "") if isinstance(value, int | float) else (1, 0.0, str(value))


def level_name(value: Any) -> str:
    """A factor's level in words: on and off of one that is put on."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


class SignRow(NamedTuple):
    """One sign on one model, over the runs where it was looked for."""

    title: str
    sign: str
    failed: tuple[int, int]  # failed runs that showed it in the first half, all failed ones
    good: tuple[int, int]  # the same of runs that ended well
    ever: int  # runs that showed it at any time
    area: Association  # P(a failed run shows it and a good one not), ties half: 0.5 says nothing


def announced(table: ModelTable) -> list[SignRow]:
    """Per sign; crashed runs have no record of signs and are left out."""
    if not table.groups:
        return []
    rows = {k: np.concatenate([g[k] for g in table.groups.values()]) for k in next(iter(table.groups.values()))}
    rows = where(rows, ~np.isin(rows["outcome"].astype(str), ["crashed", "missing"]))
    found = []
    for column in (c for c in rows if c.startswith("sign_")):
        sign = column.removeprefix("sign_")
        looked = where(rows, np.array([sign in str(names).split(",") for names in rows["signs_asked"]], dtype=bool))
        if not len(looked["outcome"]):
            continue
        # whether the sign first showed in the first half; one that never showed is NaN, so not early
        early = looked[column].astype(float) <= looked["steps"].astype(float) / 2
        bad = looked["outcome"] != "ok"
        failed, good = ((int(early[chosen].sum()), int(chosen.sum())) for chosen in (bad, ~bad))
        area = auc(early.astype(float), bad.tolist())
        found.append(SignRow(table.title, sign, failed, good, len(known(looked[column])), area))
    return found
