"""`gan-ablate sweep`: every cell of a study that is not done yet."""

from __future__ import annotations

from typing import Any

from jsonargparse import Namespace

from gan_ablate.commands import add_run_options, command, run_options
from gan_ablate.errors import InputError


def _sweep(args: Namespace) -> int:
    from gan_ablate.sweep import display
    from gan_ablate.sweep.pool import sweep
    from gan_ablate.sweep.study import expand, override, read, select

    for name, low in (("workers", 0), ("per_gpu", 1)):
        if args[name] < low:
            raise InputError(f"--{name.replace('_', '-')} {args[name]}: needs a whole number of at least {low}")
    changes: dict[str, Any] = {
        name: args[name]
        for name in ("seeds", "steps", "samples", "size", "width", "batch_size")
        if args[name] is not None
    }
    for name in ("models", "arms"):
        if args[name]:
            changes[name] = [part.strip() for part in args[name].split(",") if part.strip()]
    study = read(args.study)
    study = override(study, **changes) if changes else study
    root = args.root or f"runs/{study.name}"
    expansion = expand(study)
    only = args.only or None
    from gan_ablate.sweep.slots import slots

    workers = args.workers or len(slots(per_gpu=args.per_gpu))
    if args.dry_run:
        chosen = select(expansion.recipes, only) if only else None
        print(display.matrix(expansion, root, workers=workers, chosen=chosen))
        return 0
    summary = sweep(
        study,
        root,
        workers=workers,
        per_gpu=args.per_gpu,
        options={**run_options(args), "group": study.name},
        only=only,
        display=display.choose(),
        expansion=expansion,
        retry_failed=args.retry_failed,
    )
    counts = f"{summary.done} done, {summary.failed} failed, {summary.skipped} done before, {summary.left} left"
    more = f"the same command goes on from here; gan-ablate report {root} shows what there is"
    print(f"{counts}; {more}" if summary.left else counts)
    return summary.exit_code


def add(subcommands: Any) -> None:
    sweep = command(
        subcommands,
        "sweep",
        "Train every cell of a study that is not done yet.",
        "gan-ablate sweep sweeps/smoke.yaml --root runs/smoke",
    )
    sweep.add_argument("study", help="a YAML file, see sweeps/")
    sweep.add_argument("--root", default="", help="where its runs are kept (default: runs/<name of the study>)")
    sweep.add_argument("--workers", type=int, default=0, help="runs at a time (0: one per core or GPU slot)")
    sweep.add_argument("--per-gpu", type=int, default=1, help="runs at a time on each GPU")
    sweep.add_argument("--dry-run", action="store_true", help="print the matrix of runs and leave")
    sweep.add_argument("--only", action="append", default=[], metavar="PATTERN", help="e.g. dcgan/*/0; may be repeated")
    sweep.add_argument("--retry-failed", action="store_true", help="train runs again that are recorded as failed")
    sweep.add_argument("--models", default="", help="of the study's models, these: dcgan,wgan_gp")
    sweep.add_argument("--arms", default="", help="of the study's arms, these: label_smoothing,n_critic")
    for name, text in (("seeds", "seeds 0 to N-1"), ("steps", "G steps, all models"), ("samples", "per evaluation")):
        sweep.add_argument(f"--{name}", type=int, default=None, help=f"in place of the study's: {text}")
    for name in ("size", "width", "batch_size"):
        sweep.add_argument(
            f"--{name.replace('_', '-')}", type=int, default=None, help=f"in place of the study's {name}"
        )
    add_run_options(sweep, logger="none")


COMMANDS = {"sweep": _sweep}
