"""The store: one folder per run, `result.json` written last and atomically is the done marker. No torch here.

Readers never write. Whoever changes a run's folder holds its lock, which the kernel frees when the holder dies.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import stat
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from os import PathLike
from pathlib import Path
from typing import IO, Any

from gan_ablate.errors import InputError
from gan_ablate.publishing import copy, publish, refusing, trouble
from gan_ablate.recipe import Recipe, run_id_of
from gan_ablate.results.files import FAILURE, RESULT, FoundRecord, find_record, read_recipe, read_record
from gan_ablate.results.study_file import NAME, Cell, DamagedStudy, StudyFile, read_study, study_bytes
from gan_ablate.store.claim import RunClaim, is_file_of
from gan_ablate.study.cells import NotApplicable, Tie, Trial, ties
from gan_ablate.untrusted import open_lock, read_regular

log = logging.getLogger("gan_ablate.sweep")


@dataclass(frozen=True)
class Store:
    """A root folder of runs. `Store(root)` serves single runs; `create` and `open` also know the study's cells."""

    root: Path
    study: StudyFile = StudyFile("")

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(self.root))
        if self.root.is_file():
            again = f"an archive is unpacked first: gan-ablate unpack {self.root} --out ROOT"
            raise InputError(f"{self.root}: is a file; a root is a folder that holds runs ({again})")

    @property
    def name(self) -> str:
        return self.study.name

    @property
    def cells(self) -> tuple[Cell, ...]:
        return self.study.cells

    @classmethod
    def open(cls, root: str | PathLike[str]) -> Store:
        """The store of a swept study. Raises `InputError` and `DamagedStudy` as `read_study` does."""
        return cls(Path(root), read_study(Path(root)))

    @classmethod
    def create(
        cls,
        root: str | Path,
        *,
        name: str,
        source: Mapping[str, Any],
        recipes: Sequence[Recipe],
        not_applicable: Sequence[NotApplicable] = (),
        design: Mapping[str, Any] | None = None,
        factors: Mapping[str, Mapping[str, Any]] | None = None,
        tuning: Mapping[str, Trial] | None = None,
        longer: Sequence[Recipe] = (),
        budget: str = "",
    ) -> Store:
        """The store with its `study.yaml` brought up to date; nothing done is lost when arms or seeds change.

        The fields of an `Expansion` say what is in it.
        Raises `InputError` for a root that holds another study or schema, or cannot be written.
        """
        cells = (*_tied(recipes, tuning or {}), *(replace(cell, budget=budget) for cell in _tied(longer, {})))
        study = StudyFile(name, "", cells, tuple(not_applicable), source, dict(design or {}), dict(factors or {}))
        new = cls(Path(root), study)
        new.write()
        return new

    @classmethod
    def add(cls, root: str | Path, name: str, recipe: Recipe) -> None:
        """One cell more in a root of single runs; several processes may do so at a time. Raises as `create`."""
        cls(Path(root), StudyFile(name, cells=(_cell(recipe),), source={"name": name})).write(keep=True)

    def write(self, *, keep: bool = False) -> None:
        """Publishes `study.yaml`, with `keep` beside the cells that it has. Raises `InputError`, as `create`."""
        path, text = self.root / NAME, study_bytes(self.study)
        try:
            if not keep and path.exists() and read_regular(path) == text:
                return  # so that a sweep with nothing left to do needs no right to write
            (self.root / "runs").mkdir(parents=True, exist_ok=True)
            with open_lock(self.root / "lock", create=True) as file:  # two studies that start on one empty root
                fcntl.flock(file, fcntl.LOCK_EX)
                if keep and not path.exists():
                    text = self._with(_found(self.root))
                elif path.exists() and not self._renews(path, keep):
                    held = Store.open(self.root)
                    if held.name != self.name:
                        raise InputError(
                            f"{self.root} belongs to study {held.name!r}, not {self.name!r}: give another --root"
                        )
                    if keep:
                        text = self._with(held.cells)
                publish(path, text)
        except OSError as error:
            line = trouble(error, path) or f"{self.root}: cannot be written: {error.strerror or error}"
            raise InputError(line) from None

    def _with(self, others: Iterable[Cell]) -> bytes:
        """`study.yaml` with other cells before one's own."""
        mine = {cell.run_id for cell in self.cells}
        cells = (*(cell for cell in others if cell.run_id not in mine), *self.cells)
        return study_bytes(replace(self.study, cells=cells))

    def _renews(self, path: Path, keep: bool) -> bool:
        """Whether `study.yaml` is damaged and this study's own to write anew; a copy of it is kept then.

        Raises `InputError` where the runs there are none of this study's. Their folders are not touched either way.
        """
        try:
            Store.open(self.root)
        except DamagedStudy as error:
            runs, mine = _found(self.root), {cell.run_id for cell in self.cells}
            if keep:
                raise
            if runs and not any(cell.run_id in mine for cell in runs):
                raise InputError(f"{error} (none of the {len(runs)} runs there is of study {self.name!r})") from None
            copy(path, path.with_name("study.yaml.corrupt"))
            log.warning(
                "%s: damaged; kept as study.yaml.corrupt and written anew, with the %d runs there", path, len(runs)
            )
            return True
        return False

    def folder(self, run_id: str) -> Path:
        return self.root / "runs" / run_id

    @contextmanager
    def claim(self, run_id: str) -> Iterator[RunClaim | None]:
        """Holds the run's lock; None if another process holds it. Never waits for a run to end.

        Raises `InputError` where the disk refuses (full, read-only).
        """
        with refusing(self.folder(run_id)):
            file = self._lock(run_id)
        if file is None:
            yield None
            return
        with file:
            claim = RunClaim(self.folder(run_id), run_id, file)
            try:
                yield claim
            finally:
                if claim.attempt:
                    claim.ended("left")  # whoever knows better has said so before

    def _lock(self, run_id: str) -> IO[bytes] | None:
        """The open file of a lock that is now held, or None."""
        folder = self.folder(run_id)
        for pause in (0.01, 0.03, 0.0):  # `is_running` of a status command holds it for microseconds
            if folder.is_symlink():
                raise InputError(f"{folder}: a link; a run's folder lies in its root: put the folder itself there")
            try:
                folder.mkdir(parents=True, exist_ok=True)
                file = open_lock(folder / "lock", create=True)  # its closing is what frees the lock
            except (FileExistsError, FileNotFoundError):  # `gc` removed the folder meanwhile
                if folder.exists() and not folder.is_dir():
                    raise
                continue
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                raise InputError(f"{folder / 'lock'}: not a regular file: remove it, or give another --root") from None
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                time.sleep(pause)
                continue
            except BaseException:
                file.close()
                raise
            # `gc` removes a lock file with its folder: two processes must not hold locks on two files of one name
            if is_file_of(file, folder / "lock"):
                return file
            file.close()
        return None

    def is_running(self, run_id: str) -> bool:
        """Whether some living process holds the run's lock."""
        try:
            with open_lock(self.folder(run_id) / "lock", create=False) as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            return False  # a link, a pipe: nobody claims a run by it
        return False

    def record(self, run_id: str, *, warn: bool = True) -> FoundRecord:
        """What the run's folder says of its end; with `warn` a file that does not count is told of."""
        found = find_record(self.folder(run_id), run_id)
        for name, why in found.problems.items() if warn else ():
            log.warning("%s %s; the run counts as not done", self.folder(run_id) / name, why)
        return found

    def finished(self, run_id: str, *, warn: bool = True) -> dict[str, Any] | None:
        """The result, else the recorded failure, else None."""
        return dict(self.record(run_id, warn=warn).record) or None

    def begun(self) -> frozenset[str]:
        """Ids of the runs that have a folder: of all others it is known at once that nobody finished them."""
        with suppress(FileNotFoundError), os.scandir(self.root / "runs") as entries:
            return frozenset(entry.name for entry in entries)
        return frozenset()

    def results(self) -> Iterator[dict[str, Any]]:
        """Every finished cell's `result.json` or `failed.json`, in the study's order, under the study's arm labels."""
        for cell in self.cells:
            record = self.finished(cell.run_id)
            if record is not None:
                yield {**record, "recipe": {**record.get("recipe", {}), "arm": cell.arm}}

    def glance(self, run_id: str) -> tuple[str, float | None]:
        """`done` (whatever the outcome), `crashed`, `running` or `left`, and when the run was published (seconds since
        1970).

        A file is read once while it stays as it is, so that looking again and again costs little. Paths are text here,
        and a run that nobody began costs one call of the system: `Path` takes most of the time of 10,000 runs.
        """
        folder = f"{self.root}/runs/{run_id}"
        try:
            linked = stat.S_ISLNK(os.lstat(folder).st_mode)
        except FileNotFoundError:
            return "left", None
        for name, state in ((RESULT, "done"), (FAILURE, "crashed")) if not linked else ():
            path = f"{folder}/{name}"
            try:
                facts = os.lstat(path)
            except OSError:
                continue
            unchanged = facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns
            regular = stat.S_ISREG(facts.st_mode)
            if regular and _is_record(path, run_id, unchanged) and (state == "done" or not self.is_running(run_id)):
                return state, facts.st_mtime
        return ("running" if self.is_running(run_id) else "left"), None


def _tied(recipes: Sequence[Recipe], tuning: Mapping[str, Trial]) -> list[Cell]:
    """The cells of one budget, each of those that are judged with what ties it to base."""
    tied = ties([r for r in recipes if r.run_id not in tuning])
    return [replace(_cell(r, tuning.get(r.run_id)), **vars(tied.get(r.run_id, Tie()))) for r in recipes]


def _cell(recipe: Recipe, trial: Trial | None = None) -> Cell:
    setting, own = trial or ("", False)
    return Cell.of(recipe, tuning=setting, own_setting=own)


def _found(root: Path) -> list[Cell]:
    """The cells of a root's runs by what their recipe.json says, where that is the run's own."""
    cells = []
    for path in sorted((root / "runs").glob("*/recipe.json")):
        try:
            recipe = read_recipe(path.parent)
            if run_id_of(recipe) == path.parent.name:
                cells.append(Cell(path.parent.name, recipe["model"], recipe["dataset"], recipe["arm"], recipe["seed"]))
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue
    return cells


@lru_cache(maxsize=1 << 16)
def _is_record(path: str, run_id: str, unchanged: tuple[int, ...]) -> bool:
    """Whether a file is its run's record. `unchanged`: facts that differ once the file does."""
    try:
        read_record(Path(path), run_id)
    except (OSError, ValueError, RecursionError):
        return False
    return True


def seconds_of(records: Iterable[Mapping[str, Any]]) -> list[tuple[str, str, float, int]]:
    """(model, arm, seconds, steps) of finished runs, for time estimates."""
    return [
        (r["recipe"]["model"], r["recipe"]["arm"], float(r["seconds"]), r["recipe"]["steps"])
        for r in records
        if isinstance(r.get("seconds"), int | float) and {"model", "arm"} <= set(r["recipe"])
        if isinstance(steps := r["recipe"].get("steps"), int) and steps > 0
    ]
