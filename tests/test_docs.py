"""Links of the documentation hold, and its site is built strictly and loads nothing from elsewhere."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

HOME = Path(__file__).parents[1]
LINK = re.compile(r"\]\(([^)\s#:]+)(?:#[^)\s]*)?\)")
LOADED = re.compile(r"<(?:script|img|iframe)[^>]*\ssrc=.?(https?:[^\s>]+)|<link[^>]*\shref=.?(https?:[^\s>]+)")


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_of_the_repositorys_own_pages_lead_somewhere(page):
    found = LINK.findall((HOME / page).read_text())
    assert found or page == "CHANGELOG.md"
    assert not [link for link in found if not (HOME / link).exists()]


@pytest.mark.skipif(find_spec("mkdocs") is None, reason="needs the extra docs")
def test_the_site_is_whole_and_loads_nothing_from_elsewhere(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "-q", "--strict", "-d", str(tmp_path)],
        cwd=HOME, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {path.relative_to(tmp_path).as_posix(): path.read_text() for path in tmp_path.rglob("*.html")}
    assert {f"{path.stem}.html" for path in (HOME / "docs").glob("*.md")} <= pages.keys()
    assert not {name: LOADED.findall(text) for name, text in pages.items() if LOADED.search(text)}
    assert 'id="gan_ablate.trick.Trick.d_loss"' in pages["api/trick.html"]  # from a docstring
    assert 'href="designs.html"' in pages["index.html"]  # README's docs/designs.md
