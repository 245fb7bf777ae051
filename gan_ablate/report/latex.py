"""Tables as LaTeX with booktabs."""

from __future__ import annotations

from collections.abc import Sequence

from gan_ablate.findings.summaries import ModelTable
from gan_ablate.report.columns import Column

SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "×": r"$\times$", "−": r"$-$", "∞": r"$\infty$", "–": "--", "∇": r"$\nabla$", "±": r"$\pm$",
    "→": r"$\to$", "[": "{[}", "]": "{]}", '"': "''", "`": "'",
}  # fmt: skip
# What a page's width has room for, beside the column of the FID; the CSV files have all columns.
NUMBERS = ("arm", "verdict", "× base", "p (Holm)", "failed", "KID", "modes", "IS")
STABILITY = (
    "arm", "failed", "how", "− base", "final/best", "seed spread", "volatility", "max |∇D|", "max |∇G|",
)  # fmt: skip
WRAPPED = dict.fromkeys(("verdict", "how"), r">{\raggedright\arraybackslash}p{40mm}")


def numbers(cols: Sequence[Column], table: ModelTable) -> str:
    """The arms in numbers."""
    return _longtable(
        [c for c in cols if c.heading in (*NUMBERS, table.label)], table, f"{table.title}: {table.protocol}"
    )


def stability(cols: Sequence[Column], table: ModelTable) -> str:
    """What a run of each arm risks."""
    return _longtable([c for c in cols if c.heading in STABILITY], table, f"Stability of {table.title}")


def _longtable(cols: Sequence[Column], table: ModelTable, caption: str) -> str:
    """A line per arm, across the page, its head repeated on each page. Needs the packages that it names."""
    head = " & ".join(tex(c.heading) for c in cols)
    lines = [
        "% needs \\usepackage{array,booktabs,longtable,pdflscape}",
        "\\begin{landscape}\\footnotesize\\setlength{\\tabcolsep}{3pt}\\setlength{\\LTcapwidth}{\\linewidth}",
        f"\\begin{{longtable}}{{l{''.join(WRAPPED.get(c.heading, 'r') for c in cols[1:])}}}",
        f"\\caption{{{tex(caption)}}}\\\\",
        *("\\toprule", f"{head} \\\\", "\\midrule", "\\endfirsthead"),
        *("\\toprule", f"{head} \\\\", "\\midrule", "\\endhead", "\\bottomrule", "\\endfoot"),
        *(" & ".join(tex(c.cell(a)) for c in cols) + r" \\" for a in table.arms),
        *("\\end{longtable}", "\\end{landscape}", ""),
    ]
    return "\n".join(lines)


def tex(text: object) -> str:
    """On one line, special characters escaped; what pdflatex has no glyph for becomes a question mark."""
    plain = " ".join(str(text).split())
    return "".join(SPECIAL.get(c, c if c.isascii() else "?") for c in plain)
