"""Every kept report can be built again by anyone, byte for byte, from the archive that lies in it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gan_ablate.report import report
from gan_ablate.store.unpack import opened

REPORTS = Path(__file__).parents[1] / "reports"
KEPT = sorted(folder.name for folder in REPORTS.iterdir() if folder.is_dir())


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("name", KEPT)
def test_a_kept_report_is_what_its_archive_gives(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(REPORTS.parent)
    fresh = [path for path in [REPORTS / name / "fresh_seeds.zip"] if path.exists()]  # of a study that was replicated
    with opened([REPORTS / name / "results.zip"]) as roots, opened(fresh) as replication:
        report(roots, tmp_path / name, fresh_seeds=next(iter(replication), None))
    built, kept = files(tmp_path / name), files(REPORTS / name)
    for archive in ("results.zip", *(path.name for path in fresh)):
        kept.pop(archive)
    assert built.keys() == kept.keys()
    assert [path for path in kept if built[path] != kept[path]] == []


def test_an_older_processor_builds_the_same_report(tmp_path: Path):
    """NumPy and its BLAS without AVX-512 differ in a figure's last digits from those with it."""
    command = [sys.executable, "-m", "gan_ablate.report", "reports/norms/results.zip", "--out", str(tmp_path / "norms")]
    older = {"NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR", "OPENBLAS_CORETYPE": "Haswell"}
    subprocess.run(command, cwd=REPORTS.parent, env=os.environ | older, check=True, capture_output=True)
    kept = files(REPORTS / "norms")
    kept.pop("results.zip")
    assert files(tmp_path / "norms") == kept
