"""The command line. Nothing here imports torch: only the commands that train do, when they run."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser, Namespace

import gan_ablate
from gan_ablate.errors import InputError, unknown
from gan_ablate.recipe import Evaluation, Recipe

RECIPE_HELP = {
    "model": "dcgan, nsgan or wgan_gp",
    "dataset": "shapes, mnist, fashion_mnist, cifar10, or the path of a folder or zip of images",
    "architecture": "conv, mlp or resnet (default: the model's own)",
    "size": "pixels, height = width: 16, 28, 32 or 64 (default: 28 for mnist sets, 16 for shapes, else 32)",
    "channels": "1 (grey) or 3 (colour) (default: 1 for mnist sets, else 3)",
    "latent_dim": "numbers in z",
    "width": "channels of the widest-resolution feature map",
    "steps": "generator steps",
    "batch_size": "images per step (default: the model's own)",
    "lr": "Adam's learning rate (default: the model's own)",
    "beta1": "Adam's first beta (default: the model's own)",
    "beta2": "Adam's second beta (default: the model's own)",
    "precision": "fp32 or bf16",
    "seed": "of everything random",
}
EVALUATION_HELP = {
    "extractor": "classifier or inception",
    "samples": "generated images per evaluation",
    "points": "evaluations spread over training",
}
SHAPES = {"shapes": (16, 3), "mnist": (28, 1), "fashion_mnist": (28, 1)}  # dataset -> its usual size and channels
TYPES = {
    "size": int,
    "channels": int,
    "architecture": str,
    "batch_size": int,
    "lr": float,
    "beta1": float,
    "beta2": float,
}


class _Parser(ArgumentParser):
    def error(self, message: str, ex: Exception | None = None) -> Any:  # one line, and exit code 2
        raise InputError(" ".join(str(message).split()))


def _command(subcommands: Any, name: str, help: str, example: str) -> ArgumentParser:
    parser = _Parser(description=f"{help} Example: {example}", exit_on_error=True)
    subcommands.add_subcommand(name, parser, help=help)
    return parser


def parser() -> ArgumentParser:
    """The whole command line."""
    top = _Parser(
        prog="gan-ablate", description="Which GAN stability tricks really help, on my data, and how sure am I?"
    )
    top.add_argument("--version", action="version", version=gan_ablate.__version__)
    subs = top.add_subcommands(required=True, dest="command")

    train = _command(
        subs,
        "train",
        "Train and evaluate one run; the same command again resumes it or says that it is done.",
        "gan-ablate train --model dcgan --dataset shapes --trick label_smoothing --trick instance_noise:std=0.2 "
        "--steps 1000 --seed 0",
    )
    for name, text in RECIPE_HELP.items():
        default = None if name in ("size", "channels") else getattr(Recipe, name)
        train.add_argument(
            f"--{name.replace('_', '-')}", type=TYPES.get(name, type(default)), default=default, help=text
        )
    for name, text in EVALUATION_HELP.items():
        default = getattr(Evaluation, name)
        train.add_argument(f"--{name}", type=type(default), default=default, help=text)
    train.add_argument("--trick", action="append", default=[], metavar="NAME[:KEY=VALUE,...]", help="may be repeated")
    train.add_argument("--root", default="runs/train", help="where runs are kept")
    train.add_argument("--threads", type=int, default=0, help="CPU threads (0: all cores)")
    _carrying(train, logger="csv")

    sweep = _command(
        subs,
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
    _carrying(sweep, logger="none")

    status = _command(subs, "status", "How far a sweep is, per model and arm.", "gan-ablate status runs/smoke")
    status.add_argument("root")

    report = _command(
        subs, "report", "Write report.html, report.md and tables of a sweep.", "gan-ablate report runs/smoke"
    )
    report.add_argument("roots", nargs="+")
    report.add_argument("--out", default=None, help="folder to write to (default: ROOT/report)")

    tricks = _command(
        subs, "tricks", "The table of tricks, or what one of them changes.", "gan-ablate tricks instance_noise"
    )
    tricks.add_argument("name", nargs="?", default="")
    tricks.add_argument("--markdown", action="store_true", help="the table as in docs/tricks.md")

    sample = _command(
        subs,
        "sample",
        "Draw a grid of images from a checkpoint.",
        "gan-ablate sample runs/train/runs/<run>/checkpoints/last.ckpt --out grid.png",
    )
    sample.add_argument("checkpoint")
    sample.add_argument("--count", type=int, default=64, help="images")
    sample.add_argument("--seed", type=int, default=0, help="of z")
    sample.add_argument("--out", default="samples.png", help="the PNG to write")
    return top


def _carrying(command: ArgumentParser, logger: str) -> None:
    command.add_argument("--data-root", default=None, help="where torchvision's dataset files lie")
    command.add_argument("--weights", default=None, help="path of Inception's weights file")
    command.add_argument("--accelerator", default="auto", help="auto or cpu")
    command.add_argument("--wandb", default="disabled", help="online, offline or disabled")
    command.add_argument("--logger", default=logger, help="csv, tensorboard or none")


def _options(args: Namespace) -> dict[str, Any]:
    from gan_ablate.run_loggers import LOGGERS, WANDB_MODES

    for name, options in (("wandb", WANDB_MODES), ("logger", LOGGERS), ("accelerator", ("auto", "cpu"))):
        if args[name] not in options:
            raise unknown(f"--{name}", args[name], options)
    names = ("data_root", "weights", "accelerator", "wandb", "logger")
    return {name: args[name] for name in names}


def _train(args: Namespace) -> int:
    from gan_ablate.recipe import TrickSpec
    from gan_ablate.sweep.store import Store
    from gan_ablate.tricks import complete, not_applicable

    fields = {name: args[name] for name in RECIPE_HELP}
    for name, usual in zip(("size", "channels"), SHAPES.get(args.dataset, (32, 3)), strict=True):
        fields[name] = usual if fields[name] is None else fields[name]
    evaluation = Evaluation(**{name: args[name] for name in EVALUATION_HELP})
    recipe = Recipe(tricks=tuple(TrickSpec.parse(t) for t in args.trick), evaluation=evaluation, **fields)
    recipe = complete(recipe)
    if reason := not_applicable(recipe):
        raise InputError(reason)
    options = _options(args)
    root = Path(args.root)
    if (root / "study.yaml").exists() and Store.open(root).name != TRAIN:
        raise InputError(f"{root} belongs to study {Store.open(root).name!r}: give single runs another --root")
    with Store(root).claim(recipe.run_id) as claim:
        if claim is None:
            raise InputError(f"{root}: run {recipe.run_id} is being trained by another process: wait for it")
        if (done := claim.finished()) is not None and "outcome" in done:
            print(f"already done: {Store(root).folder(recipe.run_id)}")
            _tell(done)
            return 0
        claim.forget_failure()
        folder = claim.prepare(recipe)
        print(f"{recipe.model}/{recipe.arm}/seed {recipe.seed} in {folder}", flush=True)
        return _carry_out(recipe, folder, claim, args, options)


TRAIN = "train"  # the name of the study that single runs are cells of


def _list_cell(root: Path, recipe: Recipe) -> None:
    """Add the run to the root's study.yaml, so that `status` and `report` know it."""
    from gan_ablate.sweep.store import Store

    known: list[Recipe] = []
    if (root / "study.yaml").exists():
        held = Store.open(root)
        for cell in held.cells:
            if cell.run_id != recipe.run_id:
                data = json.loads((held.folder(cell.run_id) / "recipe.json").read_bytes())
                known.append(Recipe.from_dict({**data["recipe"], "arm": cell.arm}))
    Store.create(root, name=TRAIN, source={"name": TRAIN}, recipes=[*known, recipe])


def _carry_out(recipe: Recipe, folder: Path, claim: Any, args: Namespace, options: dict[str, Any]) -> int:
    import signal

    asked: list[int] = []

    def ask(number: int, frame: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        print("stopping at the next step; once more: now", file=sys.stderr)

    threads = args.threads or len(os.sched_getaffinity(0))
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    from gan_ablate.run import Stopped, carry_out

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask)
    try:
        result = carry_out(
            recipe,
            folder,
            threads=threads,
            progress=sys.stdout.isatty(),
            should_stop=lambda: bool(asked),
            **options,
        )
    except Stopped as stopped:
        _list_cell(Path(args.root), recipe)
        print(stopped)
        return 130
    _list_cell(Path(args.root), recipe)  # not before: bad input must leave nothing behind for `status` to wait for
    claim.publish_result(result)
    _tell(result)
    return 0


def _tell(result: dict[str, Any]) -> None:
    print(f"outcome: {result['outcome']}" + (f" ({result['note']})" if result["note"] else ""))
    for key, label in result["labels"].items():
        value = result["metrics"].get(key)
        if value is not None:
            print(f"  {label}: {value:.4g}")
    if result["metrics"].get("modes") is not None:
        print(f"  modes covered: {result['metrics']['modes']}")


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
        options={**_options(args), "group": study.name},
        only=only,
        display=display.choose(),
        expansion=expansion,
        retry_failed=args.retry_failed,
    )
    counts = f"{summary.done} done, {summary.failed} failed, {summary.skipped} done before, {summary.left} left"
    more = f"the same command goes on from here; gan-ablate report {root} shows what there is"
    print(f"{counts}; {more}" if summary.left else counts)
    return summary.exit_code


def _status(args: Namespace) -> int:
    from gan_ablate.sweep.store import Store

    print(f"{'model':10} {'arm':32} {'done':>5} {'running':>8} {'failed':>7} {'left':>5}")
    for row in Store.open(args.root).status():
        print(f"{row.model:10} {row.arm:32} {row.done:5} {row.running:8} {row.failed:7} {row.left:5}")
    return 0


def _report(args: Namespace) -> int:
    from gan_ablate.report import report

    print(report(args.roots, args.out))
    return 0


def _tricks(args: Namespace) -> int:
    from gan_ablate.tricks import listing

    whole = listing.markdown() if args.markdown else listing.table()
    print(listing.one(args.name) if args.name else whole)
    return 0


def _sample(args: Namespace) -> int:
    if args.count < 1:
        raise InputError(f"--count {args.count}: needs at least 1")
    from gan_ablate.sampling import sample

    print(sample(Path(args.checkpoint), args.count, args.seed, Path(args.out)))
    return 0


COMMANDS: dict[str, Callable[[Namespace], int]] = {
    "train": _train,
    "sweep": _sweep,
    "status": _status,
    "report": _report,
    "tricks": _tricks,
    "sample": _sample,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, call, and turn bad input into one line and exit code 2."""
    try:
        args = parser().parse_args(list(argv) if argv is not None else None)
        return COMMANDS[args.command](args[args.command])
    except (InputError, ArgumentError) as error:
        print(f"gan-ablate: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        return 0


def console() -> None:
    """Entry point of `gan-ablate`."""
    sys.exit(main())
