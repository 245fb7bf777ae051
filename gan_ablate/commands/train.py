"""`gan-ablate train` trains and evaluates one run."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from gan_ablate.commands import add_run_options, add_trust, command, importing, run_options, say
from gan_ablate.commands.config import add_config
from gan_ablate.errors import InputError
from gan_ablate.layout import extractor_for
from gan_ablate.recipe import ARCHITECTURES, AUTO, MODELS, Evaluation, Recipe
from gan_ablate.results.study_file import SINGLE_RUNS
from gan_ablate.trust import trust_typed

RECIPE_HELP = {
    "model": f"{', '.join(MODELS)}, or the import path of your own: mymodels.MyGAN",
    "dataset": "digits, shapes, mnist, fashion_mnist, cifar10, stacked_mnist, voxels, ring, grid, or the path of a "
    "folder or zip of images (default: shapes; digits for infogan, bigan, aae and lapgan, voxels for gan3d)",
    "architecture": f"{', '.join(ARCHITECTURES)} (default: the model's own; mlp for ring and grid)",
    "size": "pixels, height = width (= depth): a multiple of 4 from 8 on, best one with many factors of two, such as "
    "64 or 128 (default: 28 for mnist sets, 16 for digits, shapes and voxels, 1 for ring and grid, else 32)",
    "channels": "1 (grey) or 3 (colour) (default: 1 for digits, mnist, fashion_mnist and voxels, 2 for ring and grid, "
    "else 3)",
    "latent_dim": "numbers in z (default: 64; 16 for bigan, 8 for aae)",
    "width": "channels of the widest-resolution feature map",
    "steps": "generator steps",
    "batch_size": "images per step (default: the model's own)",
    "lr": "Adam's learning rate (default: the model's own)",
    "beta1": "Adam's first beta (default: the model's own)",
    "beta2": "Adam's second beta (default: the model's own)",
    "precision": "fp32 or bf16 (Lightning's 32-true and bf16-mixed mean the same)",
    "seed": "of everything random",
}
OWN_HELP = {
    "generator": "import path of a G of your own, in place of the model's: mymodels.MyG",
    "discriminator": "the same for D",
}
EVALUATION_HELP = {
    "extractor": "classifier, rotation (needs no classes), inception, inception_clean (clean-fid's resizing), "
    "dinov2, clip (by --weights) or module:attribute of your own; auto: classifier "
    "where the images have classes, else rotation",
    "samples": "generated images per evaluation",
    "points": "evaluations spread over training",
}
USUAL = ("dataset", "latent_dim", "size", "channels")  # fields that the model or the dataset may say (`recipe`)
SMALL = (
    1_000_000  # numbers in a batch's first feature maps: at 16 px, width 24, batch 32 two threads took six times one
)
TYPES = {"str": str, "int": int, "float": float}  # of a recipe's fields, by their annotations
MODES = {
    "assigned_modes": "modes reached",
    "modes": "modes reached by good samples",
}


def _train(args: Namespace) -> int:
    from gan_ablate.recipe import TrickSpec, with_usual_fields
    from gan_ablate.sources import Sources
    from gan_ablate.store.store import Store
    from gan_ablate.tricks import OWN_NETWORKS, complete, not_applicable

    specs = [TrickSpec.parse(text) for text in (args.trick if isinstance(args.trick, list) else [args.trick])]
    own = {name: args[name] for name in OWN_HELP if args[name]}
    networks = [path for spec in specs if spec.name == OWN_NETWORKS for path in map(str, spec.params.values())]
    for name in (args.extractor, args.model, *own.values(), *networks, *(spec.name for spec in specs)):
        if not args.config:  # else the name may be the file's
            trust_typed(name)
    arm = "+".join([*(f"{k}={v}" for k, v in own.items()), *map(str, specs)])
    if own:
        specs.insert(0, TrickSpec(OWN_NETWORKS, own))
    fields = with_usual_fields({n: args[n] for n in RECIPE_HELP if args[n] is not None}, args.model)
    plan = {name: args[name] for name in EVALUATION_HELP}
    evaluation = Evaluation(**plan | {"extractor": extractor_for(fields["dataset"], args.extractor)})
    recipe = Recipe(tricks=tuple(specs), evaluation=evaluation, arm=arm, **fields)
    recipe = complete(recipe)
    if reason := not_applicable(recipe):
        raise InputError(reason)
    options = run_options(args)
    root = Path(args.root)
    if (root / "study.yaml").exists() and Store.open(root).name != SINGLE_RUNS:
        raise InputError(f"{root} belongs to study {Store.open(root).name!r}: give single runs another --root")
    with Store(root).claim(recipe.run_id) as claim:
        if claim is None:
            raise InputError(f"{root}: run {recipe.run_id} is being trained by another process: wait for it")
        if (done := claim.finished()) is not None and "outcome" in done:
            sources = Sources()
            sources.look(done, claim.folder)
            sources.check()
            print(f"already done: {Store(root).folder(recipe.run_id)}")
            _tell(done, Store(root).folder(recipe.run_id))
            return 0
        claim.forget_failure()
        folder = claim.prepare(recipe)
        print(f"{recipe.model}/{recipe.arm}/seed {recipe.seed} in {folder}", flush=True)
        return _carry_out(recipe, folder, claim, args, options)


def _carry_out(recipe: Recipe, folder: Path, claim: Any, args: Namespace, options: dict[str, Any]) -> int:
    import signal

    asked: list[int] = []

    def ask(number: int, frame: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        print("stopping at the next step; once more: now", file=sys.stderr)

    threads = args.threads or threads_for(recipe, os.environ.get("OMP_NUM_THREADS", ""), len(os.sched_getaffinity(0)))
    os.environ["OMP_NUM_THREADS"] = str(threads)
    with importing():
        from gan_ablate.run.carry_out import Stopped, carry_out
    from gan_ablate.publishing import refusing
    from gan_ablate.store.store import Store

    def should_stop() -> bool:
        claim.check()
        return bool(asked)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask)
    try:
        with refusing(folder):
            result = carry_out(
                recipe,
                folder,
                threads=threads,
                progress=sys.stdout.isatty(),
                beside=threads < len(os.sched_getaffinity(0)),
                should_stop=should_stop,
                **options,
            )
    except Stopped as stopped:
        Store.add(args.root, SINGLE_RUNS, recipe)
        claim.ended("stopped")
        print(stopped)
        return 130
    # not before: bad input must leave nothing behind for `status` to wait for
    Store.add(args.root, SINGLE_RUNS, recipe)
    claim.publish_result(result)
    _tell(result, folder)
    return 0


def threads_for(recipe: Recipe, told: str, cores: int) -> int:
    """CPU threads of a run: what OMP_NUM_THREADS tells, else one for a small net, which more of them slow down."""
    if told.isdigit() and int(told) > 0:
        return int(told)
    full = recipe.resolved()
    assert full.batch_size is not None
    return 1 if full.size**full.dims * full.width * full.batch_size < SMALL else cores


def _tell(result: dict[str, Any], folder: Path) -> None:
    say(f"outcome: {result['outcome']}" + (f" ({result['note']})" if result["note"] else ""))
    for key, words in (*result["labels"].items(), *MODES.items()):
        if (value := result["metrics"].get(key)) is not None:
            say(f"  {words}: {value:.4g}")
    if (grid := folder / "samples" / "final.png").exists():
        say(f"  samples: {grid}")
    if note := (result.get("evaluation") or {}).get("note"):
        say(f"  note: {note}")


def add(subcommands: Any) -> None:
    train = command(
        subcommands,
        "train",
        "Train and evaluate one run; the same command again resumes it or says that it is done.",
        "gan-ablate train --model dcgan --dataset shapes --trick label_smoothing --trick instance_noise:std=0.2 "
        "--steps 1000 --seed 0",
    )
    for name, text in RECIPE_HELP.items():
        default = None if name in USUAL else getattr(Recipe, name)
        kind = TYPES[Recipe.__annotations__[name].removesuffix(" | None")]
        train.add_argument(f"--{name.replace('_', '-')}", type=kind, default=default, help=text)
    for name, text in OWN_HELP.items():
        train.add_argument(f"--{name}", type=str, default="", help=text)
    for name, text in EVALUATION_HELP.items():
        default = AUTO if name == "extractor" else getattr(Evaluation, name)
        train.add_argument(f"--{name}", type=type(default), default=default, help=text)
    train.add_argument("--trick", action="append", default=[], metavar="NAME[:KEY=VALUE,...]", help="may be repeated")
    add_config(train)
    add_trust(train, "a --config")
    train.add_argument("--root", type=str, default="runs/train", help="where runs are kept")
    train.add_argument(
        "--threads", type=int, default=0, help="CPU threads (0: OMP_NUM_THREADS, else 1 for small nets and all cores "
        "for others)",
    )  # fmt: skip
    add_run_options(train, logger="csv")


COMMANDS = {"train": _train}
