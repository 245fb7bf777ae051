"""`gan-ablate claims`: the registry and its verdicts, without torch; `gan-ablate measure`: figures of checkpoints."""

from __future__ import annotations

from typing import Any

from jsonargparse import Namespace

from gan_ablate.commands import add_trust, command, say
from gan_ablate.errors import InputError


def _claims(args: Namespace) -> int:
    from gan_ablate.claims import find, judge, registry, text
    from gan_ablate.report import load

    chosen = [find(args.id)] if args.id else list(registry().values())
    verdicts = {v.id: v for v in judge([load(root) for root in args.root])} if args.root else {}
    if args.json:
        from gan_ablate.store.publishing import to_json

        data = [text.as_data(claim, verdicts.get(claim.id)) for claim in chosen]
        print(to_json(data[0] if args.id else data).decode(), end="")
    elif args.id:
        say(text.one(chosen[0], verdicts.get(args.id)))
    else:
        say(text.listing(chosen, verdicts))
    return 0


def _measure(args: Namespace) -> int:
    from gan_ablate.claims.measuring import FILE, jobs, joined
    from gan_ablate.report import load
    from gan_ablate.store.publishing import publish, refusing, to_json
    from gan_ablate.store.store import Store

    todo = list(jobs(load(args.root), args.all))
    if not todo:
        print(f"{args.root}: no checkpoint is left to measure for the claims")
        return 0
    from gan_ablate.run.measure import checkpoint  # torch

    store, failures = Store.open(args.root), 0
    for k, job in enumerate(todo, 1):
        head = f"[{k}/{len(todo)}] {job.name}"
        with store.claim(job.run.folder.name) as held:
            if held is None:
                say(f"{head}: another process holds this run, left alone")
                continue
            try:
                found = checkpoint(
                    job.checkpoint,
                    metrics=job.metrics,
                    data_root=args.data_root,
                    weights=args.weights,
                    device=args.device,
                )
            except InputError as error:
                say(f"{head}: not measured: {error}")
                failures += 1
                continue
            with refusing(held.folder):
                publish(held.folder / FILE, to_json(joined(held.folder, found)))
        say(f"{head}: " + ", ".join(f"{n} {v:.4g}" for n, v in found["metrics"].items()))
    return int(failures > 0)


def add(subcommands: Any) -> None:
    claims = command(
        subcommands,
        "claims",
        "The published claims that the suite puts to the test, and what a sweep's data say of them.",
        "gan-ablate claims arch.bn --root runs/claims --root runs/norms",
    )
    claims.add_argument("id", nargs="?", default="", help="one claim, with its evidence")
    claims.add_argument("--root", action="append", default=[], help="root of a sweep; give several to join their data")
    claims.add_argument("--json", action="store_true", help="as JSON, for other programs")

    measure = command(
        subcommands,
        "measure",
        "Measure the checkpoints of a sweep for the claims that need it; goes on where it was stopped.",
        "gan-ablate measure runs/claims",
    )
    measure.add_argument("root")
    measure.add_argument("--all", action="store_true", help="also what arms of the study can answer")
    measure.add_argument("--device", default="cpu", help="cpu or cuda")
    measure.add_argument("--data-root", default=None, help="where torchvision's dataset files lie")
    measure.add_argument("--weights", default=None, help="path of Inception's weights file")
    add_trust(measure, "a run's recipe")


COMMANDS = {"claims": _claims, "measure": _measure}
