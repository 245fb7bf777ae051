"""`gan-ablate claims` shows the registry and its verdicts, without torch; `gan-ablate measure` measures checkpoints."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace

from gan_ablate.commands import add_files, add_trust, command, say
from gan_ablate.errors import InputError

if TYPE_CHECKING:
    from gan_ablate.claims import Claim, Contrast, Evidence, Verdict


def _claims(args: Namespace) -> int:
    from gan_ablate.claims import find_claim, judge, registry
    from gan_ablate.results.frames import load
    from gan_ablate.store.unpack import opened

    chosen = [find_claim(args.id)] if args.id else list(registry().values())
    with opened(args.root) as roots:  # logs are read only once a test asks for them
        verdicts = {v.id: v for v in judge([load(root) for root in roots])} if roots else {}
    if args.json:
        from gan_ablate.publishing import to_json

        data = [_as_data(claim, verdicts.get(claim.id)) for claim in chosen]
        print(to_json(data[0] if args.id else data).decode(), end="")
    else:
        say("\n".join(_one(chosen[0], verdicts.get(args.id)) if args.id else _listing(chosen, verdicts)))
    return 0


def _listing(claims: Iterable[Claim], verdicts: Mapping[str, Verdict]) -> Iterator[str]:
    """All claims: id, statement, contrasts, and the verdict where there are roots."""
    from gan_ablate.claims import VERDICTS

    for claim in claims:
        yield f"{claim.id}  {claim.statement}"
        yield f"    {'; '.join(dict.fromkeys(map(_contrast, claim.contrasts)))}"
        if claim.id in verdicts:
            verdict = verdicts[claim.id]
            yield f"    {verdict.verdict.upper()}: {verdict.summary.split(': ', 1)[-1]}"
    yield ""
    if verdicts:
        held = [v.verdict for v in verdicts.values()]
        counts = ", ".join(f"{held.count(word)} {word}" for word in VERDICTS if word in held)
        yield f"{counts}; Holm's correction over {next(iter(verdicts.values())).tests} tests"
    else:
        yield "`gan-ablate claims ID` shows one; `--root ROOT` gives the verdicts from a sweep's data"


def _contrast(contrast: Contrast) -> str:
    """Such as `D N: base v saturating (FID lower)`."""
    from gan_ablate.claims.measures import MEASURES

    where = " ".join(contrast.models) + (f" v {' '.join(contrast.against)}" if contrast.against else "")
    label = MEASURES[contrast.measure].label
    if contrast.expects == "near":
        return f"{where}: {label} near its null (within {contrast.margin:g})"
    if contrast.treatment == "*":
        return f"{where}: {label}, all arms"
    margin = f" within a ratio of {contrast.margin:g}" if contrast.margin else ""
    return f"{where}: {contrast.label} ({label} {contrast.expects}{margin})"


def _one(claim: Claim, verdict: Verdict | None) -> Iterator[str]:
    """One claim with its evidence."""
    from gan_ablate.claims.claim import RULES

    yield claim.id
    yield f"  {claim.statement}"
    yield f"  source: {claim.cited}"
    for contrast in claim.contrasts:
        yield f"  contrast: {_contrast(contrast)}{' (where the ones before have no data)' * contrast.fallback}"
    yield f"  rule: {RULES[claim.rule]}"
    yield f"  study: {claim.study}"
    if claim.proof:
        yield f"  proof: {claim.proof}"
    if verdict is None:
        yield "  `--root ROOT` gives the verdict from a sweep's data"
        return
    yield f"  verdict: {verdict.verdict}"
    yield f"    {verdict.summary}"
    for e in verdict.evidence:
        yield ""
        yield from _evidence(e)


def _evidence(e: Evidence) -> Iterator[str]:
    from gan_ablate.claims.verdict import missed
    from gan_ablate.formatting import interval, number, p_value, rate

    head = f"  {e.model}" + (f" on {e.dataset}" if e.dataset else "") + (f" ({e.study})" if e.study else "")
    yield f"{head}: {e.contrast}, {e.measure}, claimed {e.expects}: {e.says}"
    if not math.isnan(e.effect.point):
        tested = f", p {p_value(e.p)}, after Holm {p_value(e.p_holm)}" if not math.isnan(e.p) else ""
        yield f"    {e.scale} {interval(e.effect)}{tested}, n {e.n[0]}" + (f" and {e.n[1]}" if e.n[1] else "")
    if e.says == "open" and not math.isnan(e.smallest_missed):
        yield f"    {missed(e)}"
    if e.study:
        sides = 1 if math.isnan(e.failures[1].point) else 2
        failures = " v ".join(map(rate, e.failures[:sides]))
        modes, volatility = (" v ".join(map(number, pair[:sides])) for pair in (e.coverage, e.volatility))
        yield f"    failures {failures}, modes {modes}, volatility {volatility}"
    if e.note:
        yield f"    note: {e.note}"


def _as_data(claim: Claim, verdict: Verdict | None) -> dict[str, Any]:
    """One claim as plain data, with its verdict where there is one."""
    keys = ("id", "statement", "source", "paper", "contrasts", "rule", "study", "proof")
    data = {k: v for k, v in dataclasses.asdict(claim).items() if k in keys}
    if verdict is None:
        return data
    found = dataclasses.asdict(verdict)
    data |= {k: found[k] for k in ("verdict", "summary", "smallest_missed", "tests", "evidence")}
    for row, e in zip(data["evidence"], verdict.evidence):
        row["effect"] = e.effect._asdict()
        row["failures"] = [failed._asdict() for failed in e.failures]
    return data


def _measure(args: Namespace) -> int:
    from gan_ablate.claims.checkpoints import FILE, jobs, joined
    from gan_ablate.publishing import publish, refusing, to_json
    from gan_ablate.results.frames import load
    from gan_ablate.store.store import Store

    todo = list(jobs(load(args.root), args.all))
    if not todo:
        print(f"{args.root}: no checkpoint is left to measure for the claims")
        return 0
    from gan_ablate.run.measure import checkpoint  # torch

    store, failures = Store.open(args.root), 0
    where = {name: args[name] for name in ("data_root", "weights", "device")}
    for k, job in enumerate(todo, 1):
        head = f"[{k}/{len(todo)}] {job.name}"
        with store.claim(job.run.folder.name) as held:
            if held is None:
                say(f"{head}: another process holds this run, left alone")
                continue
            try:
                found = checkpoint(job.checkpoint, metrics=job.metrics, **where)
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
    add_files(measure)
    add_trust(measure, "a run's recipe")


COMMANDS = {"claims": _claims, "measure": _measure}
