"""Joins stores of one study: the union of their cells, each run once. What contradicts is refused first."""

from __future__ import annotations

import fcntl
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from gan_ablate.errors import InputError
from gan_ablate.publishing import append, copy, discard, refusing, sync_folder
from gan_ablate.results.files import FAILURE, RESULT, json_lines, read_recipe
from gan_ablate.results.study_file import Cell, StudyFile
from gan_ablate.store import attempts
from gan_ablate.store.claim import RunClaim
from gan_ablate.store.store import Store
from gan_ablate.untrusted import open_lock

# Fields of a result that tell how long it took, on what and in how many goes; all others are what was found
CIRCUMSTANCES = frozenset(
    "seconds train_seconds evaluation_seconds peak_memory_bytes resumed versions hardware attempts".split()
)
OWN = ("lock", attempts.NAME, "checkpoints", RESULT, FAILURE)  # what is not simply copied


def merge(
    roots: Sequence[str | PathLike[str]], out: str | Path, say: Callable[[str], None] = lambda line: None
) -> Counter[str]:
    """Joins the stores in `roots` into `out`, which may be one of them. Started again, it goes on from there.

    Returns how many runs were `copied`, `kept` as they were, `skipped` since a process trains them, or are `open`:
    neither finished nor begun anywhere.

    Raises `InputError`, with nothing changed: a root that is no store, stores of different studies or designs, an arm
    that stands for different recipes, or a run with different results. Locked runs are skipped, with a line.
    """
    stores = [Store.open(root) for root in roots]
    if (Path(out) / "study.yaml").exists() and not any(_same(out, store.root) for store in stores):
        stores.append(Store.open(out))
    joined = replace(_join(stores, say), root=Path(out))
    held = {cell.run_id: [s for s in stores if s.folder(cell.run_id).is_dir()] for cell in joined.cells}
    for cell in joined.cells:
        _check_results(cell, held[cell.run_id])
    joined.write()
    return Counter(_bring(joined, cell, held[cell.run_id], say) for cell in joined.cells)


def _same(a: str | Path, b: str | Path) -> bool:
    return Path(a).resolve() == Path(b).resolve()


def _join(stores: Sequence[Store], say: Callable[[str], None]) -> Store:
    """The study of the union. Raises `InputError` where the stores are not of one study."""
    first = stores[0]
    cells: dict[str, Cell] = {}
    by_place: dict[tuple[str, str, str, str, int, str], tuple[Cell, Store]] = {}
    factors: dict[str, Mapping[str, Any]] = {}
    for store in stores:
        if store.name != first.name:
            both = f"{first.root} holds study {first.name!r}, {store.root} holds {store.name!r}"
            raise InputError(f"{both}: only stores of one study can be merged")
        if store.study.design and first.study.design and dict(store.study.design) != dict(first.study.design):
            raise InputError(f"{store.root} has another design than {first.root}: give each a root of its own")
        for arm, levels in store.study.factors.items():
            if dict(factors.setdefault(arm, levels)) != dict(levels):
                raise InputError(f"{store.root}: arm {arm!r} has other levels of its factors than in {first.root}")
        for cell in store.cells:
            place = cell.model, cell.dataset, cell.budget, cell.arm, cell.seed, cell.tuning
            other, where = by_place.setdefault(place, (cell, store))
            if other.run_id != cell.run_id:
                ids = f"run {other.run_id} in {where.root} and run {cell.run_id} in {store.root}"
                why = _difference(where, other.run_id, store, cell.run_id)
                raise InputError(f"{cell.model}/{cell.arm}/{cell.seed} is {ids}{why}: not the same study")
            known = cells.setdefault(cell.run_id, cell)
            if known.arm != cell.arm:
                say(f"{cell.run_id}: called {known.arm!r} and, in {store.root}, {cell.arm!r}: the first name is kept")
    trained = {(c.model, c.dataset, c.arm) for c in cells.values()}
    skipped = {(n.model, n.dataset, n.arm): n for s in stores for n in s.study.not_applicable}
    study = StudyFile(
        first.name,
        first.study.version,
        tuple(cells.values()),
        tuple(n for place, n in skipped.items() if place not in trained),
        first.study.source,
        next((s.study.design for s in stores if s.study.design), {}),
        factors,
    )
    return Store(first.root, study)


def _difference(one: Store, one_id: str, two: Store, two_id: str) -> str:
    """` (steps: 100, 200)`: the fields in which two recipes differ, where both are written down."""
    try:
        a, b = read_recipe(one.folder(one_id)), read_recipe(two.folder(two_id))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""
    found = [f"{k}: {v}, {b.get(k)}" for k, v in a.items() if v != b.get(k)]
    return f" ({'; '.join(found)[:300]})" if found else ""


def essence(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a result found, without how long it took, on what, under which label and from which copy of the data."""
    kept = {k: v for k, v in record.items() if k not in CIRCUMSTANCES}
    kept["curve"] = [{k: v for k, v in point.items() if k != "seconds"} for point in record.get("curve") or ()]
    if isinstance(record.get("data"), Mapping):
        kept["data"] = {k: v for k, v in record["data"].items() if k != "source"}
    kept["recipe"] = {k: v for k, v in (record.get("recipe") or {}).items() if k != "arm"}
    return kept


def differing(one: Mapping[str, Any], two: Mapping[str, Any]) -> list[str]:
    """Names of the fields in which two results differ beyond circumstances."""
    a, b = essence(one), essence(two)
    return sorted(k for k in {*a, *b} if a.get(k) != b.get(k))


def _check_results(cell: Cell, stores: Sequence[Store]) -> None:
    known: tuple[Store, Mapping[str, Any]] | None = None
    for store in stores:
        found = store.record(cell.run_id)
        if found.name != RESULT:
            continue
        if known is not None and (names := differing(known[1], found.record)):
            raise InputError(
                f"run {cell.run_id} ({cell.model}/{cell.arm}/{cell.seed}) differs in {', '.join(names)} between "
                f"{known[0].root} and {store.root}: move one of the two run folders away"
            )
        known = known or (store, found.record)


def _rank(store: Store, run_id: str) -> int:
    """How much of a run a store has: 3 its result, 2 a checkpoint, 1 a recorded failure, 0 nothing of use."""
    ended = store.record(run_id, warn=False).name
    if ended == RESULT:
        return 3
    if any((store.folder(run_id) / "checkpoints").glob("*.ckpt")):
        return 2
    return int(ended == FAILURE)


def _bring(out: Store, cell: Cell, stores: Sequence[Store], say: Callable[[str], None]) -> str:
    """One run into the joined store, from the one that has most of it; that is `out` itself where they are equal."""
    name = f"{cell.model}/{cell.arm}/{cell.seed} ({cell.run_id})"
    here = [s for s in stores if _same(s.root, out.root)]
    best = max([*here, *(s for s in stores if s not in here)], key=lambda s: _rank(s, cell.run_id), default=None)
    if best is None or not (rank := _rank(best, cell.run_id)):
        return "open"
    if best in here:
        return "kept"
    with _held_still(best, cell.run_id) as still, out.claim(cell.run_id) as claim:
        if not still or claim is None:
            say(f"{name}: being trained in {(out if still else best).root}; skipped, merge again later")
            return "skipped"
        if _rank(out, cell.run_id) >= rank:
            return "kept"
        with refusing(claim.folder):
            _copy_run(best, claim)
    return "copied"


@contextmanager
def _held_still(store: Store, run_id: str) -> Iterator[bool]:
    """Keeps a run from being trained while it is read, without writing there; False if it is being trained."""
    try:
        file = open_lock(store.folder(run_id) / "lock", create=False)
    except OSError:  # copied here without its lock: nobody trains in it
        yield True
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def _copy_run(store: Store, claim: RunClaim) -> None:
    """All files of a run, the marker last: killed at any point, the run is still open and can be merged or trained.

    The checkpoints go first and come whole, so that none ever stands beside a log that is not its own.
    """
    source, target = store.folder(claim.run_id), claim.folder
    claim.look_over()
    for name in ("checkpoints", RESULT, FAILURE):
        discard(target / name)
    for path in sorted(source.rglob("*")):
        inside = path.relative_to(source)
        if inside.parts[0] in OWN or any(part.startswith(".") for part in inside.parts) or path.is_symlink():
            continue
        if path.is_dir():
            (target / inside).mkdir(exist_ok=True)
        elif path.is_file():  # no pipe, no device
            copy(path, target / inside)
    known = json_lines(target / attempts.NAME)
    for record in json_lines(source / attempts.NAME):
        if record not in known:
            append(target / attempts.NAME, record)
    found = sorted((source / "checkpoints").glob("[!.]*.ckpt"))
    checkpoints = [path for path in found if path.is_file() and not path.is_symlink()]
    if checkpoints:
        whole = target / ".checkpoints.tmp"
        discard(whole)
        whole.mkdir()
        for path in checkpoints:
            copy(path, whole / path.name)
        whole.rename(target / "checkpoints")
    if name := store.record(claim.run_id, warn=False).name:
        copy(source / name, target / name)
    sync_folder(target)
