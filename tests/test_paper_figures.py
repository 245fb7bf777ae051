"""Forest plots for papers say what the table says, in every arm's name, with the same bytes each time."""

import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from planted_runs import HOSTILE, plant

from gan_ablate.findings.tables import tables
from gan_ablate.report import load, report
from gan_ablate.report.figures import paper
from gan_ablate.report.figures.forest import axes_of, lines

EFFECTS = {"base": 0.0, "helped": -0.8, "harmed": 0.8, "null": 0.0, "died": 0.0, HOSTILE: 0.0, "$x^$ \x07 漢": 0.1}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return plant(tmp_path_factory.mktemp("r") / "r", models=("dcgan",), effects=EFFECTS, seeds=5, pictures=False)


def test_what_is_drawn_is_what_the_table_says(root):
    (table,) = tables(load(root))
    rows = lines(table)
    fids, ratios = paper._page(rows, axes_of(rows, table.verdicts.margin, table.label)).axes
    marks = {line.get_label(): line.get_xdata()[0] for line in ratios.lines if line.get_label() in paper.MARKS}
    arms = {a.verdict: a for a in table.arms if a.verdict in ("helps", "hurts")}
    assert len(arms) == 2
    for verdict, arm in arms.items():
        assert marks[verdict] == arm.ratio.point
    points = {line.get_ydata()[0]: tuple(line.get_xdata()) for line in ratios.lines if len(line.get_xdata()) == 2}
    for k, each in enumerate(rows):
        if np.isfinite(each.arm.ratio.low):
            assert points[k] == (each.arm.ratio.low, each.arm.ratio.high)
        drawn = fids.collections[k].get_offsets()
        np.testing.assert_allclose(sorted(drawn[:, 0]), sorted(np.exp(each.runs.log_fid)))


def test_figures_lie_beside_the_tables_and_go_with_them(root, tmp_path):
    def made():
        report([root], tmp_path, for_papers=True)
        return {p.name: p.read_bytes() for p in (tmp_path / "figures").iterdir() if p.suffix != ".svg"}

    first = made()
    assert set(first) == {"forest-dcgan.pdf", "forest-dcgan.png"}
    assert first == made()
    assert first["forest-dcgan.pdf"].startswith(b"%PDF")
    assert not re.search(rb"CreationDate|Matplotlib", first["forest-dcgan.pdf"])
    width, height = Image.open(tmp_path / "figures" / "forest-dcgan.png").size
    assert (width, height) == (1350, round(200 * (1.04 + 0.155 * len(EFFECTS))))
    report([root], tmp_path)
    assert {p.suffix for p in (tmp_path / "figures").iterdir()} == {".svg"}


def test_a_report_without_them_does_not_load_matplotlib():
    code = "import sys, gan_ablate.report.write; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
