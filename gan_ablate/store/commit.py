"""The git commit of the code that trains, so that a result says which code it came from."""

from __future__ import annotations

import os
import subprocess
from functools import lru_cache
from pathlib import Path

import gan_ablate

DIGITS = 12  # of the hash
SECONDS = 10  # that git may take


@lru_cache
def commit() -> str:
    """Of this process's code: 12 hex digits, a `+` behind them if files of the package differ from it.

    Empty for a wheel, where the version says it, and where git cannot tell. Asked once per process: what is loaded does
    not change when somebody commits, so whoever forks runs asks before.
    """
    return commit_of(Path(gan_ablate.__file__).parent)


def commit_of(package: Path) -> str:
    """The same of a package's folder. Only its own checkout counts: an environment may lie within another project's."""
    if not (package.parent / ".git").exists():
        return ""
    head = _git(package, "rev-parse", "--verify", f"--short={DIGITS}", "HEAD")
    if head is None or head.returncode or not head.stdout.strip():
        return ""
    changed = _git(package, "diff", "--quiet", "HEAD", "--", ".")
    return head.stdout.strip() + ("+" if changed is None or changed.returncode else "")


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str] | None:
    """None where git is not there or hangs."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")} | {"GIT_OPTIONAL_LOCKS": "0"}
    try:
        return subprocess.run(
            # a container's checkout may belong to somebody else; its code runs here already
            ["git", "-c", "safe.directory=*", *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
