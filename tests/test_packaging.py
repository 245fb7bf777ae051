"""What a user installs: a wheel that works alone, shipped studies by name, and the commit of the code in each result."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from gan_ablate.errors import InputError
from gan_ablate.store.attempts import versions
from gan_ablate.store.commit import commit_of
from gan_ablate.study.shipped import shipped, study_file
from gan_ablate.study.study import load_study

HOME = Path(__file__).parents[1]
BUILD = "import setuptools.build_meta as b, sys; print(b.build_wheel(sys.argv[1]))"


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The wheel, built from a copy, unpacked: what an installer puts into an environment."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for folder in ("gan_ablate", "sweeps"):
        shutil.copytree(HOME / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(HOME / name, source)
    made = subprocess.run(
        [sys.executable, "-c", BUILD, str(out)], cwd=source, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr[-2000:]
    (wheel,) = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(out / "site")
    return out / "site"


def test_a_wheel_has_all_that_the_package_reads(unpacked):
    package = unpacked / "gan_ablate"
    ours = [p for p in (HOME / "gan_ablate").rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    missing = [p for p in ours if not (unpacked / p.relative_to(HOME)).exists()]
    assert not missing
    assert {p.name for p in (package / "sweeps").iterdir()} == {p.name for p in (HOME / "sweeps").glob("*.yaml")}
    assert not [p for p in unpacked.iterdir() if p.name != "gan_ablate" and p.suffix != ".dist-info"]


def test_a_wheel_sweeps_a_shipped_study_by_name_outside_the_repository(unpacked, tmp_path):
    code = f"import sys; sys.path.insert(0, {str(unpacked)!r}); from gan_ablate.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, "sweep", "smoke", "--dry-run"],
        cwd=tmp_path, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "12 runs, 0 finished" in done.stdout
    where = f"import sys; sys.path.insert(0, {str(unpacked)!r}); from gan_ablate.store.commit import commit; print(commit())"
    done = subprocess.run([sys.executable, "-P", "-c", where], cwd=HOME, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""  # the working folder's commit is not the wheel's


def test_what_a_word_for_a_study_means(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    smoke = HOME / "sweeps" / "smoke.yaml"
    assert set(shipped()) == {p.stem for p in (HOME / "sweeps").glob("*.yaml")}
    (tmp_path / "smoke").mkdir()  # a folder is no study
    assert study_file("smoke") == study_file("sweeps/smoke.yaml") == smoke
    (tmp_path / "smoke").rmdir()
    (tmp_path / "smoke").write_text("name: mine\n")
    assert load_study("smoke").name == "mine"
    assert study_file("elsewhere/smoke.yaml") == Path("elsewhere/smoke.yaml")
    for word in ("smok", "sweeps/smok.yaml"):
        with pytest.raises(InputError, match="unknown study 'smok': did you mean 'smoke'"):
            study_file(word)


def test_the_commit_is_that_of_the_packages_own_checkout(tmp_path):
    def git(*arguments):
        who = ("-c", "user.name=n", "-c", "user.email=e@example.org")
        done = subprocess.run(["git", *who, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    package = tmp_path / "code"
    package.mkdir()
    (package / "a.py").write_text("1\n")
    (tmp_path / "notes").write_text("1\n")
    assert commit_of(package) == ""  # no checkout
    git("init", "-q")
    assert commit_of(package) == ""  # no commit yet
    git("add", ".")
    git("commit", "-qm", "one")
    head = git("rev-parse", "HEAD")[:12]
    assert commit_of(package) == head
    (tmp_path / "notes").write_text("2\n")
    assert commit_of(package) == head  # not of the package
    (package / "a.py").write_text("2\n")
    assert commit_of(package) == f"{head}+"
    installed = package / "site-packages" / "gan_ablate"
    installed.mkdir(parents=True)
    assert commit_of(installed) == ""  # a wheel within somebody's checkout


@pytest.mark.skipif(not (HOME / ".git").exists(), reason="not a checkout")
def test_each_result_says_the_commit():
    expected = commit_of(HOME / "gan_ablate")
    assert expected
    assert versions()["commit"] == expected
