"""The process that speaks with W&B. Run as a file, it imports nothing of this package.

It reads one JSON message per line from standard input (`begin`, `log`, `table`, `summary`, `finish`), and says at the
end on standard output what became of it: `{"mode": .., "id": .., "complete": .., "error": ..}`. Where standard input
ends before `finish`, the run died: this process leaves at once, and W&B will call the run crashed.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

SECONDS_OFFLINE = 20.0  # to begin on this machine's disk


def main() -> None:
    said, told = os.dup(1), os.dup(2)
    messages: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(messages,), daemon=True).start()
    begin = messages.get()
    log = os.open(begin["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(log, 1)  # what wandb and its service print, stack traces of the latter included
    os.dup2(log, 2)
    state: dict[str, Any] = {"mode": "none", "id": "", "complete": False, "error": ""}
    try:
        run, state["mode"] = _begin(begin, told)
        state["id"] = run.id
        _carry(run, messages)
        state["complete"] = True
    except Exception as error:
        state["error"] = _line(error)
    _end_service()
    os.write(said, json.dumps(state).encode() + b"\n")
    os._exit(0)  # wandb's own exit handler would wait for its service, without a limit


def _read(messages: queue.SimpleQueue[dict[str, Any]]) -> None:
    """Always reads, whatever wandb is doing, so that the run never waits for room in the pipe."""
    ended = False
    for line in sys.stdin.buffer:
        message = json.loads(line)
        ended = ended or message["do"] == "finish"
        messages.put(message)
    if not ended:
        os._exit(1)


def _begin(begin: dict[str, Any], told: int) -> tuple[Any, str]:
    """The run at the server, or else on disk, and which of the two."""
    import wandb

    known = getattr(wandb.Settings, "model_fields", {})
    given = {k: v for k, v in begin["settings"].items() if k in known}  # older versions lack some
    modes: list[Any] = ["online", "offline"] if begin["mode"] == "online" and begin["fallback"] else [begin["mode"]]
    for mode in modes:
        settings = given if mode == "online" else {**given, "init_timeout": SECONDS_OFFLINE}
        resume = begin["resume"] if mode == "online" else None  # there is nothing to ask on disk
        try:
            run = wandb.init(**begin["init"], mode=mode, resume=resume, settings=wandb.Settings(**settings))
        except Exception as error:
            if mode == modes[-1]:
                raise
            _tell(told, f"W&B online: {_line(error)}; the run goes on, kept offline in {begin['init']['dir']}/wandb")
            _end_service()  # it would go on trying, and holds the run's id until it gives up
            with suppress(Exception):
                wandb.teardown()  # forgets the service
            os.environ.pop("WANDB_SERVICE", None)
            continue
        run.define_metric("step")
        run.define_metric(
            "*", step_metric="step"
        )  # W&B's own step only grows: a resumed run goes back to its checkpoint
        return run, mode
    raise AssertionError("unreachable")


def _carry(run: Any, messages: queue.SimpleQueue[dict[str, Any]]) -> None:
    """All messages up to `finish`. One that W&B does not take is not the end of the others, but said after them."""
    first: Exception | None = None
    while (message := messages.get())["do"] != "finish":
        try:
            _pass_on(run, message)
        except Exception as error:
            first = first or error
    run.finish(exit_code=message["exit_code"])
    if first is not None:
        raise first


def _pass_on(run: Any, message: dict[str, Any]) -> None:
    import wandb

    if message["do"] == "log":
        row = dict(message["row"])
        for key, path in message.get("images", {}).items():
            if os.path.exists(path):
                row[key] = wandb.Image(path)
        run.log(row)
    elif message["do"] == "table":
        run.log({message["key"]: wandb.Table(columns=message["columns"], data=message["rows"])})
    elif message["do"] == "summary":
        run.summary.update(message["values"])


def services(pid: int) -> list[int]:
    """Processes that process `pid` started, and theirs, by /proc (Linux): wandb's service and its monitor.

    Each has a session of its own, so the process group does not have them.
    """
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for parent in found:  # grows as it goes
        found += [child for child, its in parents.items() if its == parent]
    return found[1:]


def _end_service() -> None:
    for pid in services(os.getpid()):
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _tell(descriptor: int, text: str) -> None:
    os.write(descriptor, f"{text}\n".encode())


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


if __name__ == "__main__":
    main()
