"""The report as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gan_ablate.report import protocol
from gan_ablate.report.analysis import ModelTable
from gan_ablate.report.columns import columns
from gan_ablate.report.text import percent

if TYPE_CHECKING:
    from gan_ablate.report.write import Study


def render(studies: Sequence[Study]) -> str:
    """The whole report."""
    lines: list[str] = []
    for study in studies:
        loaded = study.loaded
        lines += [f"# {_safe(loaded.name)}: which tricks help?", ""]
        lines += [
            f"- **{_safe(s.table.model)}** ({_safe(s.table.label)}): {verdict_line(s.table)}" for s in study.sections
        ]
        for section in study.sections:
            table = section.table
            lines += ["", f"## {_safe(table.model)}", "", _safe(table.protocol), ""]
            lines += [f"> {_safe(n)}" for n in table.notes] + ([""] if table.notes else [])
            cols = columns(table)
            lines += [
                "| " + " | ".join(_safe(c.heading) for c in cols) + " |",
                "| " + " | ".join("---" for _ in cols) + " |",
            ]
            lines += ["| " + " | ".join(_safe(c.cell(a)) for c in cols) + " |" for a in table.arms]
            lines += ["", *(f"- not applicable: `{_safe(arm)}`: {_safe(why)}" for arm, why in table.not_applicable)]
        lines += ["", "## Protocol", "", *protocol.EXPLANATION, ""]
        lines += [f"- {k}: {_safe(v)}" for k, v in protocol.facts(loaded)]
        lines += [f"- {_safe(s)}" for s in protocol.settings(loaded)]
        lines += ["", "```", *protocol.commands(loaded), "```", "", "## What failed and why", ""]
        lines += [f"- `{_safe(run)}`: {_safe(why)}" for run, why in protocol.failures(loaded)] or ["Nothing failed."]
        lines.append("")
    return "\n".join(lines)


def verdict_line(table: ModelTable) -> str:
    """`helped: a (-12 %), b; hurt: c; undecided: d`."""
    parts = []
    for verdict, word in (
        ("helps", "helped"),
        ("hurts", "hurt"),
        ("undecided", "undecided"),
        ("not tested", "not tested"),
    ):
        arms = table.with_verdict(verdict)
        if arms:
            names = (f"{_safe(a.arm)} ({percent(a.against.ratio.point)})" if a.against else _safe(a.arm) for a in arms)
            parts.append(f"{word}: {', '.join(names)}")
    return "; ".join(parts) or "nothing to compare yet"


def _safe(text: str) -> str:
    """On one line, with what Markdown and HTML would take for markup made harmless."""
    text = " ".join(str(text).split())
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("`", "'")
