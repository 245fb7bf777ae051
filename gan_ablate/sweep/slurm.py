"""A sweep on Slurm: array jobs through submitit, several runs per job, one store on a file system that all nodes share.

The submitting process watches the store and the queue; it may leave and come back. Jobs claim runs as any sweeper
does, so it harms nothing when two of them are handed the same run. docs/slurm.md says what happens when.
"""

from __future__ import annotations

import io
import json
import logging
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from gan_ablate import trust
from gan_ablate.errors import InputError, in_one_line
from gan_ablate.publishing import publish, to_json
from gan_ablate.recipe import Recipe
from gan_ablate.sources import Sources
from gan_ablate.store.store import Store, seconds_of
from gan_ablate.study.study import Expansion, Study, expand
from gan_ablate.sweep.display import Display, Progress, TimeLeft, choose, run_line
from gan_ablate.sweep.prepare import prepare, releases_of
from gan_ablate.sweep.server import facts_of
from gan_ablate.sweep.signals import catching
from gan_ablate.sweep.slurm_job import ASK, FOLDER, Share, refusal_file
from gan_ablate.sweep.summary import Summary
from gan_ablate.sweep.way import Way
from gan_ablate.untrusted import read_regular

MAX_ARRAY = 1000  # tasks of one array; Slurm's own default limit is 1001
MARGIN = 30  # seconds between the end of the runs' grace and the end of the job
LONGEST_JOB = 64  # characters of a job's name
# options that submitit calls as they are called here
AS_THEY_ARE = "time array_parallelism partition account qos constraint exclude gpus_per_node cpus_per_task".split()
ASK_EVERY = 10.0  # seconds between looks at the queue: it is one for all users


@dataclass(frozen=True)
class SlurmOptions:
    """What Slurm is asked for, per job. Raises `InputError`.

    time: minutes. signal_delay: seconds between the warning and the time limit, in which runs write a checkpoint.
    runs_per_job: how many runs share one start-up. array_parallelism: jobs at a time. max_timeouts: how often a
    job is queued again at its time limit. setup: shell lines before Python starts (`module load cuda`).
    sbatch: any other option of sbatch, as `key=value`.
    """

    partition: str | None = None
    time: int = 60
    gpus_per_node: int = 0
    cpus_per_task: int = 0
    mem_gb: float = 0.0
    array_parallelism: int = 32
    runs_per_job: int = 8
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    exclude: str | None = None
    signal_delay: int = 120
    max_timeouts: int = 20
    setup: tuple[str, ...] = ()
    sbatch: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, low in (("time", 1), ("array_parallelism", 1), ("runs_per_job", 1), ("signal_delay", 1)):
            if getattr(self, name) < low:
                raise InputError(f"{_flag(name)} {getattr(self, name)}: needs at least {low}")
        for name in ("gpus_per_node", "cpus_per_task", "mem_gb", "max_timeouts"):
            if getattr(self, name) < 0:
                raise InputError(f"{_flag(name)} {getattr(self, name)}: needs at least 0")
        if self.signal_delay >= self.time * 60:
            raise InputError(
                f"{_flag('signal_delay')} {self.signal_delay}: a job of {self.time} min would be warned at its start"
            )
        for entry in self.sbatch:
            if not entry.partition("=")[0] or "=" not in entry:
                raise InputError(f"{_flag('sbatch')} {entry!r}: write key=value, as in nice=100")

    def parameters(self, name: str) -> dict[str, Any]:
        """The options under the names that submitit's Slurm executor has for them."""
        given: dict[str, Any] = {k: getattr(self, k) or None for k in AS_THEY_ARE}
        given |= {
            "job_name": re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:LONGEST_JOB] or "study",  # a line of the script
            "signal_delay_s": self.signal_delay,
            "mem": f"{round(self.mem_gb * 1024)}MB" if self.mem_gb else None,
            "setup": list(self.setup) or None,
            # since 22.05 srun does not take it over from sbatch
            "srun_args": [f"--cpus-per-task={self.cpus_per_task}"] if self.cpus_per_task else None,
            # of each array task again after a node has died, whatever the cluster's default
            "additional_parameters": {"requeue": True, **dict(e.split("=", 1) for e in self.sbatch)},
        }
        return {k: v for k, v in given.items() if v is not None}


def _flag(name: str) -> str:
    return f"--slurm.{name.replace('_', '-')}"


def check_installed() -> None:
    """Raises `InputError` where submitit or Slurm is missing."""
    try:
        import submitit  # noqa: F401
    except ImportError:
        raise InputError("--executor slurm needs submitit: pip install 'gan_ablate[slurm]'") from None
    for program in ("sbatch", "srun", "squeue"):
        if shutil.which(program) is None:
            raise InputError(f"--executor slurm: no {program} here: start the sweep where jobs are submitted from")


def shares(recipes: Sequence[Recipe], runs_per_job: int) -> list[tuple[Recipe, ...]]:
    """Splits the runs into jobs of nearly equal size, in their order. Raises `InputError` for too many jobs."""
    jobs = -(-len(recipes) // runs_per_job)
    if jobs > MAX_ARRAY:
        least = -(-len(recipes) // MAX_ARRAY)
        raise InputError(
            f"{len(recipes)} runs make {jobs} jobs, over {MAX_ARRAY}: --slurm.runs-per-job {least} or more"
        )
    return [tuple(recipes[len(recipes) * k // jobs : len(recipes) * (k + 1) // jobs]) for k in range(jobs)]


@dataclass
class _Task:
    """One job of an array: its id and state in the queue, and the runs that it was given."""

    job_id: str  # 17_3; 17 where the array would have one job
    run_ids: tuple[str, ...]
    state: str = "PENDING"


def sweep_on_slurm(
    study: Study,
    root: str | Path,
    *,
    way: Way,
    options: SlurmOptions,
    only: str | Sequence[str] | None = None,
    display: Display | None = None,
    expansion: Expansion | None = None,
    retry_failed: bool = False,
    wait: bool = True,
    ask_every: float = ASK_EVERY,
) -> Summary:
    """Submits what is left of a study and is not queued yet; then waits for all of it, unless told not to.

    Ctrl-C leaves the jobs as they are; the same call comes back to them. Without `wait` the runs count as left.
    Raises `InputError`, also for what sbatch refuses and for bad input that a job found.
    """
    check_installed()
    expansion = expand(study) if expansion is None else expansion
    releases = releases_of(study, root, only, expansion)
    display = display or choose()
    try:
        while True:
            released = releases.wanted() if releases else expansion
            chosen = prepare(study, root, only, released)
            summary = _submit_and_watch(study, *chosen, way, options, display, retry_failed, wait, ask_every)
            if summary.left or not releases or len(releases.wanted().every) == len(released.every):
                return summary
    finally:
        display.close()


def _submit_and_watch(  # noqa: PLR0917
    study: Study, store: Store, chosen: Sequence[Recipe], way: Way, options: SlurmOptions, display: Display,
    retry_failed: bool, wait: bool, ask_every: float,
) -> Summary:  # fmt: skip
    """Submits those of the chosen runs that are left and not queued yet, and waits for them."""
    finished = {r.run_id: record for r in chosen if (record := store.finished(r.run_id)) is not None}
    sources = Sources()
    for run_id, record in finished.items():
        sources.look(record, store.folder(run_id))
    sources.check()
    again: set[str] = set()  # failed runs that no job of before will look at again
    if retry_failed:
        again = {k for k, record in finished.items() if "error" in record and _forgotten(store, k)}
        finished = {k: record for k, record in finished.items() if k not in again}
    waiting = {r.run_id: r for r in chosen if r.run_id not in finished}
    known = _known(store.root)
    states = queue()
    if known and states is None:
        raise InputError("squeue does not answer, and jobs of this root may be waiting: try again when it does")
    tasks = [replace(t, state=(states or {})[t.job_id]) for t in known if t.job_id in (states or {})]
    queued = {run_id for task in tasks if task.state != "COMPLETING" for run_id in task.run_ids} - again
    fresh = [r for r in waiting.values() if r.run_id not in queued]
    if fresh:
        new = _submit(store, fresh, way, options, study.name)
        tasks += new
        display.note(f"{len(fresh)} runs submitted in {len(new)} jobs, logs in {store.root / FOLDER}")
    elif not waiting:
        display.note(f"nothing to do: all {len(finished)} runs are finished")
    if not wait or not waiting:
        return Summary(0, 0, len(finished), len(waiting))
    failed = sum("error" in record for record in finished.values())
    estimate = TimeLeft(seconds_of(finished.values()))
    return _Watch(store, waiting, tasks, display, estimate, len(finished), failed).run(ask_every)


def _forgotten(store: Store, run_id: str) -> bool:
    """Deletes a recorded failure; returns False if another process holds that run."""
    with store.claim(run_id) as claim:
        if claim is not None:
            claim.forget_failure()
        return claim is not None


def _submit(store: Store, recipes: Sequence[Recipe], way: Way, options: SlurmOptions, name: str) -> list[_Task]:
    """Submits one array of jobs, and writes down in the root which runs each of them was given."""
    import submitit
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    logging.getLogger("submitit").setLevel(logging.WARNING)
    root = store.root.resolve()
    dealt = shares(recipes, options.runs_per_job)
    executor = submitit.SlurmExecutor(folder=root / FOLDER, max_num_timeout=options.max_timeouts)
    executor.update_parameters(**options.parameters(name))
    way = replace(way, grace=max(1.0, options.signal_delay - MARGIN))
    calls = [Share(str(root), share, way, tuple(sys.path), trust.trusted()) for share in dealt]
    try:
        with redirect_stderr(io.StringIO()):  # submitit prints what it raises
            jobs = executor.submit_array(calls)
    except (FailedJobError, FailedSubmissionError, OSError) as error:
        said = [line.strip() for line in str(error).splitlines() if re.search("error:|fatal:", line)]
        said = said or [in_one_line(error)]
        raise InputError(f"sbatch refused the jobs: {re.sub('^sbatch: ((error|fatal): )?', '', said[-1])}") from None
    tasks = [_Task(job.job_id, tuple(r.run_id for r in share)) for job, share in zip(jobs, dealt, strict=True)]
    record = {"tasks": [{"job_id": task.job_id, "run_ids": task.run_ids} for task in tasks], "options": asdict(options)}
    publish(root / FOLDER / f"{tasks[0].job_id.partition('_')[0]}.json", to_json(record))
    return tasks


def _known(root: Path) -> list[_Task]:
    """The jobs that were ever submitted for this root."""
    tasks = []
    for path in sorted((root / FOLDER).glob("*.json")):
        try:
            entries = json.loads(read_regular(path))["tasks"]
            tasks += [_Task(entry["job_id"], tuple(entry["run_ids"])) for entry in entries]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue  # what it would have told is only who works on what: claims keep order
    return tasks


def queue() -> dict[str, str] | None:
    """Job id -> state, of all waiting and running jobs of this user; None if Slurm does not answer."""
    command = ["squeue", "--me", "--noheader", "--array", "--format", "%i %T"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=ASK, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return {job_id: state for job_id, _, state in (line.strip().partition(" ") for line in said.splitlines())}


@dataclass
class _Watch:
    """Reports each run that ends, until all have ended or no job is left to carry them out."""

    store: Store
    waiting: dict[str, Recipe]
    tasks: list[_Task]
    display: Display
    estimate: TimeLeft
    skipped: int = 0  # finished before, those that failed included
    failed_before: int = 0
    done: int = 0
    failed: int = 0

    def run(self, ask_every: float) -> Summary:
        asked, signals = time.monotonic(), list[int]()
        pause = min(ask_every, max(0.5, len(self.waiting) / 500))  # a look costs two opened files per run
        with catching(signals):
            while self.waiting and not signals:
                over = False
                if time.monotonic() - asked >= ask_every:
                    over, asked = self._ask(), time.monotonic()
                self._collect()  # after the jobs are seen gone
                self.display.update(self._progress())
                if over:
                    break
                if self.waiting and not signals:
                    time.sleep(pause)
        self._tell_the_end(bool(signals))
        left = len(self.waiting)
        return Summary(self.done, self.failed, self.skipped, left, signals[0] if signals and left else 0)

    def _collect(self) -> None:
        for run_id, recipe in list(self.waiting.items()):
            record = self.store.finished(run_id, warn=False)
            if record is None:
                continue
            del self.waiting[run_id]
            facts = facts_of(record)
            self.failed += "error" in record
            self.done += "error" not in record
            for each in seconds_of([record]):
                self.estimate.add(*each)
            self.display.finished(self._progress(), run_line(recipe, facts))

    def _ask(self) -> bool:
        """Asks the queue, and returns whether no job is left. Raises `InputError` for what a job refused."""
        states = queue()
        if states is None:
            return False  # no answer is no news
        for task in self.tasks:
            task.state = states.get(task.job_id, "GONE")
            if task.state == "GONE" and (line := self._refusal(task)):
                self._cancel()
                raise InputError(line)
        return all(task.state == "GONE" for task in self.tasks)

    def _refusal(self, task: _Task) -> str:
        """The line of bad input that ended a job, or nothing. Its pickle stays closed: to open it would run it."""
        if not set(task.run_ids) & set(self.waiting):
            return ""
        try:
            said = json.loads(read_regular(refusal_file(self.store.root, task.job_id)))
        except (OSError, ValueError, RecursionError):
            return ""
        return said if isinstance(said, str) else ""

    def _cancel(self) -> None:
        arrays = sorted({task.job_id.partition("_")[0] for task in self.tasks if task.state != "GONE"})
        if arrays:
            subprocess.run(["scancel", *arrays], capture_output=True, timeout=ASK, check=False)

    def _tell_the_end(self, stopped: bool) -> None:
        arrays = " ".join(sorted({task.job_id.partition("_")[0] for task in self.tasks}))
        if stopped and self.waiting:
            self.display.note(f"the jobs go on: the same command comes back to them, scancel {arrays} ends them")
        for task in self.tasks:
            if task.state == "GONE" and (lost := len(set(task.run_ids) & set(self.waiting))):
                log = self.store.root / FOLDER / f"{task.job_id}_0_log.err"
                self.display.note(f"job {task.job_id} is over and left {lost} of its runs: see {log}")

    def _progress(self) -> Progress:
        active = [task.job_id for task in self.tasks if task.state == "RUNNING"]
        return Progress(
            total=self.skipped + self.done + self.failed + len(self.waiting),
            finished=self.done + self.skipped - self.failed_before,
            failed=self.failed + self.failed_before,
            running=tuple(f"job {job_id}" for job_id in active),
            seconds_left=self.estimate.left(self.waiting.values(), [], max(1, len(active))),
        )
