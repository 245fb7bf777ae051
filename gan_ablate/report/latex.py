"""Tables as LaTeX with booktabs."""

from __future__ import annotations

from collections.abc import Sequence

from gan_ablate.report.columns import Column
from gan_ablate.report.summaries import ModelTable

SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "×": r"$\times$", "−": r"$-$", "∞": r"$\infty$", "–": "--", "∇": r"$\nabla$", "±": r"$\pm$",
    "→": r"$\to$", "[": "{[}", "]": "{]}", '"': "''", "`": "'",
}  # fmt: skip


def arms(cols: Sequence[Column], table: ModelTable, caption: str) -> str:
    """A longtable with a line per arm; needs the packages booktabs and longtable."""
    head = " & ".join(tex(c.heading) for c in cols)
    rows = "\n".join(" & ".join(tex(c.cell(a)) for c in cols) + r" \\" for a in table.arms)
    return (
        "% needs \\usepackage{booktabs,longtable}\n"
        f"\\begin{{longtable}}{{l{'r' * (len(cols) - 1)}}}\n\\caption{{{tex(caption)}}}\\\\\n\\toprule\n{head} \\\\\n"
        f"\\midrule\n\\endhead\n{rows}\n\\bottomrule\n\\end{{longtable}}\n"
    )


def tex(text: object) -> str:
    """On one line, special characters escaped; what pdflatex has no glyph for becomes a question mark."""
    plain = " ".join(str(text).split())
    return "".join(SPECIAL.get(c, c if c.isascii() else "?") for c in plain)
