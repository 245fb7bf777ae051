"""The run's side of W&B: it sends messages to a child process, and every wait for that process has a time limit."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from gan_ablate.errors import InputError
from gan_ablate.uplink.child import services

INIT_SECONDS = 30.0  # for the server to answer, while the run trains; then the run is kept offline
FINISH_SECONDS = 30.0  # for what is left to be uploaded once the run is over
GRACE = 15.0  # for the child's own work: importing wandb, writing an offline run
KILL_SECONDS = 5.0  # for killed processes to be gone
CHILD = Path(__file__).with_name("child.py")
OF_AN_AGENT = ("WANDB_SWEEP_ID", "WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH")


class Ended(NamedTuple):
    """What became of a W&B run. `complete`: all of it is at the server (or, offline, on disk)."""

    mode: str = "none"  # online | offline | none
    id: str = ""  # W&B's; an agent's trial has one that its sweep gave
    complete: bool = False
    error: str = ""  # why it is not


def seconds(what: str, default: float) -> float:
    """A time limit: `GAN_ABLATE_WANDB_INIT_SECONDS` or `.._FINISH_SECONDS`. Raises `InputError` for no number."""
    name = f"GAN_ABLATE_WANDB_{what.upper()}_SECONDS"
    try:
        value = float(os.environ.get(name) or default)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise InputError(f"{name}={os.environ[name]!r}: needs a number of seconds over 0")
    return value


class Link:
    """One W&B run, from the `init` arguments to `finish`. No method raises once the link stands.

    folder: the run's; wandb keeps its files in `folder/wandb`, with what it prints in `uplink.log`.
    init: keyword arguments of `wandb.init`.
    resume: as `wandb.init` has it: "allow" goes on with the run of that id, None starts it anew.
    fallback: whether a run that the server does not take is kept offline.
    summaries: logged key -> what the run's summary keeps of it: min | max.
    agent: whether a W&B agent's environment (sweep and run id) is for this run.
    """

    def __init__(
        self,
        folder: Path,
        init: Mapping[str, Any],
        *,
        mode: str,
        resume: str | None = "allow",
        fallback: bool = True,
        agent: bool = True,
        init_seconds: float | None = None,
        summaries: Mapping[str, str] | None = None,
    ) -> None:
        init_seconds = init_seconds or seconds("init", INIT_SECONDS)
        self._limit = seconds("finish", FINISH_SECONDS)
        self._ready_by = time.monotonic() + (init_seconds if mode == "online" else 0.0)
        self._ended: Ended | None = None
        (folder / "wandb").mkdir(parents=True, exist_ok=True)
        environment = {k: v for k, v in os.environ.items() if agent or k not in OF_AN_AGENT}
        environment.pop("WANDB_SERVICE", None)
        # wandb leaves folders behind where its process does not end by itself
        self._temporary = environment["TMPDIR"] = tempfile.mkdtemp(prefix="gan_ablate-wandb-")
        settings = {
            "init_timeout": init_seconds,
            "finish_timeout": self._limit,
            "finish_timeout_raises": True,
            "program": "gan-ablate",
            "console": "off",
            "silent": True,
            "x_stats_pid": os.getpid(),  # the machine's figures are of the run, not of the child
        }
        self._child = subprocess.Popen(
            # -P: the child's folder is no place to import from
            [sys.executable, "-P", str(CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # Ctrl-C is the run's to handle
        )
        log = str((folder / "wandb" / "uplink.log").resolve())
        init = {**init, "dir": str(folder.resolve())}
        begin = {"init": init, "mode": mode, "fallback": fallback, "resume": resume, "settings": settings}
        begin["summaries"] = dict(summaries or {})
        self.tell("begin", **begin, log=log, temporary=self._temporary)

    @property
    def over(self) -> bool:
        """Whether `finish` was called."""
        return self._ended is not None

    def tell(self, do: str, **message: Any) -> None:
        """One message to the child; lost if the child is gone."""
        assert self._child.stdin is not None
        with suppress(BrokenPipeError, ValueError):
            self._child.stdin.write(json.dumps({"do": do, **message}, default=str).encode() + b"\n")
            self._child.stdin.flush()

    def finish(self, exit_code: int = 0) -> Ended:
        """Ends the W&B run and the child, within the time limits; the same answer when asked again."""
        if self._ended is not None:
            return self._ended
        self.tell("finish", exit_code=exit_code)
        limit = max(0.0, self._ready_by - time.monotonic()) + self._limit + GRACE
        try:
            said, _ = self._child.communicate(timeout=limit)
            self._ended = Ended(**json.loads(said))
        except subprocess.TimeoutExpired:
            self._ended = Ended(error=f"not finished after {limit:.0f} s")
        except (ValueError, TypeError, OSError):  # it died without a word; the reason is in its log
            self._ended = Ended(error="its process died, see wandb/uplink.log")
        self._kill()
        return self._ended

    def _kill(self) -> None:
        """The child, wandb's service and its monitor: each has a session of its own and might try on for long."""
        limit = time.monotonic() + KILL_SECONDS
        while (found := services(self._temporary)) and time.monotonic() < limit:
            for pid in found:  # one that is just being started is found the next time
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        self._child.kill()
        self._child.wait()
        shutil.rmtree(self._temporary, ignore_errors=True)
        for pipe in (self._child.stdin, self._child.stdout):
            with suppress(OSError, ValueError):
                if pipe is not None:
                    pipe.close()
