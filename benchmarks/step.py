"""Images per second of a DCGAN step: the suite's Lightning path against a bare PyTorch loop of the same networks.

    python benchmarks/step.py [--rounds 7] [--steps 40] [--settings study]

`suite` plays many rounds in a call of `training_step`, as runs do; `suite eager` one batch a call, as Lightning has it.
All use fused Adam, one thread.
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
from typing import NamedTuple

import lightning
import torch
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from gan_ablate import DCGAN, GANDataModule
from gan_ablate.data.images import ImageSet, to_float
from gan_ablate.data.module import Batches

WARMUP = 5
STUDY_STEPS = 1600  # of a run of sweeps/ablation.yaml: training health is recorded as often as there


class Setting(NamedTuple):
    size: int
    channels: int
    width: int
    batch: int


SETTINGS = {"study": Setting(16, 3, 24, 20), "grey": Setting(28, 1, 32, 64), "colour": Setting(32, 3, 32, 64)}
VARIANTS = (
    "bare fp32", "bare fp32 channels_last", "suite fp32", "suite eager fp32", "bare bf16 channels_last", "suite bf16",
)  # fmt: skip
RATIOS = (
    ("suite fp32", "bare fp32 channels_last", "same precision and layout (target 0.95)"),
    ("suite bf16", "bare bf16 channels_last", "same precision and layout (target 0.95)"),
    ("suite fp32", "suite eager fp32", "many rounds a call against one"),
    ("suite bf16", "bare fp32", "the suite's defaults against plain PyTorch"),
)


def images(size: int, channels: int) -> ImageSet:
    """4,096 images of noise: a step's cost does not depend on what is on them."""
    pixels = torch.randint(0, 256, (4096, channels, size, size), dtype=torch.uint8)
    return ImageSet(pixels, None, (), "noise", "")


def suite(setting: Setting, precision: str, step: str, steps: int) -> float:
    """Seconds per step of the LightningModule under a Trainer."""
    size, channels, width, batch = setting
    times: dict[int, float] = {}

    class Clock(lightning.Callback):
        def on_train_batch_end(self, trainer: object, pl_module: DCGAN, *_: object) -> None:
            times[pl_module.g_steps] = time.perf_counter()

    module = DCGAN(
        size=size, channels=channels, width=width, batch_size=batch, precision=precision, steps=steps + WARMUP
    )
    module.step, module.pauses = step, frozenset([WARMUP])
    module.total_steps = STUDY_STEPS
    trainer = lightning.Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[Clock()],
    )  # fmt: skip
    trainer.fit(module, GANDataModule(images(size, channels), batch_size=batch, batches=steps + WARMUP))
    return (times[steps + WARMUP] - times[WARMUP]) / steps


def bare(setting: Setting, precision: str, layout: torch.memory_format, steps: int) -> float:
    """Seconds per step of a plain loop: no Lightning, no tricks, no hooks."""
    size, channels, width, batch = setting
    built = DCGAN(size=size, channels=channels, width=width, batch_size=batch)
    g = built.generator.to(memory_format=layout)
    d = built.discriminator.to(memory_format=layout)
    g_adam, d_adam = (torch.optim.Adam(net.parameters(), 2e-4, (0.5, 0.999), fused=True) for net in (g, d))
    batches = Batches(images(size, channels).images, None, batch, 0)
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")
    ones, zeros = torch.ones(batch), torch.zeros(batch)
    for k in range(steps + WARMUP):
        if k == WARMUP:
            began = time.perf_counter()
        real = to_float(batches[k][0]).contiguous(memory_format=layout)
        with autocast:
            with torch.no_grad():
                fake = g(torch.randn(batch, built.latent_dim))
            d_loss = bce(d(real).logits, ones) + bce(d(fake).logits, zeros)
        d_adam.zero_grad()
        d_loss.backward()
        d_adam.step()
        for p in d.parameters():
            p.requires_grad_(False)
        with autocast:
            g_loss = bce(d(g(torch.randn(batch, built.latent_dim))).logits, ones)
        g_adam.zero_grad()
        g_loss.backward()
        g_adam.step()
        for p in d.parameters():
            p.requires_grad_(True)
    return (time.perf_counter() - began) / steps


def measure(variant: str, setting: str, steps: int) -> float:
    """Seconds per step of one variant."""
    words = variant.split()
    precision = "bf16" if "bf16" in words else "fp32"
    if words[0] == "suite":
        return suite(SETTINGS[setting], precision, "eager" if "eager" in words else "auto", steps)
    layout = torch.channels_last if "channels_last" in words else torch.contiguous_format
    return bare(SETTINGS[setting], precision, layout, steps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--settings", default=",".join(SETTINGS))
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
    for setting in args.settings.split(","):
        times: dict[str, list[float]] = {v: [] for v in VARIANTS}
        for _ in range(args.rounds):
            for variant in VARIANTS:
                times[variant].append(measure(variant, setting, args.steps))
        size, channels, width, batch = SETTINGS[setting]
        shape = f"{size} px, {channels} channels, width {width}, batch {batch}"
        print(f"\n{setting}: {shape}, one thread, {args.rounds} rounds of {args.steps} steps")
        for variant, seconds in times.items():
            command = [sys.executable, __file__, "--steps", "10", "--only", variant, setting]
            memory = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1]
            each = statistics.median(seconds)
            print(f"  {variant:26} {1000 * each:6.1f} ms  {batch / each:8.0f} images/s   peak {memory} MiB")
        for ours, theirs, what in RATIOS:
            ratios = sorted(b / a for a, b in zip(times[ours], times[theirs], strict=True))
            span = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
            print(f"  {ours} / {theirs}: {span}  {what}")


if __name__ == "__main__":
    main()
