"""Train the classifier of `shapes` that ships: `python benchmarks/train_shapes_classifier.py`.

One process, one thread, a few minutes. The weights differ in their last bits from machine to machine, so their digest
(part of what makes figures comparable) changes with them: retrain only when `shapes` itself changes.
"""

from __future__ import annotations

import sys
import time

import torch

from gan_ablate.data import load
from gan_ablate.evaluate.classifier import WEIGHTS, SmallCNN, accuracy_of, train
from gan_ablate.publishing import whole

SIZE, CHANNELS = 16, 3
BUDGET = 600_000  # ten passes over the training split


def main() -> int:
    """Train, measure on the test split, and write the weights only if over 99 % of it is classified rightly."""
    torch.set_num_threads(1)
    started = time.perf_counter()
    checkpoint = train(load("shapes", size=SIZE, channels=CHANNELS, split="train"), budget=BUDGET)
    test = load("shapes", size=SIZE, channels=CHANNELS, split="test")
    network = SmallCNN(SIZE, CHANNELS, len(test.classes)).eval()
    network.load_state_dict(checkpoint["state"])
    assert test.labels is not None
    accuracy = accuracy_of(network, test.images, test.labels)
    checkpoint["meta"] |= {"accuracy": accuracy, "measured_on": f"the test split's {len(test):,} images"}
    print(f"test accuracy {accuracy:.2%} on {len(test):,} images, {time.perf_counter() - started:.0f} s in all")
    if accuracy <= 0.99:
        print("not written: the accuracy has to be over 99 %", file=sys.stderr)
        return 1
    path = WEIGHTS / f"shapes-{SIZE}x{SIZE}x{CHANNELS}.pt"
    with whole(path) as file:
        torch.save(checkpoint, file)
    print(f"written: {path} ({path.stat().st_size / 1024:.0f} KiB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
