"""Train the classifiers that ship: of `digits`, `shapes` and `voxels` at 16 px, and of the real MNIST at 28 px.

    python benchmarks/train_shipped_classifiers.py digits
    python benchmarks/train_shipped_classifiers.py shapes
    python benchmarks/train_shipped_classifiers.py voxels
    python benchmarks/train_shipped_classifiers.py mnist --data-root DATA

One process, one thread, a few minutes each. The weights differ in their last bits from machine to machine, so their
digest (part of what makes figures comparable) changes with them: retrain only when the images themselves change.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import NamedTuple

import torch

from gan_ablate.data import load
from gan_ablate.evaluate.classifier import WEIGHTS, SmallCNN, accuracy_of, train
from gan_ablate.publishing import whole


class Shipped(NamedTuple):
    size: int
    channels: int
    budget: int  # images seen in training: some ten passes over the training split
    half: bool = False  # whether weights are kept in half precision, so that the file stays under a megabyte


SETS = {
    "digits": Shipped(16, 1, 600_000),
    "shapes": Shipped(16, 3, 600_000),
    "mnist": Shipped(28, 1, 600_000),
    "voxels": Shipped(16, 1, 40_000, half=True),  # two passes: after less than one it reads over 99 % rightly
}


def main() -> int:
    """Train, measure on the test split, and write the weights only if over 99 % of it is classified rightly."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=SETS)
    parser.add_argument("--data-root", help="where MNIST's files lie")
    args = parser.parse_args()
    torch.set_num_threads(1)
    started, chosen = time.perf_counter(), SETS[args.name]
    shape = {"size": chosen.size, "channels": chosen.channels, "data_root": args.data_root}
    checkpoint = train(load(args.name, split="train", **shape), budget=chosen.budget)
    if chosen.half:
        state = checkpoint["state"]
        checkpoint["state"] = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    test = load(args.name, split="test", **shape)
    network = SmallCNN(chosen.size, chosen.channels, len(test.classes), test.images.ndim - 2).eval()
    network.load_state_dict(checkpoint["state"])
    assert test.labels is not None
    accuracy = accuracy_of(network, test.images, test.labels)
    checkpoint["meta"] |= {"accuracy": accuracy, "measured_on": f"the test split's {len(test):,} images"}
    print(f"test accuracy {accuracy:.2%} on {len(test):,} images, {time.perf_counter() - started:.0f} s in all")
    if accuracy <= 0.99:
        print("not written: the accuracy has to be over 99 %", file=sys.stderr)
        return 1
    path = WEIGHTS / f"{args.name}-{'x'.join(map(str, test.images.shape[2:]))}x{chosen.channels}.pt"
    with whole(path) as file:
        torch.save(checkpoint, file)
    print(f"written: {path} ({path.stat().st_size / 1024:.0f} KiB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
