"""The notebooks run as they stand: their code cells one after the other, in one namespace."""

import json
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from gan_ablate.findings.tables import tables

HOME = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _draws_nothing():
    from matplotlib import pyplot

    matplotlib.use("Agg")
    yield
    pyplot.close("all")


def carried_out(name):
    """The names that a notebook's code leaves."""
    found = {}
    for cell in json.loads((HOME / "notebooks" / name).read_text())["cells"]:
        if cell["cell_type"] == "code":
            assert not cell["outputs"]
            exec(compile("".join(cell["source"]), f"{name}:{cell['id']}", "exec"), found)
    return found


@pytest.mark.slow
def test_the_first_study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = carried_out("first_study.ipynb")
    assert (found["summary"].done, found["summary"].left) == (12, 0)
    assert set(found["verdicts"]["arm"]) == {"base", "minibatch_stddev", "adam_beta1:beta1=0.9"}
    assert found["page"].exists()
    assert (found["page"].parent / "figures" / "forest-dcgan.pdf").exists()
    assert sum(len(part.get_offsets()) for part in found["plot"].collections) == 12


def test_reading_a_pack(monkeypatch):
    monkeypatch.chdir(HOME / "notebooks")
    found = carried_out("read_a_pack.ipynb")
    for table in tables(found["results"]):
        if table.base is None or not table.base.runs:
            continue
        for arm in (a for a in table.arms if a.runs):
            row = found["arms"].loc[(table.model, arm.arm)]
            assert (row["runs"], row["failed"]) == (arm.runs, arm.failures)
            np.testing.assert_allclose(row["ratio"], arm.fid.point / table.base.fid.point, rtol=1e-9)
