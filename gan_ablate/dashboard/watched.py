"""A root as it stands now, looked at again and again. Nothing here writes.

How far the sweep is costs little, and is looked at every few seconds. What its runs say costs more: a thread of its own
computes it, only while someone looks, only once a run has finished, and in a tenth of one core's time at the most.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gan_ablate.errors import InputError, in_one_line
from gan_ablate.findings.stages import describe_stages, open_stages
from gan_ablate.report.study import ReportedStudy, study
from gan_ablate.results.frames import load
from gan_ablate.results.runs import Run, RunCache
from gan_ablate.results.study_file import NAME, Cell
from gan_ablate.store.status import Glances, Overview, glances, overview
from gan_ablate.store.store import Store

EVERY = 2.0  # seconds between two looks
SHARE = 9  # times as long as a look or a finding took, in seconds of a core, passes before the next
NEWEST = 8  # finished runs that the page shows


@dataclass(frozen=True)
class Found:
    """What the finished runs say. published: as they stood when it was computed."""

    study: ReportedStudy
    stages: Sequence[str]  # the words of `gan-ablate status`; empty where a study trains all of its runs
    asked: Sequence[dict[str, Any]]  # what its looks ask for and is not finished: objects of `gan-ablate next --json`
    published: Glances = field(repr=False)
    at: float  # seconds since 1970


@dataclass(frozen=True)
class Look:
    """The root at one moment. trouble: what could not be read; then all the rest is as it last was."""

    store: Store = field(repr=False)
    overview: Overview
    going: tuple[Cell, ...]  # being trained
    newest: tuple[Run, ...]  # finished last, the newest first
    published: Glances = field(repr=False)  # of finished runs
    at: float  # seconds since 1970
    found: Found | None = None  # None until it has been computed
    trouble: tuple[str, ...] = ()


class Watched:
    """A root. Raises `InputError` where there is no study at first; later `Look.trouble` says so. Several threads may
    ask."""

    def __init__(self, root: str | Path, every: float = EVERY) -> None:
        self.root, self.every = Path(root), every
        self._read = RunCache()
        self._looking = threading.Lock()
        self._study: tuple[object, Store] | None = None
        self._found: Found | None = None
        self._finding: threading.Thread | None = None
        self._found_trouble = ""
        self._next_look = self._next_found = 0.0  # of `time.monotonic`
        self._last = self._take()

    def look(self) -> Look:
        """The root by now, at most a few seconds old; older where another thread is taking a look."""
        if time.monotonic() >= self._next_look and self._looking.acquire(blocking=False):
            try:
                self._last = self._take()
            except (InputError, OSError) as error:
                self._last = replace(self._last, trouble=(in_one_line(error),), at=time.time())
            finally:
                self._looking.release()
        last, trouble = self._last, self._found_trouble
        return replace(last, found=self._found, trouble=(*last.trouble, *[trouble] * bool(trouble)))

    def _take(self) -> Look:
        began = time.thread_time()
        self._next_look = time.monotonic() + self.every
        store = self._store()
        seen = glances(store)
        published = {run_id: glance for run_id, glance in seen.items() if glance[1] is not None}
        cells = {cell.run_id: cell for cell in store.cells}
        order = sorted(published, key=lambda run_id: published[run_id][1] or 0.0, reverse=True)[:NEWEST]
        look = Look(
            store,
            overview(store, seen=seen),
            tuple(cells[run_id] for run_id, (state, _) in seen.items() if state == "running"),
            tuple(self._read(store.folder(run_id), cells[run_id]) for run_id in order),
            published,
            time.time(),
        )
        self._find(published)
        self._next_look += SHARE * (time.thread_time() - began)
        return look

    def _store(self) -> Store:
        """The study, read again once its file has changed."""
        facts = _facts(self.root / NAME)
        if self._study is None or facts is None or self._study[0] != facts:
            store = Store.open(self.root)
            if not store.cells:
                raise InputError(f"{self.root / NAME}: not a study with cells in it: give the root of a sweep")
            self._study = facts, store
        return self._study[1]

    def _find(self, published: Glances) -> None:
        """Has the findings computed, unless they are, or were just now."""
        busy = self._finding is not None and self._finding.is_alive()
        if busy or time.monotonic() < self._next_found or (self._found and self._found.published == published):
            return
        self._finding = threading.Thread(target=self._compute, args=(published,), daemon=True)
        self._finding.start()

    def _compute(self, published: Glances) -> None:
        began = time.thread_time()
        try:
            loaded = load(self.root, self._read)
            stages = open_stages(self.root, self._read)
            reported = study(loaded, loaded.name, 0, partial=True)
            asked = stages.missing() if stages else ()
            self._found = Found(reported, describe_stages(stages), asked, published, time.time())
            self._found_trouble = ""
        except Exception as error:  # whatever lies in the root: the page goes on
            self._found_trouble = f"what the runs say could not be computed: {in_one_line(error)}"
        self._next_found = time.monotonic() + SHARE * (time.thread_time() - began)


def _facts(path: Path) -> tuple[int, ...] | None:
    """What differs once a file does; `None` where it is not there."""
    try:
        s = path.lstat()
    except OSError:
        return None
    return s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns
