"""One job of a sweep on Slurm: the local pool works through its share of the runs until the job must end.

Slurm signals every process of the job. The pool's server ignores the signal. The runs write a checkpoint at their next
step and leave. Then submitit's own handler has Slurm queue the job again, and the job goes on with the rest.
"""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gan_ablate.errors import InputError, in_one_line
from gan_ablate.publishing import publish, to_json
from gan_ablate.recipe import Recipe
from gan_ablate.sweep.display import Plain
from gan_ablate.sweep.pool import carry_out_share
from gan_ablate.sweep.signals import STOP_SIGNALS
from gan_ablate.sweep.way import Way
from gan_ablate.trust import trust

WARNING = signal.SIGUSR2  # what submitit has Slurm send ahead of the time limit, and on preemption where it can
FOLDER = "slurm"  # of the root: submitit's scripts and logs, and what was submitted
ASK = 60  # seconds that Slurm's commands may take


@dataclass(frozen=True)
class Share:
    """What submitit pickles and calls: some runs of the store at `root`."""

    root: str
    recipes: tuple[Recipe, ...]
    way: Way
    path: tuple[str, ...]  # the submitter's sys.path
    trusted: tuple[str, ...] = ()  # modules that the submitter may import by name, and so may its jobs

    def __call__(self) -> dict[str, Any]:
        """The pool's `Summary` as plain data. A line of bad input that ended it is left in `refusal_file`."""
        trust(*self.trusted)
        queue_again = signal.getsignal(WARNING)  # submitit's: it would leave at once, with the runs still at work
        numbers = (*STOP_SIGNALS, WARNING)
        try:
            summary = carry_out_share(
                Path(self.root), self.recipes, self.way, display=Plain(), path=self.path, numbers=numbers
            )
        except InputError as error:
            line = in_one_line(error)
            with suppress(OSError):  # the full disk may be what it says
                publish(refusal_file(Path(self.root), job_id()), to_json(line))
            return {"refused": line}
        if summary.stopped and still_running() and callable(queue_again):
            queue_again(WARNING, None)  # does not return, unless it was the last of the time-outs allowed: it raises
        return asdict(summary)

    def checkpoint(self) -> Any:
        """What the job does when it starts again: the same, since the store knows which runs are finished."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    __submitit_checkpoint__ = checkpoint


def refusal_file(root: Path, job_id: str) -> Path:
    """Where a job leaves the line of bad input that ended it, as JSON, for the process that watches."""
    return root / FOLDER / f"{job_id}_refused.txt"


def job_id() -> str:
    """This job's id as the queue and submitit write it: 17_3; 17 where it is of no array."""
    array, task = (os.environ.get(f"SLURM_ARRAY_{part}_ID") for part in ("JOB", "TASK"))
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID", "")


def still_running() -> bool:
    """Whether this job should be queued again: not if it was cancelled, or if Slurm queues it again by itself.

    A job that is preempted with a grace period counts as running until that ends, and is not queued again by Slurm if
    it leaves of itself before: it must ask for it.
    """
    command = ["squeue", "--noheader", "--jobs", os.environ.get("SLURM_JOB_ID", ""), "--format", "%T"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=ASK, check=False)
    return said.stdout.strip() == "RUNNING"
