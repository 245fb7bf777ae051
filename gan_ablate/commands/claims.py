"""`gan-ablate claims` shows the registry and its verdicts, without torch; `gan-ablate measure` measures checkpoints."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
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

    ids, given = _sorted(args.what)
    chosen = [find_claim(name) for name in ids] or list(registry().values())
    if args.out and not given:
        raise InputError("--out: give the roots whose data the claims are held against")
    with opened(given) as roots:  # logs are read only once a test asks for them
        loaded = [load(root) for root in roots]
        verdicts = {v.id: v for v in judge(loaded)} if roots else {}
    if args.out:
        print(_write(args.out, [verdicts[claim.id] for claim in chosen], [one.name for one in loaded]))
    elif args.json:
        from gan_ablate.publishing import to_json

        data = [_as_data(claim, verdicts.get(claim.id)) for claim in chosen]
        print(to_json(data[0] if len(ids) == 1 else data).decode(), end="")
    elif ids:
        say("\n".join(line for claim in chosen for line in _one(claim, verdicts.get(claim.id))))
    else:
        say("\n".join(_listing(chosen, verdicts)))
    return 0


def _sorted(words: Iterable[str]) -> tuple[list[str], list[str]]:
    """Ids of claims, and roots: what looks like an id and is no file is one, so that it can be refused by name."""
    from gan_ablate.claims import registry

    groups = {name.partition(".")[0] for name in registry()}
    words = list(dict.fromkeys(words))
    ids = [w for w in words if w.partition(".")[0] in groups and "." in w and not os.path.exists(w)]
    return ids, [w for w in words if w not in ids]


def _write(path: str, found: list[Verdict], studies: list[str]) -> str:
    """The page of the claims as Markdown; returns its path."""
    from gan_ablate.publishing import put, refusing
    from gan_ablate.report import markdown
    from gan_ablate.report.claims import document
    from gan_ablate.report.section import Names
    from gan_ablate.report.write import encoded

    page = document(found, list(dict.fromkeys(studies)))
    with refusing(path, any_error=True):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        put(Path(path), encoded(markdown.text(page, Names(page.defined()))))
    return path


def _listing(claims: Iterable[Claim], verdicts: Mapping[str, Verdict]) -> Iterator[str]:
    """All claims: id, statement, contrasts, and the verdict where there are roots."""
    from gan_ablate.claims import VERDICTS

    for claim in claims:
        yield f"{claim.id}  {claim.statement}"
        yield f"    {'; '.join(dict.fromkeys(map(_contrast, claim.contrasts)))}"
        if claim.id in verdicts:
            verdict = verdicts[claim.id]
            certain = ", certain" * verdict.certain
            yield f"    {verdict.verdict.upper()}{certain}: {verdict.summary.split(': ', 1)[-1]}"
            if verdict.settles:
                yield f"    to settle it: {verdict.settles}"
    yield ""
    if verdicts:
        held = [v.verdict for v in verdicts.values()]
        counts = ", ".join(f"{held.count(word)} {word}" for word in VERDICTS if word in held)
        tests = next(iter(verdicts.values())).tests
        yield f"{counts}; {tests} tests: Benjamini-Hochberg at 5 %, certain: by Holm's correction too"
    else:
        yield "`gan-ablate claims ID` shows one; `gan-ablate claims ROOT` gives the verdicts from a sweep's data"


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
        yield f"  `gan-ablate claims {claim.id} ROOT` gives the verdict from a sweep's data"
        return
    yield f"  verdict: {verdict.verdict}" + ", certain" * verdict.certain
    yield f"    {verdict.summary}"
    if len(verdict.datasets) > 1:
        each = (f"{d.dataset}: {d.verdict}" + ", certain" * d.certain for d in verdict.datasets)
        yield f"    {'; '.join(each)}"
    if verdict.settles:
        yield f"  to settle it: {verdict.settles}"
    for e in verdict.evidence:
        yield ""
        yield from _evidence(e)


def _evidence(e: Evidence) -> Iterator[str]:
    from gan_ablate.claims.sentence import missed
    from gan_ablate.formatting import interval, number, p_value, rate

    head = f"  {e.model}" + (f" on {e.dataset}" if e.dataset else "") + (f" ({e.study})" if e.study else "")
    yield f"{head}: {e.contrast}, {e.measure}, claimed {e.expects}: {e.says}" + ", certain" * e.certain
    if not math.isnan(e.effect.point):
        tested = f", p {p_value(e.p)}, q {p_value(e.q)}" if not math.isnan(e.p) else ""
        tested += f", of the same q {p_value(e.q_same)}" if e.says == "same" else ""
        yield f"    {e.scale} {interval(e.effect)}{tested}, n {e.n[0]}" + (f" and {e.n[1]}" if e.n[1] else "")
    if e.says == "open" and not math.isnan(e.smallest_missed):
        yield f"    {missed(e)}"
    if e.study:
        sides = 1 if math.isnan(e.failures[1].point) else 2
        failures = " v ".join(map(rate, e.failures[:sides]))
        modes, volatility = (" v ".join(map(number, pair[:sides])) for pair in (e.coverage, e.volatility))
        yield f"    failures {failures}, modes {modes}, volatility {volatility}"
    if not e.counts:
        yield f"    does not count: {e.in_its_place} has the same test where both sides chose their settings"
    if e.told or e.note:
        yield f"    note: {'; '.join(filter(None, (e.told, e.note)))}"


def _as_data(claim: Claim, verdict: Verdict | None) -> dict[str, Any]:
    """One claim as plain data, with its verdict where there is one."""
    keys = ("id", "statement", "source", "paper", "contrasts", "rule", "study", "proof")
    data = {k: v for k, v in dataclasses.asdict(claim).items() if k in keys}
    if verdict is None:
        return data
    found = dataclasses.asdict(verdict)
    data |= {k: found[k] for k in ("verdict", "certain", "summary", "settles", "smallest_missed", "tests", "evidence")}
    data["datasets"] = [d._asdict() for d in verdict.datasets]
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
        "gan-ablate claims runs/ablation runs/norms",
    )
    claims.add_argument(
        "what", nargs="*", metavar="ID|ROOT", help="claims, each with its evidence (default: all); roots of sweeps"
    )
    claims.add_argument("--out", default=None, metavar="FILE.md", help="write every claim and its verdict to a page")
    claims.add_argument("--json", action="store_true", help="as JSON, for other programs")

    measure = command(
        subcommands,
        "measure",
        "Measure the checkpoints of a sweep for the claims that need it; goes on where it was stopped.",
        "gan-ablate measure runs/ablation",
    )
    measure.add_argument("root")
    measure.add_argument("--all", action="store_true", help="also what arms of the study can answer")
    measure.add_argument("--device", default="cpu", help="cpu or cuda")
    add_files(measure)
    add_trust(measure, "a run's recipe")


COMMANDS = {"claims": _claims, "measure": _measure}
