"""The protocol of a study as lines of text: what was measured, with what, on what."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gan_ablate.findings.summaries import ALPHA, BASE, IS_BASE, ModelTable
from gan_ablate.formatting import one_line, place
from gan_ablate.outcomes import explained
from gan_ablate.report import again
from gan_ablate.results.frames import Results

EXPLANATION = (
    "A run's score is its FID at the final step; the best checkpoint stands beside it only as final/best. "
    "Lower FID is better.",
    f"Failed runs are {explained()}. They are never dropped: undertrained and collapsed ones enter with their FID, the "
    "others rank worst.",
    f"A verdict is given where Holm's correction leaves p under {ALPHA}; an arm that fails more often than base is "
    "never said to help. Undecided names the smallest ratio that 80 % power could have found.",
)


def explanation(tables: Sequence[ModelTable]) -> list[str]:
    """What holds for every study, then the family and the test of each table."""
    return [*EXPLANATION, *(family(t) for t in tables)]


def family(table: ModelTable) -> str:
    """The family of tests, and which tests they are."""
    arms = [a for a in table.arms if a.arm != BASE]
    tests = Counter(a.against.test for a in arms if a.against and a.against.test)
    if not tests:
        return f"{table.title}: nothing was tested."
    names = {"paired t": "paired t tests on log FID", "Welch": "Welch tests on log FID", "rank": "exact rank tests"}
    said = ", ".join(f"{n} {names[t]}" for t, n in sorted(tests.items()))
    why = (
        f"the correlation over seeds, pooled over all pairs of arms, is {table.correlation:.2f}: "
        + ("seeds are paired" if "paired t" in tests else "too little for pairing to pay")
        if not math.isnan(table.correlation)
        else ""
    )
    same = len(table.with_verdict(IS_BASE))
    left_out = f", {same} that {'is' if same == 1 else 'are'} base by construction left out" if same else ""
    ranks = "; ranks where a run of the arm or of base has no FID" if "rank" in tests else ""
    reasons = f" ({why}{ranks})" if why else ""
    return (
        f"{table.title}: the family is each of {table.family} arms against base, one primary measure ({table.label}), "
        f"Holm-corrected together, arms still to run included{left_out}. Tests: {said}{reasons}."
    )


def facts(loaded: Results) -> list[tuple[str, str]]:
    """(heading, text) pairs."""
    every = loaded.records.values()
    versions, hardware = ([r[k] for r in every if isinstance(r.get(k), dict)] for k in ("versions", "hardware"))
    protocols = sorted({p for p in loaded.runs["protocol"] if p})
    digests = sorted({f"{e.get('extractor')}: {e.get('extractor_digest')}" for r in every if (e := _evaluation(r))})
    real = sorted({f"{e.get('dataset')}: {e.get('real_fingerprint')}" for r in every if (e := _evaluation(r))})
    seeds = sorted(set(loaded.runs["seed"]))
    return [
        (
            "study",
            f"{loaded.name}: {len(loaded.runs)} runs, {len(loaded.records)} finished; gan_ablate {loaded.version}",
        ),
        ("seeds", ", ".join(map(str, seeds[:30])) + (" .." if len(seeds) > 30 else "")),
        ("measured", "; ".join(protocols) or "nothing yet"),
        ("extractor's hash", "; ".join(map(one_line, digests)) or "–"),
        ("real images' hash", "; ".join(map(one_line, real)) or "–"),
        ("versions", _most(" ".join(f"{k} {n}" for k, n in sorted(v.items())) for v in versions)),
        ("hardware", _most(_hardware(h) for h in hardware)),
        ("time", f"{loaded.runs['seconds'].sum() / 3600:.1f} hours of runs"),
        ("outcomes", ", ".join(f"{n} {o}" for o, n in sorted(Counter(loaded.runs["outcome"]).items()))),
    ]


def _evaluation(record: Mapping[str, Any]) -> dict[str, Any]:
    found = record.get("evaluation")
    return found if isinstance(found, dict) else {}


def _hardware(h: dict[str, Any]) -> str:
    return one_line(f"{h.get('gpu') or h.get('cpu')}, {h.get('threads')} thread(s) a run")


def _most(values: Iterable[str]) -> str:
    counts = Counter(values)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = "; ".join(v if len(ranked) == 1 else f"{v} ({n} runs)" for v, n in ranked[:12])
    return shown + ("; .." if len(ranked) > 12 else "") or "–"


def settings(loaded: Results) -> list[str]:
    """One line per model: the numbers of its base recipe."""
    lines = {}
    for record in loaded.records.values():
        r: defaultdict[str, Any] = defaultdict(lambda: "?", record["recipe"])
        if record["recipe"] and r.get("arm", BASE) == BASE:
            lines[one_line(r["model"])] = one_line(
                f"{r['model']}: {r['architecture']}, {r['size']} px, {r['channels']} channel(s), width {r['width']}, "
                f"{r['steps']} G steps, batch {r['batch_size']}, Adam(lr {r['lr']}, {r['beta1']}, {r['beta2']}), "
                f"{r['precision']}"
            )[:400]
    return [lines[m] for m in sorted(lines)]


def failures(loaded: Results) -> list[tuple[str, str]]:
    """(run, why) of every run that failed, and of every file that cannot be read."""
    bad = loaded.runs[~loaded.runs["outcome"].isin(["ok", "missing"])]
    rows = [
        (f"{r['model']}/{r['arm']}/seed {r['seed']}", f"{r['outcome']}: {r['note'] or 'no reason given'}")
        for r in bad.sort_values(["model", "arm", "seed"]).to_dict("records")
    ]
    return rows + [("file", p) for p in loaded.problems]


def kinds(loaded: Results) -> list[tuple[str, int]]:
    """Reasons of failure with their numbers taken out, the commonest first."""
    counts = Counter(f"{re.sub(r'[0-9.]+', '…', why)}" for _, why in failures(loaded))
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:12]


def commands(loaded: Results) -> list[str]:
    """How to make it again."""
    return [*again.study(loaded), f"python -m gan_ablate.report {again.quoted(place(loaded.root))}"]
