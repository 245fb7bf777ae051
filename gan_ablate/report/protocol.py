"""The protocol of a study as lines of text: what was measured, with what, on what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from gan_ablate.report.load import Loaded

EXPLANATION = (
    "A run's score is its FID at the final step; the best checkpoint stands beside it only as final/best. "
    "Lower FID is better.",
    "Arms are paired with base by seed: the same data order, the same z and the same initial weights wherever "
    "both have the layer. The test is a paired t test on log FID where the pairs correlate, Welch's where they do not.",
    "A failure is a non-finite loss or weight (diverged), a final FID no better than an untrained generator's or "
    "fewer than half of the known modes (collapsed), or a run that raised an error twice (crashed). Failed runs are "
    "never dropped: collapsed ones enter with their FID, the others rank worst.",
    "A verdict is given where Holm's correction over the arms of the model leaves p under 0.05; `undecided` names the "
    "smallest ratio that 80 % power could have found.",
)


def facts(loaded: Loaded) -> list[tuple[str, str]]:
    """(heading, text) pairs."""
    records = [r for r in loaded.records.values() if "versions" in r]
    protocols = sorted({p for p in loaded.runs["protocol"] if p})
    return [
        ("study", f"{loaded.name}: {len(loaded.runs)} runs, {len(loaded.records)} finished"),
        ("measured", "; ".join(protocols) or "nothing yet"),
        ("versions", _most(" ".join(f"{k} {v}" for k, v in sorted(r["versions"].items())) for r in records)),
        ("hardware", _most(_hardware(r["hardware"]) for r in records)),
        ("time", f"{sum(float(r.get('seconds') or 0) for r in records) / 3600:.1f} hours of runs"),
        ("outcomes", ", ".join(f"{n} {o}" for o, n in sorted(Counter(loaded.runs["outcome"]).items()))),
    ]


def _hardware(h: dict[str, Any]) -> str:
    return f"{h.get('gpu') or h.get('cpu')}, {h.get('threads')} thread(s) a run"


def _most(values: Iterable[str]) -> str:
    counts = Counter(values)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return "; ".join(v if len(ranked) == 1 else f"{v} ({n} runs)" for v, n in ranked) or "–"


def settings(loaded: Loaded) -> list[str]:
    """One line per model: the numbers of its base recipe."""
    lines = {}
    for record in loaded.records.values():
        r = record["recipe"]
        if r and not r.get("tricks") and r.get("arm", "base") == "base":
            lines[r["model"]] = (
                f"{r['model']}: {r['architecture']}, {r['size']} px, {r['channels']} channel(s), width {r['width']}, "
                f"{r['steps']} G steps, batch {r['batch_size']}, Adam(lr {r['lr']:g}, {r['beta1']:g}, {r['beta2']:g}), "
                f"{r['precision']}"
            )
    return [lines[m] for m in sorted(lines)]


def failures(loaded: Loaded) -> list[tuple[str, str]]:
    """(run, why) of every run that failed, and of every file that cannot be read."""
    bad = loaded.runs[~loaded.runs["outcome"].isin(["ok", "missing"])]
    rows = [
        (f"{r['model']}/{r['arm']}/seed {r['seed']}", f"{r['outcome']}: {r['note'] or 'no reason given'}")
        for r in bad.sort_values(["model", "arm", "seed"]).to_dict("records")
    ]
    return rows + [("file", p) for p in loaded.problems]


def commands(loaded: Loaded) -> list[str]:
    """How to make it again."""
    source = f"sweeps/{loaded.name}.yaml"
    return [f"gan-ablate sweep {source} --root {loaded.root}", f"python -m gan_ablate.report {loaded.root}"]
