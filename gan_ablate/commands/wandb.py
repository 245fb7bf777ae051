"""Commands for W&B: write a study as a sweep, train one trial of an agent, upload a store."""

from __future__ import annotations

import glob
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace

from gan_ablate.commands import (
    RUN_OPTIONS,
    add_run_options,
    add_study,
    add_trust,
    command,
    read_artifacts,
    run_options,
    say,
    wandb_mode,
)
from gan_ablate.errors import InputError, unknown
from gan_ablate.untrusted import printable

if TYPE_CHECKING:
    from gan_ablate.study.study import Study


def _refuse_tuned(study: Study) -> None:
    """Raises `InputError`: an agent is told its cells beforehand."""
    if study.tune:
        raise InputError(f"{study.path}: tune: which runs are judged is known only after tuning: use gan-ablate sweep")


def _export(args: Namespace) -> int:
    from gan_ablate.study.study import expand, load_study
    from gan_ablate.sweep import wandb_sweep

    options = run_options(args, wandb="online", environment=False)  # the trials have an environment of their own
    usual = {
        "data_root": None, "weights": None, "accelerator": "auto", "step": "auto", "wandb": "online",
        "wandb_artifacts": False, "logger": "none",
    }  # fmt: skip
    given = [(f"--{name.replace('_', '-')}", args[name]) for name in RUN_OPTIONS if options[name] != usual[name]]
    study = load_study(args.study)
    _refuse_tuned(study)
    more = [part for pair in (*given, *(("--trust", name) for name in args.trust)) for part in pair]
    text = wandb_sweep.sweep_file(study, expand(study), path=args.study, root=args.root, options=more)
    path = Path(args.out or f"{wandb_sweep.FOLDER}/{Path(args.study).stem}.yaml")
    wandb_sweep.write_file(text, path)
    print(f"{path}: wandb sweep {path}, then wandb agent on every machine that sees the runs' root")
    return 0


def _trial(args: Namespace) -> int:
    from gan_ablate.study.study import expand, load_study, select_runs
    from gan_ablate.sweep import wandb_sweep
    from gan_ablate.sweep.pool import sweep
    from gan_ablate.sweep.prepare import prepare

    options = run_options(args, wandb="online")
    cell = wandb_sweep.read_trial(args.cell)
    study = load_study(args.study)
    _refuse_tuned(study)
    expansion = expand(study)
    recipe = wandb_sweep.recipe_of(cell, study, expansion)
    if isinstance(recipe, str):
        say(f"{cell}: not applicable: {recipe}")
        return 0
    root = args.root or f"runs/{study.name}"
    only = [glob.escape(f"{recipe.model}@{recipe.dataset}/{recipe.arm}/{recipe.seed}")]
    if select_runs(expansion.recipes, only) != (recipe,):
        raise InputError(f"{args.study}: cell {cell}: its name also means another run: give its arm another label")
    store, _ = prepare(study, root, only, expansion)
    record = store.finished(recipe.run_id)
    if record is not None and not (args.retry_crashed and "error" in record):
        say(f"{cell}: already done: {store.folder(recipe.run_id)}: {record.get('outcome', 'crashed')}")
        return 0
    if store.is_running(recipe.run_id):
        say(f"{cell}: being trained by another process, left to it: {store.folder(recipe.run_id)}")
        return 0
    summary = sweep(
        study,
        root,
        workers=1,
        threads=args.threads,
        only=only,
        expansion=expansion,
        retry_failed=args.retry_crashed,
        options={**options, "group": study.name},
    )
    return summary.exit_code


def _sync(args: Namespace) -> int:
    from gan_ablate.uplink.sync import sync

    mode = wandb_mode(args.mode, usual="online")
    if mode not in ("online", "offline"):
        raise unknown("--mode" if args.mode else "WANDB_MODE", mode, ("online", "offline"))
    every = read_artifacts(args.artifacts, "--artifacts")
    counts = sync(
        args.root, mode=mode, project=args.project, again=args.again, artifacts=every, verdicts=_verdicts, tell=say
    )
    said = f"{counts.uploaded} uploaded, {counts.before} before, {counts.unfinished} not finished"
    if counts.trouble:
        trouble = printable(f"gan-ablate: {said}; W&B: {counts.trouble}; the same command goes on from there")
        print(trouble, file=sys.stderr)
        return 1
    print(said)
    return 0


def _verdicts(root: Path) -> list[dict[str, Any]]:
    """One row for each arm of each model and dataset; none where nothing is compared with base."""
    from gan_ablate.findings.tables import tables
    from gan_ablate.findings.verdicts import records
    from gan_ablate.results.frames import load

    return records([v for t in tables(load(root)) if (v := t.verdicts) is not None])


def add(subcommands: Any) -> None:
    export = command(
        subcommands,
        "export-wandb",
        "Write a study as a W&B sweep.",
        "gan-ablate export-wandb sweeps/smoke.yaml && wandb sweep sweeps/wandb/smoke.yaml",
    )
    add_study(export, "where agents keep the runs")
    export.add_argument("--out", default="", help="the file to write (default: sweeps/wandb/<file of the study>)")
    add_run_options(export, logger="none", wandb="online")
    add_trust(export, "the study")

    trial = command(
        subcommands,
        "trial",
        "Train one cell of a study: what a W&B agent runs.",
        'gan-ablate trial sweeps/smoke.yaml \'{"cell": {"run": "dcgan/base", "seed": 0}}\'',
    )
    add_study(trial, "where its runs are kept")
    trial.add_argument("cell", help="the agent's parameters as JSON")
    trial.add_argument("--threads", type=int, default=1, help="CPU threads, as many as in other sweeps of the root")
    trial.add_argument("--retry-crashed", action="store_true", help="train it again if it is recorded as crashed")
    add_run_options(trial, logger="none", wandb="online")
    add_trust(trial, "the study")

    sync = command(
        subcommands,
        "sync-wandb",
        "Upload the finished runs of a root to W&B; those that were uploaded are left out.",
        "gan-ablate sync-wandb runs/smoke",
    )
    sync.add_argument("root")
    sync.add_argument(
        "--mode", default="", help="online, or offline: on this machine's disk, for wandb sync (default: WANDB_MODE, "
        "or online)",
    )  # fmt: skip
    sync.add_argument(
        "--artifacts", default="none", help="all: checkpoints, sample grids and the report are uploaded too; or none"
    )
    sync.add_argument("--project", default="", help="W&B's project (default: WANDB_PROJECT, or the study's name)")
    sync.add_argument("--again", action="store_true", help="upload also what was uploaded before")


COMMANDS = {"export-wandb": _export, "trial": _trial, "sync-wandb": _sync}
