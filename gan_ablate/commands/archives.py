"""`gan-ablate pack` makes one small file of a root, `gan-ablate unpack` a root of such a file, without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from gan_ablate.commands import command, say


def _pack(args: Namespace) -> int:
    from gan_ablate.report.arm_pages import pictures
    from gan_ablate.report.study import study
    from gan_ablate.results.frames import load
    from gan_ablate.store.gc import in_words
    from gan_ablate.store.pack import pack, write
    from gan_ablate.store.unpack import opened

    with opened([args.root]) as (root,):
        loaded = load(root)
        shown = pictures(study(loaded, loaded.name, 0, partial=False))
        data = pack(loaded.files, shown)
    write(Path(args.out), data)
    tuned = sum(bool(run.record) for run in loaded.tuning)
    finished = f"{len(loaded.records) + tuned} of {len(loaded.runs) + len(loaded.tuning)} runs finished"
    say(f"{args.out}: {in_words(len(data))}, {finished}, {len(shown)} sample grids")
    return 0


def _unpack(args: Namespace) -> int:
    from gan_ablate.store.unpack import unpack

    runs = unpack(args.archive, args.out)
    say(f"{args.out}: {runs} runs; a sweep of its study with --root {args.out} goes on from there")
    return 0


def add(subcommands: Any) -> None:
    pack = command(
        subcommands,
        "pack",
        "Write study, results, logs and the report's sample grids of a root into one small file, without checkpoints.",
        "gan-ablate pack runs/ablation --out reports/ablation/results.zip",
    )
    pack.add_argument("root")
    pack.add_argument("--out", required=True, metavar="FILE.zip", help="the archive, new or an older one to replace")
    unpack = command(
        subcommands,
        "unpack",
        "Make a root of an archive, to go on sweeping in; report and others read the archive itself.",
        "gan-ablate unpack reports/ablation/results.zip --out runs/ablation",
    )
    unpack.add_argument("archive", metavar="FILE.zip")
    unpack.add_argument("--out", required=True, metavar="ROOT", help="a new folder")


COMMANDS = {"pack": _pack, "unpack": _unpack}
