"""What a sweep shows: a live table in a terminal, one line per run elsewhere, and the plan of a dry run."""

from __future__ import annotations

import sys
from bisect import insort
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from gan_ablate.formatting import clock
from gan_ablate.recipe import Recipe
from gan_ablate.store.store import Store, seconds_of
from gan_ablate.study.cells import dataset_names
from gan_ablate.study.planning import describe_design
from gan_ablate.study.study import Expansion
from gan_ablate.untrusted import printable


class Progress(NamedTuple):
    """How far a sweep is. `finished` also counts runs that were done before, or by others."""

    total: int
    finished: int
    failed: int
    running: tuple[str, ...] = ()
    seconds_left: float | None = None

    @property
    def left(self) -> int:
        return self.total - self.finished - self.failed - len(self.running)


class Display:
    """Shows how a sweep goes. This one shows nothing; the others override what they show."""

    def update(self, progress: Progress) -> None: ...
    def finished(self, progress: Progress, line: str) -> None: ...
    def note(self, line: str) -> None: ...
    def close(self) -> None: ...


class Plain(Display):
    """One line per finished run, for logs and pipes."""

    def finished(self, progress: Progress, line: str) -> None:
        count = progress.finished + progress.failed
        self.note(f"[{count}/{progress.total}] {line}   left {clock(progress.seconds_left)}")

    def note(self, line: str) -> None:
        print(printable(line), flush=True)


class Live(Display):
    """Redraws in place: a bar over all runs, the counts and the names of the runs that are being trained."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live as RichLive

        self._console = Console()
        self._live = RichLive(console=self._console, auto_refresh=False, transient=False)
        self._live.start()

    def update(self, progress: Progress) -> None:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.text import Text

        done = progress.finished + progress.failed
        counts = f"{done}/{progress.total}  running {len(progress.running)}  left {progress.left}"
        crashed = Text(f"  crashed {progress.failed}", style="red" if progress.failed else "")
        head = Text(counts).append_text(crashed).append(f"  time left {clock(progress.seconds_left)}")
        bar = ProgressBar(total=max(progress.total, 1), completed=done, width=min(60, self._console.width))
        waiting = "" if done == progress.total else "starting"
        names = Text(", ".join(progress.running) or waiting, style="dim", overflow="ellipsis", no_wrap=True)
        self._live.update(Group(bar, head, names), refresh=True)

    def finished(self, progress: Progress, line: str) -> None:
        self.note(line)
        self.update(progress)

    def note(self, line: str) -> None:
        self._console.print(printable(line), markup=False, highlight=False)

    def close(self) -> None:
        self._live.stop()


def choose() -> Display:
    """The live table in a terminal, plain lines elsewhere."""
    return Live() if sys.stdout.isatty() else Plain()


def run_line(recipe: Recipe, facts: Mapping[str, Any]) -> str:
    """`dcgan/label_smoothing/seed 0  ok  FID@2048 (shapes classifier) 12.3  14 s`."""
    parts = [f"{recipe.model}/{recipe.arm}/seed {recipe.seed}", str(facts.get("outcome", ""))]
    if facts.get("error"):
        parts.append(str(facts["error"])[:200])
    if isinstance(facts.get("fid"), int | float):
        parts.append(f"{facts.get('label', 'FID')} {facts['fid']:.1f}")
    if isinstance(facts.get("seconds"), int | float):
        parts.append(f"{facts['seconds']:.0f} s")
    return "  ".join(parts)


class Durations:
    """Seconds of a step: the median of an arm's runs, the mean of a model's or of all.

    Of an arm it is the median, since its runs may come from two machines of which one is four times as slow. A model's
    arms differ, and a sum over arms that are not known yet wants their mean.
    """

    def __init__(self) -> None:
        self.arms: dict[tuple[str, ...], list[float]] = {}  # seconds of a step in each run, ascending
        self.sums: dict[tuple[str, ...], tuple[float, int]] = {}  # (model,) or () -> seconds, steps

    def add(self, model: str, arm: str, seconds: float, steps: int) -> None:
        insort(self.arms.setdefault((model, arm), []), seconds / steps)
        for key in ((model,), ()):
            total, made = self.sums.get(key, (0.0, 0))
            self.sums[key] = total + seconds, made + steps

    def of_a_step(self, *key: str) -> float | None:
        """Of (model, arm), (model,) or (); None where nothing of it has run."""
        if runs := self.arms.get(key):
            return fmean(runs[(len(runs) - 1) // 2 : len(runs) // 2 + 1])  # the one or two in the middle
        total, made = self.sums.get(key, (0.0, 0))
        return total / made if made else None


class TimeLeft:
    """Estimates from finished runs of the same model and arm, else of the model, else of all.

    Runs of this sweep come first. Earlier ones may be another machine's: they are taken times the `pace` of this one.
    """

    def __init__(self, earlier: Iterable[tuple[str, str, float, int]] = ()) -> None:
        self.earlier, self.own = Durations(), Durations()
        self.taken = self.foretold = 0.0  # seconds of own runs, and what earlier ones of the same arms took for as much
        for duration in earlier:
            self.earlier.add(*duration)

    @property
    def pace(self) -> float:
        """Seconds here per second of earlier runs; 1 where no arm has both."""
        return self.taken / self.foretold if self.foretold and self.taken else 1.0

    def add(self, model: str, arm: str, seconds: float, steps: int) -> None:
        """A run of this sweep has ended."""
        self.own.add(model, arm, seconds, steps)
        if (before := self.earlier.of_a_step(model, arm)) is not None:
            self.taken, self.foretold = self.taken + seconds, self.foretold + before * steps

    def expect(self, model: str, arm: str, steps: int) -> float | None:
        """The seconds that a run of so many steps takes; None before any run has finished."""
        for key in ((model, arm), (model,), ()):
            for known, pace in ((self.own, 1.0), (self.earlier, self.pace)):
                if (seconds := known.of_a_step(*key)) is not None:
                    return seconds * steps * pace
        return None

    def left(self, waiting: Iterable[Recipe], running: Iterable[tuple[Recipe, float]], workers: int) -> float | None:
        """Seconds until all is done. `running`: recipes with the seconds they have run for."""
        if self.own.of_a_step() is None and self.earlier.of_a_step() is None:
            return None
        rest = [max((self.expect(r.model, r.arm, r.steps) or 0) - seconds, 0) for r, seconds in running]
        ahead = sum(self.expect(r.model, r.arm, r.steps) or 0 for r in waiting)
        return max([(ahead + sum(rest)) / max(workers, 1), *rest])


WIDEST = 80  # letters of an arm in the plan


def matrix(expansion: Expansion, root: str | Path, *, workers: int, chosen: Sequence[Recipe] | None = None) -> str:
    """The plan of a sweep as text: arms by models, what is not applicable, how many runs are done, the time left."""
    chosen = expansion.recipes if chosen is None else chosen
    store = Store(Path(root))
    done = {r.run_id: record for r in chosen if (record := store.finished(r.run_id)) is not None}
    every = [(r.model, r.dataset) for r in expansion.recipes]
    every += [(n.model, n.dataset) for n in expansion.not_applicable]
    called = dataset_names(list(dict.fromkeys(dataset for _, dataset in every)))
    columns = {(m, d): f"{m}@{called[d]}" if len(called) > 1 else m for m, d in dict.fromkeys(every)}
    blank = {(n.model, n.dataset, n.arm) for n in expansion.not_applicable}
    # factors and levels that a model's design leaves out are listed below, and are no arms
    left_out = [n.arm for n in expansion.not_applicable if not expansion.design or n.arm in expansion.factors]
    arms = list(dict.fromkeys([r.arm for r in expansion.recipes] + left_out))
    runs = Counter((r.model, r.dataset, r.arm) for r in chosen)
    finished = Counter((r.model, r.dataset, r.arm) for r in chosen if r.run_id in done)
    named = {arm: arm if len(arm) <= WIDEST else f"{arm[: WIDEST - 2]}.." for arm in arms}
    if expansion.design.get("name") == "random":  # its arms are numbered, so their values stand beside them
        values = {arm: ", ".join(f"{k}={v}" for k, v in expansion.factors.get(arm, {}).items()) for arm in arms}
        named = {arm: f"{arm}  {values[arm]}" for arm in arms}
    wide = max(map(len, [*named.values(), "arm (done/runs)"]))
    lines = ["  ".join(["arm (done/runs)".ljust(wide), *(c.rjust(max(9, len(c))) for c in columns.values())])]
    for arm in arms:
        shown = {c: "n/a" for c in columns if (*c, arm) in blank}
        shown |= {c: f"{finished[*c, arm]}/{runs[*c, arm]}" for c in columns if (*c, arm) in runs}
        cells = [shown.get(c, "-").rjust(max(9, len(name))) for c, name in columns.items()]
        lines.append("  ".join([named[arm].ljust(wide), *cells]))
    if expansion.not_applicable:
        listed = [f"  {columns[n.model, n.dataset]}/{n.arm}: {n.reason}" for n in expansion.not_applicable]
        lines += ["", "not applicable:", *listed]
    if expansion.design:
        lines += ["", "design:", *(f"  {line}" for line in describe_design(expansion.design))]
    waiting = [r for r in chosen if r.run_id not in done]
    seconds = TimeLeft(seconds_of(done.values())).left(waiting, [], workers)
    estimate = "time not known before one is done"
    if seconds is not None:
        estimate = f"about {clock(seconds)} on {workers} workers"
    lines += ["", f"{len(chosen)} runs, {len(done)} finished, {len(waiting)} to do: {estimate}"]
    return "\n".join(lines)
