"""CONTRIBUTING.md, followed word for word in a copy of the package: its edits made, its commands run."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HOME = Path(__file__).parents[1]
TEXT = (HOME / "CONTRIBUTING.md").read_text()
EDIT = re.compile(
    r"^(New file|At the end of|In) `([^`]+)`(?:, below `([^`]+)`)?:\n\n(?:<!-- fmt: off -->\n)?```python\n(.*?)^```",
    re.M | re.S,
)
# the commands in one process: torch is imported once; and a classifier of stripes is good after few images
RUN = """
import shlex, sys
from gan_ablate.cli import main
import gan_ablate.evaluate.classifier as classifier
classifier.BUDGET = 3200
for line in sys.stdin.read().splitlines():
    print("$", line, flush=True)
    if code := main(shlex.split(line)[1:]):
        sys.exit(code)
"""


def edited(home):
    for how, path, anchor, block in EDIT.findall(TEXT):
        file = home / path
        if how == "New file":
            assert not file.exists()
            file.write_text(block)
        elif how == "In":
            lines = file.read_text().splitlines(keepends=True)
            assert lines.count(f"{anchor}\n") == 1, f"{path}: {anchor}"
            file.write_text(file.read_text().replace(f"{anchor}\n", f"{anchor}\n{block}"))
        else:
            file.write_text(f"{file.read_text()}\n\n{block}")
    return home


@pytest.mark.slow
def test_a_trick_a_claim_and_a_dataset_by_the_book(tmp_path):
    shutil.copytree(HOME / "gan_ablate", tmp_path / "gan_ablate", ignore=shutil.ignore_patterns("__pycache__"))
    assert len(EDIT.findall(TEXT)) == TEXT.count("```python") == 6
    edited(tmp_path)
    blocks = re.findall(r"^```sh\n(.*?)^```", TEXT, re.M | re.S)
    commands = [line for block in blocks for line in block.splitlines() if line.startswith("gan-ablate ")]
    assert len(commands) == 4
    done = subprocess.run(
        [sys.executable, "-c", RUN], cwd=tmp_path, input="\n".join(commands), env={"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1",
             "PYTHONPATH": str(tmp_path), "GAN_ABLATE_CACHE": str(tmp_path / "cache"), "HOME": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    said = dict(part.partition("\n")[::2] for part in done.stdout.split("$ ")[1:])
    trick, trained, claim, data = (said[command] for command in commands)
    assert "Karras et al. 2018, appendix A.1" in trick
    assert "wgan_gp/drift_penalty:weight=0.01/seed 0" in trained
    assert "outcome: " in trained
    assert "drift_penalty v base" in claim
    assert "FID@16 (stripes classifier)" in data
    code = [sys.executable, "-m", "ruff", "check", "-q", "--config", str(HOME / "pyproject.toml"), "gan_ablate"]
    linted = subprocess.run(code, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert linted.returncode == 0, linted.stdout
