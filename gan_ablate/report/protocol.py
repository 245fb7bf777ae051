"""What closes the report of a root: its protocol, the commands that repeat its runs, and what failed."""

from __future__ import annotations

import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from gan_ablate.errors import InputError
from gan_ablate.findings.replication import REPLICATES
from gan_ablate.findings.summaries import IS_BASE, ModelTable
from gan_ablate.formatting import one_line, place, slug
from gan_ablate.outcomes import explained
from gan_ablate.recipe import BASE, Recipe, TrickSpec
from gan_ablate.report.figures.svg import short
from gan_ablate.report.section import Code, Data, Fold, Group, Items, Only, Part, Section, Text
from gan_ablate.report.study import ReportedStudy
from gan_ablate.results.files import UNREADABLE, number
from gan_ablate.results.frames import Results
from gan_ablate.results.study_file import SINGLE_RUNS
from gan_ablate.stats.corrections import ALPHA
from gan_ablate.study.budgets import at

REASON, LISTED = 300, 500  # characters of a reason, and how many of them: 0.2 MB at the most
EXPLANATION = (
    "A run's score is its FID at the final step; the best checkpoint stands beside it only as final/best. "
    "Lower FID is better.",
    f"Failed runs are {explained()}. They are never dropped: they count in the test of failures, and the FID of an arm "
    "is that of its other runs.",
    "Each arm has two tests against base. FID: the difference of mean log FID, by Behrens and Fisher's test with "
    "variances that a prior fitted to all arms of the model moderates (Smyth 2004). Failures: Boschloo's exact test. "
    "Where a run failed, twice the smaller p of both is the arm's.",
    f"A verdict is given where Benjamini and Hochberg's correction over the arms of a model leaves p under {ALPHA}, "
    "and is certain where Holm's does too. Same is a family of its own: two one-sided tests of the margin. An arm that "
    "fails more often than base neither helps nor is the same.",
)


def protocol(study: ReportedStudy) -> Section:
    """What was measured, with what, on what, and how to make it again."""
    loaded = study.loaded
    again = f"python -m gan_ablate.report {quoted(place(loaded.root))}"
    parts: tuple[Part, ...] = (
        *map(Text, (*EXPLANATION, *map(family, study.tables))),
        Items(facts(loaded), "facts"),
        Group("Base recipes", (Items([("", line) for line in settings(loaded)]),)),
        Group("Again", (Code([*repeat_study(loaded), again]),)),
    )
    return Section(study.scope.name("protocol"), "Protocol", "Protocol", "", parts)


def failures(study: ReportedStudy) -> Section:
    """The commonest reasons, then the runs in short: the table of runs has the whole of every reason."""
    failed = failed_runs(study.loaded)
    anchor, whole = study.scope.name("failures"), Data(study.scope.name("runs"), _runs(study.loaded), measured=True)
    if not failed:
        return Section(anchor, "Failures", "What failed and why", "", (whole, Text("Nothing failed.")))
    shown = sorted(failed, key=lambda f: f[0] != "file")[:LISTED]  # files first: no table names them
    more = f"{len(failed) - len(shown)} more are not listed here. " if len(failed) > len(shown) else ""
    listed = Fold(
        f"{len(failed)} runs or files",
        (
            Items([(f"{run}:", short(said, REASON)) for run, said in shown]),
            Text(f"{more}Each run stands with its whole reason in runs.csv under tables/.", "sub"),
        ),
    )
    kinds = Items([(f"{n} ×", short(kind, REASON)) for kind, n in kinds_of(failed)])
    return Section(anchor, "Failures", "What failed and why", "", (whole, kinds, Only("page", (listed,))))


def _runs(loaded: Results) -> pd.DataFrame:
    """Every run; their budget where there are two, and CMMD where it was measured."""
    runs = loaded.runs
    shown = {"budget": any(runs["budget"]), "cmmd": runs["cmmd"].notna().any()}
    return runs.drop(columns=[name for name, has in shown.items() if not has])


def family(table: ModelTable) -> str:
    """The family of tests, and on how many runs they rest."""
    found = table.verdicts
    if found is None or not found.arms:
        return f"{table.title}: nothing was tested."
    same = len(table.with_verdict(IS_BASE))
    left_out = f", {same} that {'is' if same == 1 else 'are'} base by construction left out" if same else ""
    n = sorted({found.runs[arm].finished for arm in found.arms})
    runs = f"{n[0]}" if len(n) == 1 else f"{n[0]} to {n[-1]}"
    return (
        f"{table.title}: the family is each of {table.family} arms against base, by {table.label} and by failures, "
        f"corrected together, arms still to run included{left_out}. Base has {found.base.finished} runs, "
        f"{found.base.failed} of them failed; arms have {runs}. Same: within a ratio of {found.margin:g}."
    )


def facts(loaded: Results) -> list[tuple[str, str]]:
    """(heading, text) pairs."""
    every = loaded.records.values()
    versions, hardware = ([r[k] for r in every if isinstance(r.get(k), dict)] for k in ("versions", "hardware"))
    evaluations = [e for r in every if (e := r.get("evaluation"))]
    protocols = sorted({p for p in loaded.runs["protocol"] if p})
    digests = sorted({f"{e.get('extractor')}: {e['extractor_digest']}" for e in evaluations})
    told = sorted({one_line(f"{e.get('extractor')}: {e['note']}") for e in evaluations if e.get("note")})
    real = sorted({f"{e['dataset']}: {e['real_fingerprint']}" for e in evaluations})
    seeds = sorted(set(loaded.runs["seed"]))
    return [
        (
            "study",
            f"{loaded.name}: {len(loaded.runs)} runs, {len(loaded.records)} finished; gan_ablate {loaded.version}",
        ),
        ("seeds", ", ".join(map(str, seeds[:30])) + (" .." if len(seeds) > 30 else "")),
        ("measured", "; ".join(protocols) or "nothing yet"),
        ("extractor's hash", "; ".join(map(one_line, digests)) or "–"),
        *([("extractor", "; ".join(told))] if told else []),
        ("real images' hash", "; ".join(map(one_line, real)) or "–"),
        ("versions", _most(" ".join(f"{k} {n}" for k, n in sorted(v.items())) for v in versions)),
        ("hardware", _most(_hardware(h) for h in hardware)),
        ("time", f"{loaded.runs['seconds'].sum() / 3600:.1f} hours of runs"),
        ("outcomes", ", ".join(f"{n} {o}" for o, n in sorted(Counter(loaded.runs["outcome"]).items()))),
        *([("tuning", _tuning(loaded))] if loaded.tuning else []),
    ]


def _tuning(loaded: Results) -> str:
    finished = sum(bool(run.record) for run in loaded.tuning)
    hours = sum(number(run.record.get("seconds")) or 0.0 for run in loaded.tuning) / 3600
    return f"{len(loaded.tuning)} runs more, {finished} finished, {hours:.1f} hours of runs"


def _hardware(h: dict[str, Any]) -> str:
    return one_line(f"{h.get('gpu') or h.get('cpu')}, {h.get('threads')} thread(s) a run")


def _most(values: Iterable[str]) -> str:
    counts = Counter(values)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = "; ".join(v if len(ranked) == 1 else f"{v} ({n} runs)" for v, n in ranked[:12])
    return shown + ("; .." if len(ranked) > 12 else "") or "–"


def settings(loaded: Results) -> list[str]:
    """One line per model: the numbers of its base recipe, at the first budget."""
    lines = {}
    for run in (run for run in loaded.each if run.recipe and run.arm == BASE and not run.budget):
        r: defaultdict[str, Any] = defaultdict(lambda: "?", run.recipe)
        own = " and ".join(str(TrickSpec(name, params)) for name, params in run.tricks.items())
        lines[one_line(r["model"])] = one_line(
            f"{r['model']}: {r['architecture']}, {r['size']} px, {r['channels']} channel(s), width {r['width']}, "
            f"{r['steps']} G steps, batch {r['batch_size']}, Adam(lr {r['lr']}, {r['beta1']}, {r['beta2']}), "
            f"{r['precision']}" + f", with {own}" * bool(own)
        )[:400]
    return [lines[m] for m in sorted(lines)]


def failed_runs(loaded: Results) -> list[tuple[str, str]]:
    """(run, why) of every run that failed, and of every file that cannot be read."""
    bad = loaded.runs[~loaded.runs["outcome"].isin(["ok", "missing"])]
    rows = [
        (f"{r['model']}/{r['arm']}/seed {r['seed']}{at(r['budget'])}", _why(r))
        for r in bad.sort_values(["model", "arm", "seed"]).to_dict("records")
    ]
    return rows + [("file", p) for p in loaded.problems]


def _why(row: Mapping[Any, Any]) -> str:
    return f"{row['outcome']}: {row['note'] or 'no reason given'}"


def kinds_of(failed: Sequence[tuple[str, str]]) -> list[tuple[str, int]]:
    """Reasons of failure with their numbers taken out, the commonest first."""
    counts = Counter(f"{re.sub(r'[0-9.]+', '…', why)}" for _, why in failed)
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:12]


LINES = 20  # commands of a root of single runs
NO_COMMAND = "# no command can say this recipe: put it into a study"


def repeat_run(recipe: Mapping[str, Any]) -> str | None:
    """`gan-ablate train ..`; `None` where its options cannot say the recipe."""
    from gan_ablate.store.show import train_command

    if not recipe:  # of a run that crashed: it would read as the recipe of all defaults
        return None
    try:
        return train_command(Recipe.from_dict(recipe))
    except (InputError, *UNREADABLE):
        return None


def repeat_sweep(loaded: Results, only: str = "") -> str:
    """The study's sweep, or its cells `only`."""
    root = quoted(place(loaded.root))
    source = loaded.source if isinstance(loaded.source, dict) else {}
    if first := source.get(REPLICATES):
        seeds = f"--seeds {quoted(source.get('arm_seeds'))} --base-seeds {quoted(source.get('base_seeds'))}"
        return f"gan-ablate replicate {quoted(f'runs/{first}')} {seeds} --out {root}  # or its archive"
    chosen = f" --root {root}" + (f" --only {quoted(only)}" if only else "")
    path = f"sweeps/{loaded.name}.yaml"
    if _is_source(path, loaded):
        return f"gan-ablate sweep {path}{chosen}"
    return f"gan-ablate sweep STUDY.yaml{chosen}  # STUDY.yaml: what {root}/study.yaml has as source"


def repeat_study(loaded: Results) -> list[str]:
    """Lines that train every run of a root again."""
    if loaded.name != SINGLE_RUNS:
        return [repeat_sweep(loaded)]
    lines = list(dict.fromkeys(repeat_run(r["recipe"]) or NO_COMMAND for r in loaded.records.values()))
    left = len(lines) - LINES
    return [*lines[:LINES], *([f"# and {left} more: each arm says its own"] if left > 0 else [])]


def quoted(text: object) -> str:
    """One word of a shell's line."""
    return shlex.quote(one_line(text))


def _is_source(path: str, loaded: Results) -> bool:
    """Whether that file of the current folder is the study as the root keeps it: names alone prove nothing."""
    from gan_ablate.study.study import load_study

    if loaded.name != slug(loaded.name):
        return False
    try:
        return bool(load_study(path).source == loaded.source)
    except (InputError, *UNREADABLE):
        return False


def repeat_arm(loaded: Results, table: ModelTable, arm: str, recipe: Mapping[str, Any], seeds: Sequence[int]) -> str:
    """One line that trains each seed again: `train` where its options can say the recipe, else the study's cells."""
    line = repeat_run(recipe)
    if line and len(seeds) > 1:
        loop = line.rpartition("--seed ")
        rest = loop[2].partition(" ")[2]
        return f"for seed in {' '.join(map(str, sorted(seeds)))}; do {loop[0]}--seed $seed {rest}; done"
    if line:
        return line
    if loaded.name == SINGLE_RUNS:
        return NO_COMMAND
    model = f"{table.model}@{table.dataset}" if table.title != table.model else table.model
    return repeat_sweep(loaded, only=f"{model}/{arm}/*")
