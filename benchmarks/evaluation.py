"""What an evaluation costs and how far its figures can be trusted: the tables of docs/evaluation.md.

    OMP_NUM_THREADS=1 python benchmarks/evaluation.py [frechet | evaluate | bias | extraction] [--rounds 5]

frechet: our Frechet distance against torchmetrics' at d = 2048. evaluate: seconds per metric, 2,048 images, d = 128.
bias: real images against real images with the classifier that ships for `shapes`, beside what theory predicts.
extraction: images per second of our Inception features against torch-fidelity's, same weights file.

Variants run in turn within each round, so that a machine whose speed drifts slows all of them. Times are medians of CPU
seconds of the one thread, so that other processes count less; ratios are of each round's times: median (lowest to
highest).
"""

from __future__ import annotations

import argparse
import io
import math
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchmetrics.image.fid import FrechetInceptionDistance

from gan_ablate.data import load
from gan_ablate.evaluate import Features, load_extractor
from gan_ablate.evaluate.extractors import extract
from gan_ablate.evaluate.frechet import factor, frechet_distance, frechet_distance_infinity, root_trace
from gan_ablate.evaluate.inception import inception_for
from gan_ablate.evaluate.metrics import METRICS, Stored, evaluate_features
from gan_ablate.evaluate.real_statistics import RealStatistics


def interleaved(variants: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """CPU seconds per call of each variant, one call per round after one that does not count."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(rounds + 1):
        for name, call in variants.items():
            began = time.process_time()
            call()
            if turn:
                times[name].append(time.process_time() - began)
    return times


def ratio(slower: list[float], faster: list[float]) -> str:
    """Median of the rounds' ratios with its range."""
    found = sorted(a / b for a, b in zip(slower, faster, strict=True))
    return f"{statistics.median(found):.2f} ({found[0]:.2f} to {found[-1]:.2f})"


def relu_gaussian(rows: int, dim: int, seed: int, decay: float = 2.0) -> Tensor:
    """(rows, dim) float32 features, correlated, of unequal spread and not negative, as a network's are."""
    mix = torch.linalg.qr(torch.randn(dim, dim, generator=torch.Generator().manual_seed(99))).Q
    noise = torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed))
    return ((noise * torch.logspace(0, -decay, dim)) @ mix + 0.05).relu()


def frechet(rounds: int) -> None:
    dim, rows = 2048, 4096
    real_features, fake = relu_gaussian(6000, dim, 0), 1.2 * relu_gaussian(rows, dim, 1)
    real = RealStatistics.of(real_features[:2])  # only mean and factor count here
    x = real_features.double()
    covariance, generated = torch.cov(x.T), torch.cov(fake.double().T)
    real = RealStatistics(len(x), x.mean(0), factor(covariance), real.kid_features, real.radii, None)
    metric = FrechetInceptionDistance(Stored(dim)).set_dtype(torch.float64)
    metric.update(x, real=True)
    metric.update(fake.double(), real=False)
    fresh = FrechetInceptionDistance(Stored(dim), reset_real_features=False).set_dtype(torch.float64)
    fresh.update(x, real=True)

    def theirs() -> float:
        metric._computed = None
        return metric.compute().item()

    def theirs_from_features() -> float:
        fresh.reset()
        fresh.update(fake.double(), real=False)
        return fresh.compute().item()

    few = fake[:1024]
    times = interleaved(
        {
            "torchmetrics, compute()": theirs,
            "ours, real factor cached": lambda: root_trace(real.factor, generated),
            "ours, real factor computed too": lambda: root_trace(factor(covariance), generated),
            "torchmetrics, update() and compute()": theirs_from_features,
            "ours from features, real factor cached": lambda: frechet_distance(fake, real),
            "ours from 1,024 features (N < d)": lambda: frechet_distance(few, real),
        },
        rounds,
    )
    print(f"d = {dim}, N = {rows}, {rounds} rounds")
    for name, seconds in times.items():
        print(f"  {name:40} {statistics.median(seconds):6.2f} s")
    theirs_times = times["torchmetrics, compute()"]
    print(f"  compute / ours, cached: {ratio(theirs_times, times['ours, real factor cached'])}  (target 5)")
    print(f"  compute / ours, not cached: {ratio(theirs_times, times['ours, real factor computed too'])}")
    whole = ratio(times["torchmetrics, update() and compute()"], times["ours from features, real factor cached"])
    print(f"  update and compute / ours from features: {whole}")
    print(f"  relative difference: {abs(frechet_distance(fake, real) / theirs() - 1):.1e}")
    print("their general eigenvalue problem takes as long as the spectrum is hard, ours does not:")
    for decay in (0.0, 1.0, 3.0):  # powers of ten between the largest and the smallest spread of a feature
        x, y = (relu_gaussian(rows, dim, seed, decay).double() for seed in (2, 3))
        lower, first, second = factor(torch.cov(x.T)), torch.cov(x.T), torch.cov(1.44 * y.T)
        times = interleaved(
            {
                "theirs": lambda a=first, b=second: torch.linalg.eigvals(a @ b).sqrt().real.sum(),  # as in compute()
                "ours": lambda a=lower, b=second: root_trace(a, b),
            },
            max(1, rounds // 2),
        )
        shown = "  ".join(f"{name} {statistics.median(seconds):.2f} s" for name, seconds in times.items())
        print(f"  spreads over 10^{decay:.0f}: {shown}  ratio {ratio(times['theirs'], times['ours'])}")


def evaluate(rounds: int) -> None:
    real = RealStatistics.of(relu_gaussian(20_000, 128, 0), torch.ones(64, dtype=torch.long))
    fake = Features(relu_gaussian(2048, 128, 1), torch.randn(2048, 64, generator=torch.Generator().manual_seed(0)))
    variants: dict[str, Callable[[], object]] = {"all but fid_infinity": lambda: evaluate_features(fake, real)}
    without = [name for name in METRICS if name not in {"prdc", "fid_infinity"}]
    variants["all but fid_infinity and prdc"] = lambda: evaluate_features(fake, real, only=without)
    for name in METRICS:
        variants[name] = partial(evaluate_features, fake, real, only=[name])
    print(f"2,048 generated against 20,000 real images, d = 128, {rounds} rounds")
    for name, seconds in interleaved(variants, rounds).items():
        low, high = 1000 * min(seconds), 1000 * max(seconds)
        print(f"  {name:32} {1000 * statistics.median(seconds):7.1f} ms  ({low:.1f} to {high:.1f})")


def bias(rounds: int) -> None:
    images = load("shapes", size=16, channels=3)
    extractor = load_extractor("classifier", dataset=images)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    features = extract(extractor, images.images[order]).features
    count = len(features) // 2
    real, rest = RealStatistics.of(features[:count]), features[count:]
    dim = features.shape[1]
    covariance = torch.cov(features.double().T)
    values = torch.linalg.eigvalsh(covariance).clamp(min=0)
    product, total = torch.outer(values, values), values[:, None] + values
    # E |S' - S|^2 = l_i l_j (1 + d_ij) / N in the eigenbasis, and the distance is half of it over l_i + l_j
    spread = torch.where(total > 0, product / total, 0.0)
    gaussian = float(values.sum() + 0.5 * (spread.sum() + spread.diagonal().sum()))
    variance, effective = float(values.mean()), float(values.sum() ** 2 / values.square().sum())
    print(f"{count:,} real images against N others of the training split; d = {dim}")
    print(f"mean variance of a feature {variance:.3f}; effective dimensions (tr S)^2 / tr S^2 = {effective:.1f}")
    print("     N   parts       FID@N   d^2/4 (..)   times the variance   Gaussian, own spectrum")
    for n in (500, 1000, 2000, 5000):
        found = [frechet_distance(part, real) for part in rest.split(n) if len(part) == n]
        scale = 1 / n + 1 / count
        low = dim**2 / 4 * scale
        shown = f"{statistics.mean(found):.3f} ± {statistics.stdev(found):.3f}" if len(found) > 1 else f"{found[0]:.3f}"
        print(f"  {n:5} {len(found):6} {shown:>15} {low:10.2f} {low * variance:16.3f} {gaussian * scale:20.3f}")
    for n in (2000, 5000):
        limits = [frechet_distance_infinity(part, real) for part in rest.split(n) if len(part) == n]
        shown = f"{statistics.mean(limits):.3f}, {min(limits):.3f} to {max(limits):.3f}"
        print(f"  FID-infinity from {n} images: {shown} over {len(limits)} parts")
    print(f"  what stays at 1/N = 0 (the real side), predicted with the own spectrum: {gaussian / count:.3f}")


class Images(Dataset):
    """uint8 images (N, 3, H, W), one by one, as torch-fidelity asks for them."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __getitem__(self, k: int) -> Tensor:
        return self.images[k]

    def __len__(self) -> int:
        return len(self.images)


def random_inception(path: Path) -> None:
    """A weights file of torch-fidelity's form, with random weights that keep the activations' variance."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    empty = io.BytesIO()
    torch.save({}, empty)
    empty.seek(0)
    torch.manual_seed(0)
    with mock.patch.object(FeatureExtractorInceptionV3, "load_state_dict", return_value=None):
        network = FeatureExtractorInceptionV3("random", ["2048"], empty)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    nn.init.normal_(network.fc.weight, std=2 / math.sqrt(2048))
    torch.save(network.state_dict(), path)


def extraction(rounds: int) -> None:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    from torch_fidelity.utils import get_featuresdict_from_dataset

    count = 64
    images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "random.pth"
        random_inception(path)
        ours = inception_for(path, sha256=None)
        theirs = FeatureExtractorInceptionV3("theirs", ["2048", "logits_unbiased"], str(path))

    def fidelity() -> Tensor:
        found = get_featuresdict_from_dataset(Images(images), theirs, 64, False, True, False)
        return found["2048"]

    torch.testing.assert_close(extract(ours, images[:4]).features, theirs(images[:4])[0], rtol=1e-5, atol=1e-6)
    times = interleaved({"torch-fidelity": fidelity, "ours": lambda: extract(ours, images)}, rounds)
    print(f"Inception-v3, {count} images of 32 px, resized to 299 px, {rounds} rounds")
    for name, seconds in times.items():
        print(f"  {name:16} {count / statistics.median(seconds):6.2f} images/s")
    print(f"  ours / torch-fidelity: {ratio(times['torch-fidelity'], times['ours'])}")


def main() -> None:
    parts = {"frechet": frechet, "evaluate": evaluate, "bias": bias, "extraction": extraction}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="*", choices=[*parts, []], help="all if none is named")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = next((line.split(":")[1].strip() for line in info.splitlines() if "model name" in line), "")
    print(f"{platform.machine()} {model}, torch {torch.__version__}, one thread")
    for name in args.part or parts:
        print(f"\n{name}: ", end="")
        parts[name](args.rounds)


if __name__ == "__main__":
    main()
