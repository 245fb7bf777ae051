"""The process that speaks with W&B. Run as a file, it imports nothing of this package.

It reads one JSON message per line from standard input (`begin`, `log`, `table`, `artifact`, `summary`, `finish`), and
says at the end on standard output what became of it: `{"mode": .., "id": .., "complete": .., "error": ..}`. Where
standard input ends before `finish`, the run died: this process leaves at once, and W&B will call the run crashed.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import struct
import sys
import threading
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

SECONDS_OFFLINE = 20.0  # to begin on this machine's disk
SECONDS_TO_END = 10.0  # for wandb's service to write what it holds and leave
HEADER, BLOCK = 7, 32768  # bytes: of wandb's file, and of each of its records; of a block of records
FULL, LAST = 1, 4  # types of a record that is whole, and of the last part of one


def main() -> None:
    said, told = os.dup(1), os.dup(2)
    messages: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    begin = json.loads(sys.stdin.buffer.readline() or b"null") or os._exit(1)
    threading.Thread(target=_read, args=(messages, begin["temporary"]), daemon=True).start()
    log = os.open(begin["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(log, 1)  # what wandb and its service print, stack traces of the latter included
    os.dup2(log, 2)
    state: dict[str, Any] = {"mode": "none", "id": "", "complete": False, "error": ""}
    try:
        run, state["mode"] = _begin(begin, told)
        state["id"] = run.id
        file = Path(run.settings.sync_file) if state["mode"] == "offline" else None
        _carry(run, messages)
        _end_politely()
        _end_service(begin["temporary"])
        if file is not None:
            check(file)
        state["complete"] = True
    except Exception as error:
        state["error"] = _line(error)
    _end_service(begin["temporary"])
    os.write(said, json.dumps(state).encode() + b"\n")
    os._exit(0)  # wandb's own exit handler would wait for its service, without a limit


def _read(messages: queue.SimpleQueue[dict[str, Any]], temporary: str) -> None:
    """Always reads, whatever wandb is doing, so that the run never waits for room in the pipe."""
    ended = False
    for line in sys.stdin.buffer:
        message = json.loads(line)
        ended = ended or message["do"] == "finish"
        messages.put(message)
    if not ended:
        shutil.rmtree(temporary, ignore_errors=True)  # the run is dead, and cannot
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
            _end_service(begin["temporary"])  # it would go on trying, and holds the run's id until it gives up
            with suppress(Exception):
                wandb.teardown()  # forgets the service
            os.environ.pop("WANDB_SERVICE", None)
            continue
        run.define_metric("step")
        run.define_metric(
            "*", step_metric="step"
        )  # W&B's own step only grows: a resumed run goes back to its checkpoint
        for name, kept in begin.get("summaries", {}).items():
            run.define_metric(name, step_metric="step", summary=kept)
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
    elif message["do"] == "artifact":
        artifact = wandb.Artifact(message["name"], type=message["type"])
        for name, path in message["files"].items():
            artifact.add_file(path, name=name, policy="immutable")  # read where it lies: wandb makes no copy
        run.log_artifact(artifact)
    elif message["do"] == "summary":
        run.summary.update(message["values"])


def _end_politely() -> None:
    """Has wandb's service write what it still holds, and leave: `finish` of an offline run does not wait for that."""
    import wandb

    thread = threading.Thread(target=wandb.teardown, daemon=True)  # it waits without a limit
    thread.start()
    thread.join(SECONDS_TO_END)


def check(path: Path) -> None:
    """Raises `ValueError` unless an offline run's file is whole, from its header to the record of the run's end.

    The file is a LevelDB log: a header, then blocks of 32 KiB with records of CRC, length, type and data.
    """
    from wandb.proto import wandb_internal_pb2 as protocol

    with open(path, "rb") as file:
        data = file.read()
        os.fsync(file.fileno())  # before anybody is told that it is there
    over = False
    for payload in _payloads(data):
        record: Any = protocol.Record()  # type: ignore[attr-defined]  # made at import time
        record.ParseFromString(payload)
        over = over or record.HasField("exit")
    if not over:
        raise ValueError(f"{path.name} ends before the run does ({len(data)} bytes)")


def _payloads(data: bytes) -> Iterator[bytes]:
    if data[:4] != b":W&B" or len(data) < HEADER:
        raise ValueError("no file of wandb's")
    at, held = HEADER, b""
    while at < len(data):
        if (room := BLOCK - at % BLOCK) < HEADER:  # too little for a record: filled up
            at += room
            continue
        if len(data) - at < HEADER:
            raise ValueError(f"cut short at byte {at}")
        crc, size, kind = struct.unpack("<IHB", data[at : at + HEADER])
        body = data[at + HEADER : at + HEADER + size]
        if len(body) < size or zlib.crc32(bytes([kind]) + body) != crc:
            raise ValueError(f"damaged at byte {at}")
        at, held = at + HEADER + size, held + body
        if kind in (FULL, LAST):
            yield held
            held = b""
    if held:
        raise ValueError("cut short in the middle of a record")


def services(temporary: str) -> list[int]:
    """Processes that have this folder for temporary files, by /proc (Linux), but for this one: wandb's service and its
    monitor, and to the run this child.

    Each has a session of its own, so the process group does not have them. A monitor whose service died is nobody's
    child any more, but keeps its environment.
    """
    mark, found = b"TMPDIR=" + os.fsencode(temporary), []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # gone, or another user's
            if mark in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return [pid for pid in found if pid != os.getpid()]


def _end_service(temporary: str) -> None:
    for pid in services(temporary):
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
