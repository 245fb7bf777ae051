"""Rounds per second on a GPU: eager, captured, the bare floor, many runs on one GPU, evaluation. Prints tables.

    python benchmarks/gpu.py [--out FILE.json] [--seconds 2] [--only rounds,packed,peer,evaluation]

One command, under eight minutes on an H100 or H200. A round is all D steps of a G step and the G step. Each figure is
the rate over `--seconds` after warming up, with the device idle at both ends. Ways of playing:

    eager              the suite under Lightning, a call of `training_step` for each batch
    one per call       captured as a CUDA graph, one round per call
    captured           captured, many rounds per call: what `--step auto` chooses
    cudnn.benchmark    the same, where cuDNN tries its algorithms for each convolution first
    floor              the same networks and losses in a bare loop, captured as one graph, fused Adam, no Lightning

On a machine without a GPU `--cpu` runs the same code by calls, to try the script.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import torch
import torch.multiprocessing as mp
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from gan_ablate.data import load
from gan_ablate.data.images import ImageSet, to_float
from gan_ablate.data.module import Batches, GANDataModule
from gan_ablate.models import BY_NAME, GANModule, rounds
from gan_ablate.optim import make_capturable
from gan_ablate.penalties import gradient_penalty

SIZES = {  # name -> size, width, batch
    "32 px, width 64, batch 64": (32, 64, 64),
    "32 px, width 64, batch 128": (32, 64, 128),
    "16 px, width 24, batch 20": (16, 24, 20),
}
TWO_SIZES = ("32 px, width 64, batch 64", "16 px, width 24, batch 20")
MODELS = ("dcgan", "nsgan", "wgan_gp")
WAYS = ("eager", "one per call", "captured", "cudnn.benchmark", "floor")
WARM = int(
    os.environ.get("WARM", "60")
)  # rounds before the clock starts: the check, captures, and libraries that load late
ENDLESS = 10**6  # steps
PACKED = (1, 2, 4, 8)  # runs at a time on the GPU
GRID_RUNS, GRID_STEPS = 300, 20_000


def noise_images(size: int, n: int = 20_000) -> ImageSet:
    """Images of noise: what is on them does not change what a step costs."""
    pixels = torch.randint(0, 256, (n, 3, size, size), dtype=torch.uint8)
    return ImageSet(pixels, torch.arange(n) % 10, tuple("0123456789"), "noise", "noise")


def synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


class Clock(lightning.Callback):
    """Counts rounds from `WARM` on, for some seconds; `ready` is called where the clock starts."""

    def __init__(self, seconds: float, device: str, ready: Callable[[], object] = lambda: None) -> None:
        self.seconds, self.device, self.ready = seconds, device, ready
        self.began = self.first = 0.0
        self.rate = 0.0

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        if not self.began:
            if pl_module.g_steps >= WARM:
                synchronize(self.device)
                self.ready()
                self.began, self.first = time.perf_counter(), pl_module.g_steps
            return
        if time.perf_counter() - self.began < self.seconds:
            return
        synchronize(self.device)
        self.rate = (pl_module.g_steps - self.first) / (time.perf_counter() - self.began)
        trainer.should_stop = True


def module_of(model: str, size: str, **fields: Any) -> GANModule:
    pixels, width, batch = SIZES[size]
    return BY_NAME[model](size=pixels, channels=3, width=width, batch_size=batch, steps=ENDLESS, **fields)


def suite(  # noqa: PLR0917
    model: str, size: str, step: str, device: str, clock: Clock, images: ImageSet
) -> float:
    """Rounds per second of the suite under a Trainer."""
    module = module_of(model, size)
    module.step = step
    trainer = lightning.Trainer(
        accelerator="gpu" if device == "cuda" else "cpu", devices=1, max_epochs=1, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, callbacks=[clock],
    )  # fmt: skip
    batch = module.blueprint.batch_size
    trainer.fit(module, GANDataModule(images, batch_size=batch, batches=module.blueprint.n_critic * ENDLESS))
    return clock.rate


class Uniform:
    """What a penalty draws from, in place of a step."""

    def uniform_like(self, x: Tensor) -> Tensor:
        return torch.rand_like(x)


def bare_round(module: GANModule, device: str, images: ImageSet) -> Callable[[], None]:
    """A round of a bare loop: the module's networks and the objective of its model, and nothing else."""
    g, d, bp = module.generator, module.discriminator, module.blueprint
    adams = [torch.optim.Adam(net.parameters(), 2e-4, (0.5, 0.999)) for net in (d, g)]
    for adam in adams:
        adam.param_groups[0]["initial_lr"] = 2e-4
        make_capturable(adam, scheduled=False)
    pixels, batch = images.images.to(device), bp.batch_size
    rows = torch.randint(len(pixels), (1000, batch), device=device)
    place = torch.zeros(1, dtype=torch.long, device=device)
    ones, zeros = torch.ones(batch, device=device), torch.zeros(batch, device=device)
    wasserstein = bp.n_critic > 1

    def z() -> Tensor:
        return torch.randn(batch, module.latent_dim, device=device)

    def update(adam: Any, loss: Tensor) -> None:
        adam.zero_grad()
        loss.backward()
        adam.step()

    def play() -> None:
        for _ in range(bp.n_critic):
            real = to_float(pixels.index_select(0, rows.index_select(0, place)[0]))
            real = real.contiguous(memory_format=torch.channels_last)
            place.add_(1).remainder_(1000)
            with torch.autocast(device, torch.bfloat16):
                with torch.no_grad():
                    fake = g(z())
                of_real, of_fake = d(real).logits, d(fake).logits
                if wasserstein:
                    loss = of_fake.mean() - of_real.mean()
                    loss = loss + gradient_penalty(lambda x: d(x).logits, real, fake, Uniform(), 10.0, 1.0)  # type: ignore[arg-type]
                else:
                    loss = bce(of_real, ones) + bce(of_fake, zeros)
            update(adams[0], loss)
        d.requires_grad_(False)
        with torch.autocast(device, torch.bfloat16):
            answer = d(g(z())).logits
            loss = -answer.mean() if wasserstein else bce(answer, ones)
        update(adams[1], loss)
        d.requires_grad_(True)

    return play


def floor(model: str, size: str, device: str, seconds: float, images: ImageSet) -> float:
    """Rounds per second of `bare_round`, captured as one graph."""
    play = step = bare_round(module_of(model, size).to(device), device, images)
    if device == "cuda":
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                play()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            play()
        step = graph.replay
    for _ in range(WARM):
        step()
    synchronize(device)
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        for _ in range(20):
            step()
        synchronize(device)
        done += 20
    return done / (time.perf_counter() - began)


def peer(size: str, device: str, seconds: float, tensors: bool) -> float:
    """Images per second of the loop of pytorch/examples' dcgan/main.py, written anew at equal networks.

    As it ships: fp32, PIL images through torchvision's transforms in two DataLoader workers, `.item()` of losses and
    answers at each step. tensors: batches from a tensor on the device in place of that.
    """
    from torch.utils.data import DataLoader, Dataset
    from torchvision import transforms
    from torchvision.transforms.functional import to_pil_image

    pixels, _, batch = SIZES[size]
    images = noise_images(pixels)
    shape = transforms.Compose([
        transforms.Resize(pixels), transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.5,) * 3),
    ])  # fmt: skip

    class Pictures(Dataset):
        def __len__(self) -> int:
            return len(images)

        def __getitem__(self, k: int) -> tuple[Tensor, int]:
            return shape(to_pil_image(images.images[k])), 0

    module = module_of("dcgan", size).to(device)
    g, d = module.generator, module.discriminator
    d_adam, g_adam = (torch.optim.Adam(net.parameters(), 2e-4, (0.5, 0.999)) for net in (d, g))
    loader: Any = DataLoader(Pictures(), batch_size=batch, shuffle=True, num_workers=2, drop_last=True)
    if tensors:
        on_device = Batches(images.images.to(device), None, batch, 0)
        loader = ((to_float(on_device[k][0]), None) for k in range(ENDLESS))
    criterion, began, done = torch.nn.BCEWithLogitsLoss(), 0.0, 0
    while True:
        for data in loader:
            d.zero_grad()
            real = data[0].to(device)
            label = torch.full((batch,), 1.0, device=device)
            output = d(real).logits
            real_loss = criterion(output, label)
            real_loss.backward()
            output.mean().item()
            fake = g(torch.randn(batch, module.latent_dim, device=device))
            label.fill_(0.0)
            output = d(fake.detach()).logits
            fake_loss = criterion(output, label)
            fake_loss.backward()
            output.mean().item()
            d_adam.step()
            g.zero_grad()
            label.fill_(1.0)
            output = d(fake).logits
            g_loss = criterion(output, label)
            g_loss.backward()
            output.mean().item()
            g_adam.step()
            (real_loss + fake_loss).item(), g_loss.item()  # which it prints
            done += 1
            if done == 20:
                began = time.perf_counter()
            elif done > 20 and time.perf_counter() - began > seconds:
                return (done - 20) * batch / (time.perf_counter() - began)


# -- many runs on one GPU -------------------------------------------------------------------------------------------


def _runs(index: int, size: str, device: str, seconds: float, barriers: Any, rates: Any) -> None:  # noqa: PLR0917
    """A process of `packed`: takes part where as many runs as its index, or more, are trained at a time."""
    quiet()
    torch.set_num_threads(1)
    images = noise_images(SIZES[size][0])
    for n, barrier in barriers.items():
        if index < n:
            clock = Clock(seconds, device, barrier.wait)
            rates[n][index] = suite("dcgan", size, "auto", device, clock, images)


def packed(size: str, device: str, seconds: float, counts: tuple[int, ...] = PACKED) -> dict[int, float]:
    """Number of runs at a time -> rounds per second of all of them together, each a process of its own."""
    context = mp.get_context("spawn")
    barriers = {n: context.Barrier(n) for n in counts}
    rates = {n: context.Array("d", n) for n in counts}
    children = [
        context.Process(target=_runs, args=(k, size, device, seconds, barriers, rates)) for k in range(max(counts))
    ]
    for child in children:
        child.start()
    for child in children:
        child.join()
    return {n: sum(rates[n]) for n in counts}


def mps_server(folder: Path) -> bool:
    """Starts NVIDIA's Multi-Process Service for the processes that come after, where it is installed."""
    if not shutil.which("nvidia-cuda-mps-control"):
        return False
    for name in ("PIPE", "LOG"):
        os.environ[f"CUDA_MPS_{name}_DIRECTORY"] = str(folder)
    return subprocess.run(["nvidia-cuda-mps-control", "-d"], capture_output=True, check=False).returncode == 0


# -- evaluation -----------------------------------------------------------------------------------------------------


def evaluation(samples: int, device: str) -> dict[str, float]:
    """Seconds of one evaluation of a 16 px DCGAN on shapes by its classifier: sampling, and all of it."""
    from gan_ablate.evaluate import load_extractor
    from gan_ablate.evaluate.metrics import evaluate_images
    from gan_ablate.evaluate.real_statistics import real_statistics

    images = load("shapes", size=16, channels=3)
    extractor = load_extractor("classifier", dataset=images, device=device, weights=None)
    real = real_statistics(images, extractor)
    module = module_of("dcgan", "16 px, width 24, batch 20").to(device)
    module.generate(256, seed=0)
    synchronize(device)
    began = time.perf_counter()
    made = module.generate(samples, seed=0)
    synchronize(device)
    sampled = time.perf_counter() - began
    evaluate_images(made, extractor, real)
    synchronize(device)
    return {"samples": samples, "sampling": sampled, "all": time.perf_counter() - began}


# -- the whole ------------------------------------------------------------------------------------------------------


def quiet() -> None:
    warnings.filterwarnings("ignore")
    for name in ("lightning.pytorch", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)


def one_per_call(play: Callable[[], float]) -> float:
    """The rate with one round in each call of `training_step`."""
    usual, rounds.SECONDS = rounds.SECONDS, 0.0
    try:
        return play()
    finally:
        rounds.SECONDS = usual


def measure_rounds(device: str, seconds: float) -> list[dict[str, Any]]:
    columns = ("setting", "model", *WAYS, "captured / eager", "captured / floor", "MiB eager / captured")
    print(f"\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)
    rows = []
    for size in SIZES:
        images = noise_images(SIZES[size][0])
        for model in MODELS:
            row: dict[str, Any] = {"size": size, "model": model}
            for name, step in (("eager", "eager"), ("one per call", "captured"), ("captured", "captured")):
                if device == "cuda":
                    torch.cuda.empty_cache()
                    torch.cuda.reset_peak_memory_stats()
                clock = Clock(seconds, device)
                play = lambda c=clock, s=step, m=model, z=size, i=images: suite(m, z, s, device, c, i)  # noqa: E731
                row[name] = one_per_call(play) if name == "one per call" else play()
                if device == "cuda":
                    row[f"{name} MiB"] = torch.cuda.max_memory_reserved() / 2**20
            torch.backends.cudnn.benchmark = True
            row["cudnn.benchmark"] = suite(model, size, "captured", device, Clock(seconds, device), images)
            torch.backends.cudnn.benchmark = False
            row["floor"] = floor(model, size, device, seconds, images)
            rows.append(row)
            print(
                f"| {size} | {model} | {' | '.join(f'{row[way]:.0f}' for way in WAYS)} | "
                f"{row['captured'] / row['eager']:.2f} | {row['captured'] / row['floor']:.2f} | "
                f"{row.get('eager MiB', 0):.0f} / {row.get('captured MiB', 0):.0f} |",
                flush=True,
            )
    return rows


def measure_packed(device: str, seconds: float) -> dict[str, dict[int, float]]:
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for way in ("processes", "MPS"):
            if way == "MPS" and not (device == "cuda" and mps_server(Path(folder))):
                print("no MPS here")
                continue
            for size in TWO_SIZES:
                rates = found[f"{way}, {size}"] = packed(size, device, seconds)
                shown = ", ".join(f"{n} runs {r:.0f}/s" for n, r in rates.items())
                hours = GRID_RUNS * GRID_STEPS / max(rates.values()) / 3600
                grid = f"{GRID_RUNS} runs of {GRID_STEPS:,} steps in {hours:.2f} h"
                print(f"dcgan, {size}, {way}: {shown}; {grid}", flush=True)
        if "CUDA_MPS_PIPE_DIRECTORY" in os.environ:
            subprocess.run(["nvidia-cuda-mps-control"], input="quit\n", text=True, capture_output=True, check=False)
    return found


def measure_peer(device: str, seconds: float) -> dict[str, dict[str, float]]:
    found = {}
    for size in TWO_SIZES:
        ways = {"PIL and DataLoader": False, "tensors": True}
        found[size] = {name: peer(size, device, seconds, tensors) for name, tensors in ways.items()}
        shown = ", ".join(f"{name} {rate:.0f} images/s" for name, rate in found[size].items())
        print(f"pytorch/examples' loop, {size}: {shown}", flush=True)
    return found


def measure_evaluation(device: str, seconds: float) -> list[dict[str, float]]:
    evaluation(2048, device)  # warm
    found = [evaluation(n, device) for n in (10_000, 50_000)]
    for row in found:
        print(f"evaluation of {row['samples']:,} samples: {row['all']:.2f} s, sampling {row['sampling']:.2f} s of it")
    return found


def measure_run(device: str, seconds: float) -> dict[str, float]:
    """A whole run as a sweep carries it out: 16 px DCGAN on shapes, 2,000 steps, two evaluations of 2,048 samples."""
    from gan_ablate.recipe import Evaluation, Recipe
    from gan_ablate.run.carry_out import carry_out

    plan = Evaluation(extractor="classifier", samples=2048, points=2)
    recipe = Recipe(size=16, width=24, batch_size=20, steps=2000 if device == "cuda" else 60, evaluation=plan)
    for part in ("first", "second"):  # the second finds statistics, kernels and the extractor ready
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            result = carry_out(recipe, Path(folder), accelerator="cpu" if device == "cpu" else "auto", threads=1)
            whole = time.perf_counter() - began
        found = {"whole": whole, "training": result["train_seconds"], "evaluation": result["evaluation_seconds"]}
        found["rest"] = whole - found["training"] - found["evaluation"]
        shown = ", ".join(f"{name} {value:.2f} s" for name, value in found.items())
        print(f"{part} run of {recipe.steps:,} steps: {shown}", flush=True)
    return found


PARTS = {
    "rounds": measure_rounds,
    "run": measure_run,
    "packed": measure_packed,
    "peer": measure_peer,
    "evaluation": measure_evaluation,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="a JSON file for all figures")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--cpu", action="store_true")
    args = parser.parse_args()
    quiet()
    device, began = "cpu" if args.cpu else "cuda", time.perf_counter()
    if args.cpu:
        torch.set_num_threads(1)
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    print(f"{name}, torch {torch.__version__}, lightning {lightning.__version__}", flush=True)
    found: dict[str, Any] = {"device": name, "torch": torch.__version__}
    for part in args.only.split(","):
        found[part] = PARTS[part](device, args.seconds)
        found["seconds"] = time.perf_counter() - began
        if args.out:  # after each part: what is measured is kept
            args.out.write_text(json.dumps(found, indent=1))
    print(f"{found['seconds']:.0f} s in all")


if __name__ == "__main__":
    main()
