"""The tables of a report as files: CSV with every value, measured ones to the last digit; LaTeX with booktabs."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pandas as pd

from gan_ablate.formatting import computed
from gan_ablate.report.section import Data, Document, Name, Table

FORMULA = re.compile(r"'*[=+\-@\t\r]")  # a text that a spreadsheet would carry out, were it not quoted
SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "×": r"$\times$", "−": r"$-$", "∞": r"$\infty$", "–": "--", "∇": r"$\nabla$", "±": r"$\pm$",
    "→": r"$\to$", "[": "{[}", "]": "{]}", '"': "''", "`": "'",
}  # fmt: skip
WIDE = r">{\raggedright\arraybackslash}p{40mm}"  # a column of several words


def csv_files(document: Document) -> dict[Name, str]:
    """The texts of the CSV files, by name."""
    found = {p.csv: p.frame if p.measured else rounded(p.frame) for p in document.walk() if isinstance(p, Data)}
    tables: dict[Name, list[Table]] = {}
    for part in document.walk():
        if isinstance(part, Table) and part.csv:
            tables.setdefault(part.csv, []).append(part)
    found |= {name: rounded(frame(*own)) for name, own in tables.items()}
    return {name: csv(own) for name, own in found.items()}


def frame(*tables: Table) -> pd.DataFrame:
    """Every value of tables with the same rows, a row each; a column that stands in several comes once."""
    columns = list({c.csv: c for t in tables for c in t.columns if c.csv}.values())
    records = [dict(pair for c in columns for pair in c.values(row)) for row in tables[0].rows]
    return pd.DataFrame(records, columns=[name for c in columns for name in c.csv])


def rounded(frame: pd.DataFrame) -> pd.DataFrame:
    """With as many digits as computed figures have in files."""
    return frame.map(lambda x: computed(x) if isinstance(x, float) else x)


def csv(frame: pd.DataFrame) -> str:
    """The file's text. A cell that a spreadsheet would take for a formula begins with ', so that it stays a text."""
    texts = [c for c in frame.columns if not pd.api.types.is_numeric_dtype(frame[c])]
    return frame.assign(**{c: frame[c].map(_guarded) for c in texts}).to_csv(index=False, lineterminator="\n")


def _guarded(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and FORMULA.match(value) else value


def unguarded(text: str) -> str:
    """A cell's text as it was before `csv` wrote it."""
    return text[1:] if text.startswith("'") and FORMULA.match(text) else text


def latex(table: Table) -> str:
    """A line per row, across the page, its head repeated on each page. Needs the packages that it names."""
    columns = [c for c in table.shown if c.paper]
    head = f"{_line(c.heading for c in columns)} \\\\"
    lines = [
        "% needs \\usepackage{array,booktabs,longtable,pdflscape}",
        "\\begin{landscape}\\footnotesize\\setlength{\\tabcolsep}{3pt}\\setlength{\\LTcapwidth}{\\linewidth}",
        f"\\begin{{longtable}}{{l{''.join(WIDE if c.wide else 'r' for c in columns[1:])}}}",
        f"\\caption{{{tex(': '.join(filter(None, (table.caption, table.measured))))}}}\\\\",
        *("\\toprule", head, "\\midrule", "\\endfirsthead"),
        *("\\toprule", head, "\\midrule", "\\endhead", "\\bottomrule", "\\endfoot"),
        *(_line(c.cell(row)[0] for c in columns) + r" \\" for row in table.rows),
        *("\\end{longtable}", "\\end{landscape}", ""),
    ]
    return "\n".join(lines)


def _line(cells: Iterable[str]) -> str:
    return " & ".join(map(tex, cells))


def tex(text: object) -> str:
    """On one line, special characters escaped; what pdflatex has no glyph for becomes a question mark."""
    plain = " ".join(str(text).split())
    return "".join(SPECIAL.get(c, c if c.isascii() else "?") for c in plain)
