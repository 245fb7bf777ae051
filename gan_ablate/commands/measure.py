"""`gan-ablate evaluate` measures a generator or a folder of images; `gan-ablate sample` draws images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from gan_ablate.commands import add_files, add_trust, command, importing, say
from gan_ablate.errors import InputError
from gan_ablate.trust import trust_typed


def _sample(args: Namespace) -> int:
    if args.count < 1:
        raise InputError(f"--count {args.count}: needs at least 1")
    with importing():
        from gan_ablate.run.measure import sample

    print(sample(Path(args.checkpoint), args.count, args.seed, Path(args.out)))
    return 0


def _evaluate(args: Namespace) -> int:
    if args.samples < 0 or args.samples == 1 or args.size < 0:
        raise InputError(f"--samples {args.samples}, --size {args.size}: give 2 samples or more, and a size over 0")
    with importing():
        from gan_ablate.run import measure

    trust_typed(args.extractor)
    shared = {
        "samples": args.samples or None,
        "metrics": [name.strip() for name in args.metrics.split(",") if name.strip()],
        "data_root": args.data_root,
        "weights": args.weights,
    }
    if args.generated:
        size, extractor = args.size or None, args.extractor or "inception"
        paths = Path(args.real), Path(args.generated)
        found = measure.folders(*paths, size=size, channels=args.channels, extractor=extractor, **shared)
    else:
        found = measure.checkpoint(Path(args.real), extractor=args.extractor or None, seed=args.seed, **shared)
    if args.json:
        print(json.dumps(found, indent=1))
        return 0
    for key, value in found["metrics"].items():
        say(f"{found['labels'].get(key, key)}: {value:.5g}")
    say(f"{found['samples']} samples against {found['real_images']} images of {found['real']}; {found['extractor']}")
    if "note" in found:
        say(f"note: {found['note']}")
    return 0


def add(subcommands: Any) -> None:
    evaluate = command(
        subcommands,
        "evaluate",
        "Measure a checkpoint's samples, or a folder or zip of images against another.",
        "gan-ablate evaluate runs/train/runs/<run>/checkpoints/last.ckpt --metrics fid,kid,interpolation",
    )
    evaluate.add_argument("real", help="a checkpoint; or the real images: a folder, a zip or the name of a dataset")
    evaluate.add_argument("generated", nargs="?", default="", help="the generated images: a folder or a zip")
    evaluate.add_argument("--metrics", default="", help="fid,kid,cmmd,is,prdc,modes,memorisation,fid_infinity,"
                          "checkerboard, and for a checkpoint interpolation,sampling,optimum "
                          "(default: the quick ones)")  # fmt: skip
    evaluate.add_argument("--extractor", default="", help="auto, classifier, rotation, inception, inception_clean, "
                          "dinov2, clip or module:attribute of your own "
                          "(default: the checkpoint's, or inception)")  # fmt: skip
    evaluate.add_argument("--samples", type=int, default=0, help="generated images (0: the checkpoint's plan, or all)")
    evaluate.add_argument("--size", type=int, default=0, help="pixels that two folders are brought to")
    evaluate.add_argument("--channels", type=int, default=3, help="1 or 3, of two folders")
    evaluate.add_argument("--seed", type=int, default=0, help="of z")
    evaluate.add_argument("--json", action="store_true", help="print all of it as JSON")
    add_files(evaluate)

    sample = command(
        subcommands,
        "sample",
        "Draw a grid of images from a checkpoint.",
        "gan-ablate sample runs/train/runs/<run>/checkpoints/last.ckpt --out grid.png",
    )
    sample.add_argument("checkpoint")
    sample.add_argument("--count", type=int, default=64, help="images")
    sample.add_argument("--seed", type=int, default=0, help="of z")
    sample.add_argument("--out", default="samples.png", help="the PNG to write")
    for each in (evaluate, sample):
        add_trust(each, "the checkpoint")


COMMANDS = {"evaluate": _evaluate, "sample": _sample}
