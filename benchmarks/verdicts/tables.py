"""The tables of the engine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from benchmarks.verdicts.engine import DESIGNS, LOOKS, WEIGHTS, Rule, play, simulate
from benchmarks.verdicts.scores import as_measured, errors, groups, kinds, right, share, with_error, wrong
from benchmarks.verdicts.single_tests import ALPHA, p_values, rejections
from benchmarks.verdicts.worlds import KEPT, WORLDS, World, draw, world
from gan_ablate.stats.moderated import CAUTION
from gan_ablate.stats.parts import Runs
from gan_ablate.stats.two_part import decide, weigh

THERE = (0.1, 0.25, 0.5, 0.75, 1.0)  # shares of the arms that have their seeds of a look under way
EARLY = ("nothing", "nothing, digits runs", "mixed", "mixed, digits runs", "edge", "failures, base 0.05")  # worlds


def print_engine_errors(rng: np.random.Generator, n: int, rule: Rule = Rule(), worlds: Sequence[str] = ()) -> None:
    """False verdicts, were the sweep to end after each look; in all worlds, or in some."""
    print(f"\nFalse verdicts, were the sweep to end after each look: {rule}, {n} studies")
    print('| world | false verdicts | false "same" | any false "certain" | any false certain "same" |')
    print("| --- | --- | --- | --- | --- |")
    for name in worlds or WORLDS:
        w = WORLDS[name]
        found = simulate(rng, w, rule, n)
        looks = [errors(found, w, look) for look in range(len(rule.looks))]
        cells = [", ".join(with_error(e[k]) for e in looks) for k in range(4)]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def print_early(rng: np.random.Generator, n: int, rule: Rule = Rule(), worlds: Sequence[str] = ()) -> None:
    """False verdicts of the first look while it is under way: arms come in a random order, base is there first."""
    there = ", ".join(f"{part:.0%}" for part in THERE)
    print(f"\nEarly verdicts of the first look, with {there} of the arms there: {rule}, {n} studies")
    print('| world | false verdicts | false "same" | ever false | ever false "same" | others than of the whole look |')
    print("| --- | --- | --- | --- | --- | --- |")
    for name in worlds or EARLY:
        w = WORLDS[name]
        order = rng.permutation(len(w.effect))
        w = w._replace(effect=w.effect[order], rate=w.rate[order])
        said = _under_way(*draw(rng, w, n, max(rule.base, rule.looks[0])), rule, w)
        parts = list(zip(wrong(said, w), kinds(said)))
        at = [", ".join(with_error(share(f, of)) for f, of in zip(false, kind)) for false, kind in parts]
        ever = [with_error(share(false.any(0), kind.any(0))) for false, kind in parts]
        early = said[:-1] != "undecided"
        others = (early & (said[:-1] != said[-1])).sum() / max(1, early.sum())
        print(f"| {name} | {' | '.join([*at, *ever, f'{others:.3f}'])} |", flush=True)


def _under_way(x: np.ndarray, failed: np.ndarray, rule: Rule, w: World) -> np.ndarray:
    """Verdicts (shares, studies, arms) with each share of the arms there; the others are undecided."""
    arms, said = len(w.effect), []
    rule = rule._replace(looks=rule.looks[:1], planned=arms)
    for m in (round(part * arms) for part in THERE):
        found = play(x[:, : m + 1], failed[:, : m + 1], rule, w.effect[:m]).verdict[0]
        said.append(np.concatenate([found, np.full((len(x), arms - m), "undecided")], axis=1))
    return np.array(said)


def print_collapsed(rng: np.random.Generator, n: int) -> None:
    """Whether collapsed runs belong to the FID part too."""
    for name in ("failures, base 0", "failures, base 0.05"):
        w = WORLDS[name]
        print(f"\nCollapsed runs, {name}, {n} studies: share of arms of each kind that get a right verdict")
        print(f'| | runs | {" | ".join(groups(w))} | false | false "same" | false "certain" |')
        print(f"| {' | '.join(['---'] * (5 + len(groups(w))))} |")
        for collapsed in ("apart", "in FID"):
            rule = Rule(collapsed=collapsed)
            found = simulate(np.random.default_rng(7), w, rule, n)
            truth = as_measured(w, rule)
            yes = right(found.verdict[-1], truth)
            cells = [f"{yes[:, at].mean():.3f}" for at in groups(w).values()]
            wrongs = [with_error(e) for e in errors(found, truth)[:3]]
            runs = rule.base + found.runs.sum(1).mean()
            print(f"| {collapsed} | {runs:.0f} | {' | '.join([*cells, *wrongs])} |", flush=True)
            same = found.verdict[-1] == "same"
            print(f"| called same | | {' | '.join(f'{same[:, at].mean():.3f}' for at in groups(w).values())} | | | |")


def print_looks(rng: np.random.Generator, n: int) -> None:
    """Designs side by side, and today's procedure."""
    w = WORLDS["mixed"]
    print(f"\nDesigns, mixed world, {n} studies: share of arms found (certain), and false verdicts")
    print(f"| design | runs | {' | '.join(groups(w))} | false |")
    print(f"| {' | '.join(['---'] * (3 + len(groups(w))))} |")
    for seeds in (5, 8):
        x, _ = draw(np.random.default_rng(7), w, n, seeds)
        p, means = p_values(x, "pooled"), x[:, 1:].mean(-1) - x[:, :1].mean(-1)
        verdict = np.where(rejections(p), np.where(means > 0, "hurts", "helps"), "undecided")
        cells = [f"{right(verdict, w)[:, at].mean():.2f}" for at in groups(w).values()]
        false = wrong(verdict, w)[0].sum(1) / np.maximum(1, (verdict != "undecided").sum(1))
        print(f"| today, {seeds} seeds | {91 * seeds} | {' | '.join(cells)} | {with_error(false)} |", flush=True)
    for rule in DESIGNS:
        found = simulate(np.random.default_rng(7), w, rule, n)
        yes, sure = right(found.verdict[-1], w), found.certain[-1]
        cells = [f"{yes[:, at].mean():.2f} ({(yes & sure)[:, at].mean():.2f})" for at in groups(w).values()]
        name = f"base {rule.base}, looks {rule.looks}, weights {' '.join(f'{v:.2g}' for v in rule.weights)}"
        runs = rule.base + found.runs.sum(1).mean()
        cells = [name, f"{runs:.0f}", *cells, with_error(errors(found, w)[0])]
        print(f"| {' | '.join(cells)} |", flush=True)


def print_stopping(rng: np.random.Generator, n: int) -> None:
    """Intervals after adaptive stopping, and the bias of arms that stopped early."""
    for name in ("mixed", "mixed, kept runs", "mixed, t4"):
        w = WORLDS[name]
        fixed = simulate(rng, w, Rule(looks=(8,), weights=(1.0,)), n)
        print(f"\nCoverage of 95 % intervals, {name}, {n} studies; repeated: at the level of the last look's weight")
        found = simulate(rng, w, Rule(), n)
        share = np.array(WEIGHTS)[found.look] * ALPHA
        print("| arms | 8 seeds each | looks | repeated | by last look: share, coverage, bias of log ratio |")
        print("| --- | --- | --- | --- | --- |")
        for group, at in {"all": np.ones(len(w.effect), bool), **groups(w)}.items():
            p, error, look = found.p_truth[:, at], found.error[:, at], found.look[:, at]
            at_look = [(LOOKS[k], look == k) for k in range(len(LOOKS)) if (look == k).any()]
            by = [f"{k}: {i.mean():.2f}, {(p[i] > ALPHA).mean():.3f}, {error[i].mean():+.3f}" for k, i in at_look]
            again = (p > share[:, at]).mean()
            cells = [f"{(k > ALPHA).mean():.3f}" for k in (fixed.p_truth[:, at], p)]
            print(f"| {group} | {' | '.join(cells)} | {again:.3f} | {'; '.join(by)} |", flush=True)


def print_few(rng: np.random.Generator, n: int) -> None:
    """Tables of few arms, whose prior rests on few variances: error under the global null."""
    print("\nTables of few arms without any effect, one look: share with a false certain verdict, base 20")
    print("In brackets with Smyth's own estimate of the prior")
    print("| arms | studies | n = 4 | n = 5 | n = 10 |\n| --- | --- | --- | --- | --- |")
    for arms in (1, 2, 3, 5, 10, 20, 90):
        w, cells, size = world([(arms, 1, 0)]), [], max(n, 20 * n // (arms + 5))
        for seeds in (4, 5, 10):
            rules = [Rule(20, (seeds,), (1.0,), caution) for caution in (CAUTION, None)]
            ours, plain = (with_error(errors(simulate(rng, w, rule, size), w)[2]) for rule in rules)
            cells.append(f"{ours} ({plain})")
        print(f"| {arms} | {size} | {' | '.join(cells)} |", flush=True)


def print_kept(rng: np.random.Generator, n: int) -> None:
    """The kept report's own runs under the engine: 5 seeds of base, one look."""
    print("\nThe kept report's runs\n| model | arms | decided | certain | verdicts |\n| --- | --- | --- | --- | --- |")
    for model, part in pd.read_csv(KEPT["kept"][0]).groupby("model"):
        sides = {}
        for arm, own in part.groupby("arm"):
            good = own["fid"][(own["outcome"] == "ok") & own["fid"].notna()]
            sides[str(arm)] = Runs(list(np.log(good)), len(own) - len(good))
        base = sides.pop("base")
        found = decide(weigh(sides, base))
        names = [v.verdict for v in found.values()]
        decided = sum(v not in {"undecided", "not tested"} for v in names)
        counts = ", ".join(f"{names.count(v)} {v}" for v in sorted(set(names)))
        print(f"| {model} | {len(names)} | {decided} | {sum(v.certain for v in found.values())} | {counts} |")
