"""A run's folder in the hands of the one process that holds its lock: the only way to write into it."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from gan_ablate.errors import InputError
from gan_ablate.publishing import discard, publish, refusing, to_json
from gan_ablate.recipe import SCHEMA, Recipe
from gan_ablate.results.files import find_record, read_recipe
from gan_ablate.store import attempts
from gan_ablate.untrusted import not_its_own

log = logging.getLogger("gan_ablate.sweep")


class LockLost(InputError):
    """The lock's file was removed or replaced while this process held it: another may be at the run by now."""


@dataclass
class RunClaim:
    """A run's folder while its lock is held by this process: the only way to write into it."""

    folder: Path
    run_id: str
    lock: IO[bytes]
    attempt: int = 0  # the number of the attempt that `prepare` began
    over: bool = False  # and whether its end is recorded

    def check(self) -> None:
        """Raises `LockLost` once the run is no longer this process's alone, `OSError` where the disk refuses."""
        if not is_file_of(self.lock, self.folder / "lock"):
            raise LockLost(f"{self.folder / 'lock'} was removed while the run was trained: this process leaves it")

    def finished(self) -> dict[str, Any] | None:
        """The published result or failure, read again under the lock. A damaged one is moved aside to `*.corrupt`."""
        found = find_record(self.folder, self.run_id)
        for name in found.problems:
            path = self.folder / name
            log.warning("%s: damaged; moved aside to %s.corrupt, the run is done again", path, name)
            os.replace(path, path.with_name(f"{name}.corrupt"))
        return dict(found.record) or None

    def prepare(self, recipe: Recipe) -> Path:
        """The run's folder, ready to train in, with this attempt begun. Raises `InputError` for another recipe's."""
        path = self.folder / "recipe.json"
        self.look_over()
        with refusing(self.folder):
            self.check()
            for stale in stale_files(self.folder):
                discard(stale)
            try:
                held = read_recipe(self.folder)
            except (FileNotFoundError, ValueError, RecursionError):
                held = None  # ours to write: the folder's name is the recipe's hash
            if held is None:
                publish(path, to_json({"schema": SCHEMA, "run_id": self.run_id, "recipe": recipe.to_dict()}))
            elif not _same_recipe(held, recipe):
                raise InputError(
                    f"{path} holds another recipe than this run: move the folder away, or use another root"
                )
            self.attempt, self.over = attempts.begin(self.folder), False
        return self.folder

    def look_over(self) -> None:
        """Raises `InputError` for a link that leads out of the run's folder: to write there, or to clear up there,
        would harm files that are no part of it. Pipes and devices have no place there either."""
        for path in not_its_own(self.folder):
            what = "a link that leads out of the run's folder" if path.is_symlink() else "neither a file nor a folder"
            raise InputError(f"{path}: {what}: move it away")

    def publish_result(self, result: Mapping[str, Any]) -> None:
        with refusing(self.folder):
            self.check()
            publish(self.folder / "result.json", to_json({"schema": SCHEMA, "run_id": self.run_id, **result}))
        self.forget_failure()
        self.ended(str(result.get("outcome", "")), **{k: result[k] for k in ("versions", "hardware") if k in result})

    def publish_failed(self, recipe: Recipe, error: str, traceback: str, attempts: int) -> None:
        record = {"recipe": recipe.to_dict(), "error": error, "traceback": traceback, "attempts": attempts}
        with refusing(self.folder):
            self.check()
            publish(self.folder / "failed.json", to_json({"schema": SCHEMA, "run_id": self.run_id, **record}))
        self.ended("crashed", error=error, traceback=traceback)

    def ended(self, outcome: str, **more: Any) -> None:
        """Records how the attempt ended, for those that publish nothing too: stopped, crashed, refused.

        Without an attempt of its own (the sweeper speaks for a killed worker) it ends the one that was left open.
        """
        number = self.attempt
        if not number:
            number = next((a["attempt"] for a in reversed(attempts.read_attempts(self.folder)) if "ended" not in a), 0)
        if self.over or not number:
            return
        self.over = bool(self.attempt)
        try:
            attempts.end(self.folder, number, outcome, **more)
        except OSError as error:  # what counts is published, or cannot be
            log.warning("%s: how the attempt ended cannot be recorded: %s", self.folder, error.strerror or error)

    def forget_failure(self) -> None:
        """Makes room for another try; the failure stays among the attempts."""
        with refusing(self.folder):
            (self.folder / "failed.json").unlink(missing_ok=True)


def is_file_of(file: IO[bytes], path: Path) -> bool:
    """Whether an open file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def stale_files(folder: Path) -> list[Path]:
    """Temporary files of a run that writers left who were killed. Only the holder of its lock may remove them."""
    places = (folder, folder / "checkpoints", folder / "samples")
    return sorted(path for place in places if not place.is_symlink() for path in place.glob(".*.tmp"))


def _same_recipe(held: Mapping[str, Any], recipe: Recipe) -> bool:
    try:
        return Recipe.from_dict(held).canonical_json() == recipe.canonical_json()
    except (KeyError, TypeError, ValueError):
        return False
