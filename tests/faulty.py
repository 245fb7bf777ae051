"""Faults at each file operation in turn: the process dies there, or the disk is full from there on.

`python tests/faulty.py SCENARIO FAULT FOLDER` carries a scenario out once per operation, each time in a forked process
of its own, then again without a fault, and prints what it found as JSON.
"""

from __future__ import annotations

import builtins
import errno
import io
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gan_ablate.tricks  # noqa: F401 - the store does so late: here once, before hundreds of forks
from gan_ablate.errors import InputError
from gan_ablate.publishing import publish
from gan_ablate.recipe import Recipe
from gan_ablate.results.files import read_record
from gan_ablate.store import claim as claiming
from gan_ablate.store import store as store_module
from gan_ablate.store.gc import find_waste, remove
from gan_ablate.store.merge import essence, merge
from gan_ablate.store.store import Store
from gan_ablate.sweep import server

RECIPES = [Recipe(steps=2, seed=seed) for seed in (0, 1)]
CHANGING = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.truncate"}
GROWING = {"os.mkdir"}  # what a full disk refuses, besides files opened for writing, and writes
DIED = 77


class Faults:
    """Counts the operations of this process that change files, and strikes at the `at`-th (0: never)."""

    def __init__(self, root: Path, fault: str, at: int) -> None:
        self.root, self.fault, self.at, self.count = str(root), fault, at, 0

    def install(self) -> None:
        real_open, real_fsync = io.open, os.fsync

        def open_(file: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
            opened = real_open(file, mode, *args, **options)
            mine = not isinstance(file, int) and os.fspath(file).startswith(self.root)
            return Torn(opened, self) if mine and set(mode) & set("wax+") else opened

        def fsync(descriptor: int) -> None:
            self.strike("os.fsync")
            real_fsync(descriptor)

        builtins.open = io.open = open_
        os.fsync = fsync
        sys.addaudithook(self.audit)

    def audit(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = args
            if isinstance(path, str) and path.startswith(self.root) and flags & (os.O_WRONLY | os.O_RDWR):
                self.strike("open")
        elif event in CHANGING and isinstance(args[0], str | os.PathLike):
            self.strike(event)

    def strike(self, event: str) -> None:
        self.count += 1
        if self.at and self.count >= self.at:
            if self.fault == "kill":
                os._exit(DIED)
            if event in {"open", "os.fsync", "write"} | GROWING:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Torn:
    """A file whose writes can be cut in the middle."""

    def __init__(self, file: Any, faults: Faults) -> None:
        self.__dict__.update(file=file, faults=faults)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def write(self, data: Any) -> int:
        if self.faults.at == self.faults.count + 1:
            self.file.write(data[: len(data) // 2])
            self.file.flush()
        self.faults.strike("write")
        return self.file.write(data)


def train(recipe: Recipe, folder: Path, **_: Any) -> dict[str, Any]:
    """Two steps with a checkpoint after each."""
    checkpoint = folder / "checkpoint"
    for step in range(int(checkpoint.read_text()) if checkpoint.exists() else 0, recipe.steps):
        publish(checkpoint, str(step + 1).encode())
    return {"recipe": recipe.to_dict(), "outcome": "ok", "metrics": {"fid": 1.0 + recipe.seed}, "seconds": 0.1}


def fail(recipe: Recipe, folder: Path, **_: Any) -> dict[str, Any]:
    raise ZeroDivisionError("a bug")


def attempt(root: Path, recipe: Recipe, run: Callable[..., dict[str, Any]], retry: bool = False) -> server.Message:
    setup = server.Setup(str(root), "", {}, 1, [])
    task = server.Task(recipe, recipe.run_id, last_attempt=True, retry_failed=retry)
    return server._attempt(setup, task, run, server._Stop())


def sweep(root: Path) -> None:
    """A run that works, one that fails, and that one tried again."""
    Store.create(root, name="one", source={"seeds": 2}, recipes=RECIPES)
    attempt(root, RECIPES[1], train)
    attempt(root, RECIPES[0], fail)
    attempt(root, RECIPES[0], train, retry=True)


def halves(root: Path) -> None:
    """Two stores of one study, with one run each."""
    for name, recipe in zip("ab", RECIPES, strict=True):
        Store.create(root / name, name="one", source={}, recipes=[recipe])
        attempt(root / name, recipe, train)
        folder = Store(root / name).folder(recipe.run_id)
        for path in ("checkpoints/last.ckpt", "samples/final.png"):
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_bytes(path.encode() * 100)


def join(root: Path) -> None:
    merge([root / "a", root / "b"], root / "c")


def waste(root: Path) -> None:
    sweep(root)
    for recipe in (*RECIPES, stray := Recipe(steps=3)):
        with Store(root).claim(recipe.run_id) as claim:
            assert claim is not None
            claim.folder.joinpath("checkpoints").mkdir()
            claim.folder.joinpath("checkpoints", "last.ckpt").write_bytes(b"x" * 1000)
    assert Store(root).folder(stray.run_id).is_dir()


def tidy(root: Path) -> None:
    store = Store.open(root)
    for each in list(find_waste(store)):
        remove(store, each)


def careless(root: Path) -> None:
    """As `sweep`, by a store that writes in place: shows that the harness sees damage."""
    claiming.publish = store_module.publish = lambda path, data: path.write_bytes(data)  # type: ignore[assignment]
    sweep(root)


def checkpoints(root: Path) -> None:
    """Three checkpoints of a run, each with its step, and a line for each that was promised."""
    keeper = keeper_of(root)
    keeper.run_log.rewind({"bytes": 0})
    for step in (1, 2, 3):
        keeper._save(Writer(step, keeper), step)  # type: ignore[arg-type]
        with os.fdopen(os.open(root.parent / f"{root.name}.saved", os.O_CREAT | os.O_WRONLY), "w") as file:
            file.write(str(step))


def keeper_of(root: Path) -> Any:
    from gan_ablate.run.checkpoints import Checkpoints
    from gan_ablate.run.log import RunLog

    root.mkdir(exist_ok=True)
    evaluation: Any = SimpleNamespace(ready=True, catch_up=lambda: None, settings=lambda: {"extractor": "x"})
    log = RunLog(root / "metrics.jsonl")
    return Checkpoints(root / "checkpoints", 10, lambda: False, {"run_id": "x"}, evaluation, log)


class Writer:
    """The part of a Trainer that writes checkpoints."""

    def __init__(self, step: int, keeper: Any) -> None:
        self.step, self.keeper = step, keeper

    def save_checkpoint(self, path: Path) -> None:
        import torch

        from gan_ablate.run.checkpoints import SealedCheckpoints

        self.keeper.run_log.log_metrics({"loss": 1.0}, step=self.step)
        checkpoint = {"step": self.step, "weights": torch.zeros(1000)}
        self.keeper.on_save_checkpoint(self, None, checkpoint)
        SealedCheckpoints().save_checkpoint(checkpoint, path)


def readable(root: Path) -> list[str]:
    """Whether the newest checkpoint that can be read is the last that was promised, or newer."""
    import torch

    promised = root.parent / f"{root.name}.saved"
    saved = int(promised.read_text() or 0) if promised.exists() else 0
    latest = keeper_of(root).latest()
    step = torch.load(latest, weights_only=True)["step"] if latest else 0
    return [] if step in (saved, saved + 1) else [f"checkpoint of step {step}, promised {saved}"]


def nothing(root: Path) -> None:
    """No state to begin with."""


# name -> (before any fault, what the fault strikes, the root that has to stand in the end)
SCENARIOS: dict[str, tuple[Callable[[Path], None], Callable[[Path], None], str]] = {
    "sweep": (nothing, sweep, ""),
    "merge": (halves, join, "c"),
    "gc": (waste, tidy, ""),
    "careless": (nothing, careless, ""),
    "checkpoints": (nothing, checkpoints, ""),
}


def forked(action: Callable[[], None]) -> int:
    """The exit code of `action` in a process of its own: 2 for bad input, said in one line on stderr."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 1
    try:
        action()
        code = 0
    except InputError:
        code = 2
    finally:
        os._exit(code)


def whole(root: Path) -> list[str]:
    """What is wrong with a root where some process died: nothing, ever."""
    problems = []
    try:
        if (root / "study.yaml").exists():
            Store.open(root)
    except InputError as error:
        problems.append(f"does not open: {error}")
    for path in [*root.glob("runs/*/result.json"), *root.glob("runs/*/failed.json")]:
        try:
            read_record(path, path.parent.name)
        except (OSError, ValueError, RecursionError):
            problems.append(f"{path.parent.name}/{path.name} is damaged")
    return problems


def results(root: Path) -> dict[str, Any]:
    return {r["run_id"]: essence(r) for r in Store.open(root).results()}


def main(name: str, fault: str, folder: Path) -> dict[str, Any]:
    before, act, where = SCENARIOS[name]
    folder.mkdir(parents=True)
    pattern, clean = folder / "pattern", folder / "clean"
    if name == "checkpoints":
        import gan_ablate.run.checkpoints  # noqa: F401 - once, before the forks
    assert forked(lambda: before(pattern)) == 0
    pattern.mkdir(exist_ok=True)
    shutil.copytree(pattern, clean)

    def counted() -> None:
        faults = Faults(clean, fault, 0)
        faults.install()
        act(clean)
        (folder / "count").write_text(str(faults.count))

    assert forked(counted) == 0
    total = int((folder / "count").read_text())
    expected = None if name == "checkpoints" else results(clean / where)
    problems: list[str] = []
    codes: list[int] = []
    for at in range(1, total + 1):
        root = folder / str(at)
        shutil.copytree(pattern, root)

        def struck(root: Path = root, at: int = at) -> None:
            Faults(root, fault, at).install()
            act(root)

        codes.append(forked(struck))
        if name == "checkpoints":
            problems += [f"operation {at}: {problem}" for problem in readable(root)]
            continue
        if damage := whole(root / where):
            problems += [f"operation {at}: {problem}" for problem in damage]
        elif forked(lambda root=root: act(root)) != 0:  # type: ignore[misc]
            problems.append(f"operation {at}: it does not go on from there")
        elif results(root / where) != expected:
            problems.append(f"operation {at}: other results")
        elif name == "gc" and list(find_waste(Store.open(root))):
            problems.append(f"operation {at}: not all is tidied away")
        shutil.rmtree(root)
    return {"operations": total, "codes": {code: codes.count(code) for code in set(codes)}, "problems": problems}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))))
