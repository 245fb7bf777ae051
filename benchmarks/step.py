"""Images per second of a DCGAN step: the suite's Lightning path against a bare PyTorch loop of the same networks.

    python benchmarks/step.py [--rounds 7] [--steps 40]

Variants run in turn within each round, so that a machine whose speed drifts slows all of them; the ratios are of each
round's times, and the median over rounds is printed with its range. Peak memory is each variant's own process.
"""

from __future__ import annotations

import argparse
import logging
import re
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path

import lightning
import torch
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from gan_ablate import DCGAN, GANDataModule
from gan_ablate.data.images import ImageSet, to_float
from gan_ablate.data.module import Batches

BATCH, WIDTH, WARMUP = 64, 32, 5
SETTINGS = {"28 px, grey": (28, 1), "32 px, colour": (32, 3)}
VARIANTS = ("bare fp32", "bare fp32 channels_last", "suite fp32", "bare bf16 channels_last", "suite bf16")
RATIOS = (
    ("suite fp32", "bare fp32 channels_last", "same precision and layout (target 0.90)"),
    ("suite bf16", "bare bf16 channels_last", "same precision and layout (target 0.90)"),
    ("suite bf16", "bare fp32", "the suite's defaults against plain PyTorch (target 1.20)"),
)


def images(size: int, channels: int) -> ImageSet:
    """4,096 images of noise: a step's cost does not depend on what is on them."""
    pixels = torch.randint(0, 256, (4096, channels, size, size), dtype=torch.uint8)
    return ImageSet(pixels, None, (), "noise", "")


def suite(size: int, channels: int, precision: str, steps: int) -> float:
    """Seconds per step of the LightningModule under a Trainer."""
    times: list[float] = []

    class Clock(lightning.Callback):
        def on_train_batch_end(self, *_: object) -> None:
            times.append(time.perf_counter())

    module = DCGAN(
        size=size, channels=channels, width=WIDTH, batch_size=BATCH, precision=precision, steps=steps + WARMUP
    )
    trainer = lightning.Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[Clock()],
    )  # fmt: skip
    trainer.fit(module, GANDataModule(images(size, channels), batch_size=BATCH, batches=steps + WARMUP))
    return (times[-1] - times[WARMUP - 1]) / steps


def bare(size: int, channels: int, precision: str, layout: torch.memory_format, steps: int) -> float:
    """Seconds per step of a plain loop: no Lightning, no tricks, no hooks."""
    built = DCGAN(size=size, channels=channels, width=WIDTH, batch_size=BATCH)
    g = built.generator.to(memory_format=layout)
    d = built.discriminator.to(memory_format=layout)
    g_adam, d_adam = (torch.optim.Adam(net.parameters(), 2e-4, (0.5, 0.999)) for net in (g, d))
    batches = Batches(images(size, channels).images, None, BATCH, 0)
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")
    ones, zeros = torch.ones(BATCH), torch.zeros(BATCH)
    for k in range(steps + WARMUP):
        if k == WARMUP:
            began = time.perf_counter()
        real = to_float(batches[k][0]).contiguous(memory_format=layout)
        with autocast:
            with torch.no_grad():
                fake = g(torch.randn(BATCH, built.latent_dim))
            d_loss = bce(d(real).logits, ones) + bce(d(fake).logits, zeros)
        d_adam.zero_grad()
        d_loss.backward()
        d_adam.step()
        for p in d.parameters():
            p.requires_grad_(False)
        with autocast:
            g_loss = bce(d(g(torch.randn(BATCH, built.latent_dim))).logits, ones)
        g_adam.zero_grad()
        g_loss.backward()
        g_adam.step()
        for p in d.parameters():
            p.requires_grad_(True)
    return (time.perf_counter() - began) / steps


def measure(variant: str, setting: str, steps: int) -> float:
    """Seconds per step of one variant."""
    size, channels = SETTINGS[setting]
    kind, precision, *layout = variant.split()
    if kind == "suite":
        return suite(size, channels, precision, steps)
    return bare(size, channels, precision, torch.channels_last if layout else torch.contiguous_format, steps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--only", nargs=2, metavar=("VARIANT", "SETTING"), help="one variant, to print its peak memory")
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    for name in ("lightning.pytorch", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    if args.only:
        measure(*args.only, args.steps)
        # not getrusage: its maximum is inherited from the process that started this one
        print(int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) // 1024)
        return
    for setting in SETTINGS:
        times: dict[str, list[float]] = {v: [] for v in VARIANTS}
        for _ in range(args.rounds):
            for variant in VARIANTS:
                times[variant].append(measure(variant, setting, args.steps))
        print(f"\n{setting}, width {WIDTH}, batch {BATCH}, one thread, {args.rounds} rounds of {args.steps} steps")
        for variant, seconds in times.items():
            command = [sys.executable, __file__, "--steps", "10", "--only", variant, setting]
            memory = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1]
            print(f"  {variant:26} {BATCH / statistics.median(seconds):8.0f} images/s   peak {memory} MiB")
        for ours, theirs, what in RATIOS:
            ratios = sorted(b / a for a, b in zip(times[ours], times[theirs], strict=True))
            span = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
            print(f"  {ours} / {theirs}: {span}  {what}")


if __name__ == "__main__":
    main()
