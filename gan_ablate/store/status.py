"""How far a sweep is: counts per model and arm, runs per hour, time left. A result is read once."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from gan_ablate.formatting import clock
from gan_ablate.store.attempts import began, read_attempts
from gan_ablate.store.store import Store

RECENT = 50  # published runs that the throughput comes from
STALE = 5.0  # times the mean gap between them: nothing published for longer, and the sweep is said to stand still
COUNTS = ("done", "running", "crashed", "left")  # done: with any outcome but crashed


@dataclass(frozen=True)
class Status:
    """Counts of one model's arm."""

    model: str
    dataset: str
    arm: str
    done: int = 0
    running: int = 0
    crashed: int = 0
    left: int = 0
    budget: str = ""  # as `4x`; empty at the first


@dataclass(frozen=True)
class Overview:
    """Where a root stands at one moment.

    per_hour: runs published per hour of work over the last `RECENT` ones, None where fewer than two were or all at
        once.
    seconds_left: what running and left runs need at that rate; 0 where none is left.
    idle: seconds since a run was last published, None where none was, or if the clock was set back.
    """

    name: str
    rows: tuple[Status, ...]
    per_hour: float | None
    seconds_left: float | None
    idle: float | None

    def total(self, count: str) -> int:
        return sum(getattr(row, count) for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Plain data: what `--json` prints."""
        return {
            "study": self.name,
            **{count: self.total(count) for count in COUNTS},
            "runs": sum(self.total(count) for count in COUNTS),
            "runs_per_hour": self.per_hour,
            "seconds_left": self.seconds_left,
            "seconds_since_last": self.idle,
            "arms": [{k: v for k, v in asdict(row).items() if v or k != "budget"} for row in self.rows],
        }


Glances = Mapping[str, tuple[str, float | None]]  # run id -> `done`, `crashed`, `running` or `left`, and when published


def glances(store: Store) -> Glances:
    """How each cell of a study stands (`Store.glance`)."""
    return {cell.run_id: store.glance(cell.run_id) for cell in store.cells}


def overview(store: Store, now: float | None = None, seen: Glances | None = None) -> Overview:
    """Counts every cell of a study. `now`: seconds since 1970. seen: where they are known already."""
    seen = glances(store) if seen is None else seen
    counts: dict[tuple[str, str, str, str], dict[str, int]] = {}
    published = []
    for cell in store.cells:
        state, when = seen[cell.run_id]
        arm = f"{cell.arm}, tuning" if cell.tuning else cell.arm
        row = counts.setdefault((cell.model, cell.dataset, arm, cell.budget), {})
        row[state] = row.get(state, 0) + 1
        if when is not None:
            published.append((when, cell.run_id))
    rows = tuple(
        Status(model, dataset, arm, **{count: row.get(count, 0) for count in COUNTS}, budget=budget)
        for (model, dataset, arm, budget), row in counts.items()
    )
    recent = sorted(published)[-RECENT:]
    rate = throughput([(when, began(read_attempts(store.folder(run_id)))) for when, run_id in recent])
    ahead = sum(row.running + row.left for row in rows)
    seconds_left = 0.0 if not ahead else (ahead / rate * 3600 if rate else None)
    idle = (time.time() if now is None else now) - recent[-1][0] if recent else -1.0
    return Overview(store.name, rows, rate, seconds_left, idle if idle >= 0 else None)


def throughput(runs: Sequence[tuple[float, float | None]]) -> float | None:
    """Runs per hour of the time in which at least one was at work, from when each was published and when it began (s).

    So a pause counts for nothing, such as from Ctrl-C to the same command again. A run whose beginning is not known
    fills the time since the one before. The first only opens the interval: n times span n - 1 runs.

    >>> throughput([(0.0, None), (1800.0, None), (3600.0, None)])
    2.0
    >>> throughput([(0.0, None), (1800.0, 0.0), (90_000.0, 88_200.0)])  # a day's pause
    2.0
    """
    recent = sorted(runs, key=lambda run: run[0])[-RECENT:]
    spans: list[tuple[float, float]] = []
    for (before, _), (published, begun) in pairwise(recent):
        if begun is None or begun > published:
            begun = before
        spans.append((max(begun, recent[0][0]), published))
    worked, until = 0.0, -math.inf
    for start, published in sorted(spans):
        worked += max(0.0, published - max(start, until))
        until = max(until, published)
    return len(spans) / worked * 3600 if worked else None


def table(seen: Overview) -> str:
    """The counts as text, one line per model, dataset and budget (where there are several) and arm, and the totals."""
    several = [name for name in ("dataset", "budget") if len({getattr(row, name) for row in seen.rows}) > 1]
    names = ("model", *several, "arm")
    wide = {n: max(map(len, [n, "all", *(getattr(row, n) for row in seen.rows)])) for n in names}
    head = [n.ljust(wide[n]) for n in names] + [n.rjust(7) for n in COUNTS]
    lines = ["  ".join(head)]
    for row in seen.rows:
        cells = [getattr(row, n).ljust(wide[n]) for n in names]
        lines.append("  ".join([*cells, *(str(getattr(row, n)).rjust(7) for n in COUNTS)]))
    total = ["all".ljust(wide[n]) if n == "model" else "".ljust(wide[n]) for n in names]
    lines.append("  ".join([*total, *(str(seen.total(n)).rjust(7) for n in COUNTS)]))
    return "\n".join([*lines, "", pace(seen)])


def pace(seen: Overview) -> str:
    """`36.0 runs an hour over the last 50; time left 1:02:05`, or why that cannot be said."""
    ahead = seen.total("running") + seen.total("left")
    if not ahead:
        crashed = f"; {n} crashed: --retry-crashed tries them again" if (n := seen.total("crashed")) else ""
        return f"nothing is left to do{crashed}"
    if seen.per_hour is None:
        return "time left not known before two runs are done"
    finished = seen.total("done") + seen.total("crashed")
    text = (
        f"{seen.per_hour:.1f} runs an hour over the last {min(RECENT, finished)}; time left {clock(seen.seconds_left)}"
    )
    if not seen.total("running"):
        return text + " once a sweep goes on (none is running)"
    if seen.idle is not None and seen.idle > STALE * 3600 / seen.per_hour:
        text += f"; nothing was finished for {clock(seen.idle)}"
    return text


def watch(
    look: Callable[[], Overview],
    show: Callable[[str], None],
    every: float,
    *,
    times: int | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Shows the table again and again until nothing is left, or `times` looks were taken."""
    while True:
        started = time.monotonic()
        seen = look()
        show(f"{seen.name} at {datetime.now(UTC):%H:%M:%S} UTC\n{table(seen)}")
        if times is not None:
            times -= 1
        if times == 0 or not seen.total("running") + seen.total("left"):
            return
        # a look at a slow file system takes at most half of the time
        sleep(max(every, time.monotonic() - started))
