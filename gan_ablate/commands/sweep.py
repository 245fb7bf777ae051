"""`gan-ablate sweep` trains every cell of a study that is not done yet, on this machine or on a Slurm cluster."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace

from gan_ablate.commands import add_run_options, add_study, add_trust, command, run_options, say
from gan_ablate.errors import InputError, unknown
from gan_ablate.recipe import BASE
from gan_ablate.study.budgets import at
from gan_ablate.trust import trust_typed

AUTO = "auto"  # of --per-gpu

if TYPE_CHECKING:
    from gan_ablate.recipe import Recipe
    from gan_ablate.study.cells import Expansion
    from gan_ablate.study.seed_plan import SeedPlan
    from gan_ablate.study.study import Study
    from gan_ablate.sweep.way import Way

EXECUTORS = ("local", "slurm")
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
OVERRIDES = {  # option -> what stands after "in place of the study's"
    "seeds": ": seeds 0 to N-1",
    "steps": ": G steps, all models",
    "samples": ": per evaluation",
    "size": " size",
    "width": " width",
    "batch_size": " batch_size",
}
SLURM_HELP = {  # option -> type, help
    "partition": (str, "partition of the cluster"),
    "time": (int, "minutes of a job; it is queued again and goes on when they are over (default 60)"),
    "gpus_per_node": (int, "GPUs of a job"),
    "cpus_per_task": (int, "cores of a job"),
    "mem_gb": (float, "memory of a job in GB"),
    "array_parallelism": (int, "jobs at a time (default 32)"),
    "runs_per_job": (int, "runs that share the start-up of a job (default 8)"),
    "account": (str, "account to charge"),
    "qos": (str, "quality of service"),
    "constraint": (str, "features that a node must have"),
    "exclude": (str, "nodes to keep away from"),
    "signal_delay": (int, "seconds before the time limit at which runs write a checkpoint (default 120)"),
    "max_timeouts": (int, "how often a job is queued again at its time limit (default 20)"),
}
SLURM_LISTS = {
    "setup": "a shell line to run in the job first, as 'module load cuda'; may be repeated",
    "sbatch": "any other option of sbatch, as nice=100; may be repeated",
}


def budget(text: str) -> dict[str, Any]:
    """The fields of `Way` for `2h` or `800runs`; none for an empty text. Raises `InputError`."""
    if not text:
        return {}
    if found := re.fullmatch(r"(\d+) ?runs?", text.strip()):
        if not int(found[1]):
            raise InputError(
                f"--budget {text!r}: a budget of nothing: write a time as 2h, or a number of runs as 800runs"
            )
        return {"budget_runs": int(found[1])}
    try:
        return {"budget_seconds": duration(text)}
    except InputError:
        raise InputError(f"--budget {text!r}: write a time as 30m or 2h, or a number of runs as 800runs") from None


def duration(text: str) -> float:
    """Seconds of `90`, `90s`, `30m`, `2h` or `1d`. Raises `InputError`.

    >>> duration("1.5h")
    5400.0
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text.strip())
    if not found or not float(found[1]):
        raise InputError(f"--time-limit {text!r}: write a time as 90s, 30m, 2h or 1d")
    return float(found[1]) * UNITS[found[2] or "s"]


def _slurm_options(args: Namespace) -> Any:
    """`SlurmOptions`, or None for the local pool. Raises `InputError`."""
    from gan_ablate.sweep.slurm import SlurmOptions

    if args.executor not in EXECUTORS:
        raise unknown("--executor", args.executor, EXECUTORS)
    given: dict[str, Any] = {
        f.name: args.slurm[f.name] for f in fields(SlurmOptions) if args.slurm[f.name] not in (None, [])
    }
    if args.executor == "slurm":
        lists: dict[str, Any] = {name: tuple(args.slurm[name]) for name in SLURM_LISTS}
        return SlurmOptions(**{**given, **lists})
    for name, flag in ((next(iter(given), ""), "--slurm."), ("no_wait" if args.no_wait else "", "--")):
        if name:
            raise InputError(f"{flag}{name.replace('_', '-')} is for --executor slurm")
    return None


def _sweep(args: Namespace) -> int:
    from gan_ablate.findings.stages import describe_stages, open_stages
    from gan_ablate.study.study import expand, load_study, override, select_runs
    from gan_ablate.sweep.pool import sweep
    from gan_ablate.sweep.prepare import refuse_part
    from gan_ablate.sweep.slurm import sweep_on_slurm

    check_way(args)
    _refuse_archives(args.study, args.root)
    slurm = _slurm_options(args)
    changes: dict[str, Any] = {name: args[name] for name in OVERRIDES if args[name] is not None}
    for name in ("models", "arms"):
        if args[name]:
            changes[name] = [part.strip() for part in args[name].split(",") if part.strip()]
    for name in (*changes.get("models", ()), *(arm.partition(":")[0] for arm in changes.get("arms", ()))):
        trust_typed(name)
    study = load_study(args.study)
    study = override(study, **changes) if changes else study
    root = args.root or f"runs/{study.name}"
    expansion = expand(study)
    only = args.only or None
    if only:
        refuse_part(study)
    way = read_way(args, study.name, time_limit=duration(args.time_limit) if args.time_limit else None)
    if args.dry_run:
        chosen = select_runs(expansion.recipes, only) if only else None
        workers = slurm.array_parallelism * (args.workers or 1) if slurm else len(way.places())
        parts = (
            _tuned(study, expansion, root, workers) if study.tune else _plain(study, expansion, root, workers, chosen)
        )
        say("\n".join(parts))
        return 0
    more: dict[str, Any] = {"only": only, "expansion": expansion, "retry_failed": args.retry_crashed}
    if slurm:
        if args.budget:
            raise InputError("--budget: is for runs on this machine, not for --executor slurm")
        summary = sweep_on_slurm(study, root, way=way, options=slurm, wait=not args.no_wait, **more)
        if args.no_wait:
            print(f"{summary.skipped} done before, {summary.left} with Slurm; the same command looks after them")
            return 0
    else:
        summary = sweep(study, root, **vars(way), **more)
    hint = f"the same command goes on from here; gan-ablate report {root} shows what there is"
    print(f"{summary.in_words}; {hint}" if summary.left else summary.in_words)
    for line in describe_stages(open_stages(root)):
        say(line)
    return summary.exit_code


def check_way(args: Namespace) -> None:
    """Raises `InputError` for numbers of workers, threads and runs per GPU that cannot be."""
    for name in ("workers", "threads"):
        if args[name] < 0:
            raise InputError(f"--{name} {args[name]}: needs a whole number of at least 0")
    if args.per_gpu != AUTO and not (args.per_gpu.isdecimal() and int(args.per_gpu) > 0):
        raise InputError(f"--per-gpu {args.per_gpu}: needs a whole number of at least 1, or auto")


def read_way(args: Namespace, group: str, time_limit: float | None = None) -> Way:
    """How runs are carried out on this machine, from the options. group: their W&B project. Raises `InputError`."""
    from gan_ablate.sweep.way import Way

    return Way(
        workers=args.workers or None,
        threads=args.threads or None,
        per_gpu=None if args.per_gpu == AUTO else int(args.per_gpu),
        time_limit=time_limit,
        **budget(args.budget),
        options={**run_options(args), "group": group},
    )


def add_way_options(command: Any) -> None:
    """The options that `read_way` reads, but for those of the runs themselves."""
    command.add_argument("--workers", type=int, default=0, help="runs at a time (0: one per core or GPU slot)")
    command.add_argument("--per-gpu", default="1", help="runs at a time on each GPU, or auto: by a short trial")
    command.add_argument(
        "--threads", type=int, default=0, help="of each run (0: its part of the cores, or 1 without GPU)"
    )
    command.add_argument(
        "--budget", default="", help="end after so long (2h) or so many runs (800runs); the same command goes on"
    )


def _refuse_archives(*paths: str) -> None:
    """Raises `InputError` where a study or a root is an archive of `gan-ablate pack`."""
    for path in paths:
        if zipfile.is_zipfile(path):
            raise InputError(f"{path}: nothing can be trained in an archive: gan-ablate unpack {path} --out ROOT first")


def _plain(
    study: Study, expansion: Expansion, root: str, workers: int, chosen: Sequence[Recipe] | None
) -> Iterator[str]:
    """The runs of a study that is not tuned: its looks and its second budget where it has them."""
    from gan_ablate.sweep import display

    yield display.matrix(expansion, root, workers=workers, chosen=chosen)
    if study.seed_plan:
        yield _plan(expansion.recipes, study.seed_plan)
    if study.budgets:
        yield _second(expansion, study, root)


def _tuned(study: Study, expansion: Expansion, root: str, workers: int) -> Iterator[str]:
    """The two parts of a tuned study."""
    from gan_ablate.sweep import display
    from gan_ablate.sweep.tuning import TunedReleases

    assert study.tune is not None
    found = TunedReleases(Path(root), expansion, study.tune, study.seed_plan)
    settings = len(list(study.tune.points()))
    yield f"first, tuning: {settings} settings of each arm, {study.tune.seeds} seeds each: {study.tune.written()}"
    trials = replace(expansion, recipes=found.trials, not_applicable=())
    yield f"{display.matrix(trials, root, workers=workers)}\n"
    yield "then, judged: each arm at its best setting, once all tuning runs of its model are finished"
    judged = found.planned()
    yield display.matrix(replace(expansion, recipes=judged), root, workers=workers)
    if study.seed_plan:
        yield _plan(judged, study.seed_plan)


def _plan(recipes: Sequence[Recipe], plan: SeedPlan) -> str:
    """The looks of an adaptive study as two lines."""
    from gan_ablate.sweep.releases import least_and_most

    least, most = least_and_most(recipes, plan)
    arms = [sum(r.arm != BASE and a <= r.seed < b for r in recipes) for a, b in pairwise((0, *plan.looks))]
    looks = ", ".join(f"at {n} seeds (weight {w:.2g})" for n, w in zip(plan.looks, plan.weights, strict=True))
    return (
        f"adaptive: base has {plan.base} seeds; arms are looked at {looks} and stop once they are decided\n"
        f"{least} runs at the least, {most} at the most; each look's runs of arms: at most {', '.join(map(str, arms))}"
    )


def _second(expansion: Expansion, study: Study, root: str) -> str:
    """The second budget as a line."""
    from gan_ablate.store.store import Store

    assert study.budgets is not None
    always = {BASE, *study.budgets.also}
    first = study.seed_plan.looks[0] if study.seed_plan else len(study.seeds)
    firm = [r for r in expansion.longer if r.arm in always and (r.arm == BASE or r.seed in study.seeds[:first])]
    done = sum(Store(Path(root)).finished(r.run_id) is not None for r in expansion.longer)
    also = "".join(f", {arm}" for arm in study.budgets.also)
    return (
        f"then{at(expansion.budget)}: base{also}, and arms that help, rescue or fail more: {len(firm)} runs at the "
        f"least, {len(expansion.longer)} at the most, {done} of them finished"
    )


def add(subcommands: Any) -> None:
    sweep = command(
        subcommands,
        "sweep",
        "Train every cell of a study that is not done yet.",
        "gan-ablate sweep sweeps/smoke.yaml --root runs/smoke",
    )
    add_study(sweep, "where its runs are kept")
    add_way_options(sweep)
    sweep.add_argument(
        "--time-limit", default="", help="of one try of a run: 90s, 30m, 2h; tried twice, then recorded as crashed"
    )
    sweep.add_argument("--dry-run", action="store_true", help="print the matrix of runs and leave")
    sweep.add_argument("--only", action="append", default=[], metavar="PATTERN", help="e.g. dcgan/*/0; may be repeated")
    sweep.add_argument("--retry-crashed", action="store_true", help="train runs again that are recorded as crashed")
    sweep.add_argument("--models", default="", help="of the study's models, these: dcgan,wgan_gp")
    sweep.add_argument("--arms", default="", help="of the study's arms, these: label_smoothing,n_critic")
    for name, text in OVERRIDES.items():
        sweep.add_argument(f"--{name.replace('_', '-')}", type=int, default=None, help=f"in place of the study's{text}")
    sweep.add_argument("--executor", default="local", help="local or slurm (docs/slurm.md)")
    sweep.add_argument("--no-wait", action="store_true", help="with slurm: submit and leave")
    for name, (kind, text) in SLURM_HELP.items():
        sweep.add_argument(f"--slurm.{name.replace('_', '-')}", type=kind, default=None, help=text)
    for name, text in SLURM_LISTS.items():
        sweep.add_argument(f"--slurm.{name}", action="append", default=[], metavar="TEXT", help=text)
    add_run_options(sweep, logger="none")
    add_trust(sweep, "the study")


COMMANDS = {"sweep": _sweep}
