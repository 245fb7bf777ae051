"""Every kept report can be built again by anyone, byte for byte, from the archive that lies in it."""

from pathlib import Path

import pytest

from gan_ablate.report import report
from gan_ablate.store.unpack import opened

REPORTS = Path(__file__).parents[1] / "reports"
KEPT = sorted(folder.name for folder in REPORTS.iterdir() if folder.is_dir())


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


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
