"""The protocol of a study as lines of text: what was measured, with what, on what."""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from gan_ablate.report.frames import Loaded

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
    every = loaded.records.values()
    versions, hardware = ([r[k] for r in every if isinstance(r.get(k), dict)] for k in ("versions", "hardware"))
    protocols = sorted({p for p in loaded.runs["protocol"] if p})
    return [
        ("study", f"{loaded.name}: {len(loaded.runs)} runs, {len(loaded.records)} finished"),
        ("measured", "; ".join(protocols) or "nothing yet"),
        ("versions", _most(" ".join(f"{k} {n}" for k, n in sorted(v.items())) for v in versions)),
        ("hardware", _most(_hardware(h) for h in hardware)),
        ("time", f"{loaded.runs['seconds'].sum() / 3600:.1f} hours of runs"),
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
        r: defaultdict[str, Any] = defaultdict(lambda: "?", record["recipe"])
        if record["recipe"] and not r.get("tricks") and r.get("arm", "base") == "base":
            lines[str(r["model"])] = (
                f"{r['model']}: {r['architecture']}, {r['size']} px, {r['channels']} channel(s), width {r['width']}, "
                f"{r['steps']} G steps, batch {r['batch_size']}, Adam(lr {r['lr']}, {r['beta1']}, {r['beta2']}), "
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
    source, root = (shlex.quote(_line(s)) for s in (f"sweeps/{loaded.name}.yaml", str(loaded.root)))
    return [f"gan-ablate sweep {source} --root {root}", f"python -m gan_ablate.report {root}"]


def _line(text: str) -> str:
    return " ".join(text.replace("`", "'").split())  # cannot close a fenced block
