"""Precision and recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020), and the space they are in.

All four ask which points lie in the balls around each real or generated point that reach to its k-th nearest neighbour
of its own kind. Distances come block by block from matrix products, |x|^2 + |y|^2 - 2 x.y, of features centred on the
real mean. In float64: in float32 the cancellation decides ties, and ties are what a generator that repeats itself or
its training images makes. Balls are closed, and a ball's radius is 1e-12 wider than computed so that rounding
does not decide either.

The space is that of a random CNN where the classifier's does not tell generated images apart. A classifier learns to
ignore what does not separate its classes, so images of middling quality all lie outside the balls around its features
of real ones, and precision, density and coverage are 0 in every arm. Random features keep what the images look like
(Naeem et al. 2020 use them for sets far from ImageNet). They forgive blur: read recall beside precision. The
measurements are in docs/evaluation.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

MANIFOLD_K = 3  # precision and recall: Kynkaanniemi et al. 2019
DENSITY_K = 5  # density and coverage: Naeem et al. 2020
ELEMENTS = 1 << 20  # distances in one block: 8 MiB
SLACK = 1e-12  # relative; the rounding of a float64 distance is some 1e-15 of the norms


@torch.no_grad()
def squared_radii(features: Tensor) -> Tensor:
    """Squared distances (N, 2) float64 of each row of features (N, d), N >= 2, to its 3rd and its 5th nearest other
    row; to its farthest where there are fewer."""
    x = features.double()
    x = x - x.mean(0)
    return _radii(x, (MANIFOLD_K, DENSITY_K))


@torch.no_grad()
def precision_recall_density_coverage(fake: Tensor, real: Tensor, real_radii: Tensor) -> dict[str, float]:
    """The four figures of generated features (N, d) against real ones (M, d) with their `squared_radii` (M, 2).

    precision: share of generated points in the ball (k = 3) of at least one real point, 0 to 1: fidelity.
    recall: share of real points in the ball (k = 3) of at least one generated point, 0 to 1: diversity.
    density: real balls (k = 5) that a generated point lies in, over 5, the mean: about 1 for equal distributions, and
    more where generated points crowd in the dense parts; unlike precision it is not fooled by one real outlier.
    coverage: share of real balls (k = 5) with at least one generated point in them, 0 to 1.

    All depend on N and M: compare figures of equal counts only.
    """
    y = real.double()
    centre = y.mean(0)
    x, y = fake.double() - centre, y - centre
    fake_reach = _reach(x, _radii(x, (MANIFOLD_K,)))[:, 0]
    real_reach = _reach(y, real_radii)
    manifold, ball = real_reach[:, :1], real_reach[:, 1:]
    precise = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    recalled, covered, inside = (torch.zeros((), dtype=torch.int64, device=x.device) for _ in range(3))
    for rows, distances in _blocks(y, x):
        precise |= (distances <= manifold[rows]).any(0)
        covered += (distances.amin(1) <= ball[rows, 0]).sum()
        inside += torch.count_nonzero(distances <= ball[rows])
        recalled += (distances.sub_(fake_reach).amin(1) <= 0).sum()
    neighbours = min(DENSITY_K, len(y) - 1)
    return {
        "precision": int(precise.sum()) / len(x),
        "recall": int(recalled) / len(y),
        "density": int(inside) / (neighbours * len(x)),
        "coverage": int(covered) / len(y),
    }


@torch.no_grad()
def nearest_distances(x: Tensor, y: Tensor) -> Tensor:
    """(N,) float64: the distance of each row of x (N, d) to the nearest row of y (M, d).

    Exactly 0 for a row that y has too: what rounding leaves of a zero distance is taken as zero.
    """
    centre = y.double().mean(0)
    x, y = x.double() - centre, y.double() - centre
    squared = torch.cat([distances.amin(1) for _, distances in _blocks(x, y)])
    return torch.where(squared <= SLACK * x.square().sum(1), 0.0, squared).sqrt()


def _radii(x: Tensor, ks: tuple[int, ...]) -> Tensor:
    """Squared distances (N, len(ks)) of each row of x to its k-th nearest other row."""
    ks = tuple(min(k, len(x) - 1) for k in ks)
    found = []
    for rows, distances in _blocks(x, x):
        distances[:, rows].fill_diagonal_(torch.inf)  # a row is not its own neighbour
        nearest = distances.topk(max(ks), largest=False).values
        found.append(nearest[:, [k - 1 for k in ks]])
    return torch.cat(found).clamp_(min=0)


def _reach(x: Tensor, radii: Tensor) -> Tensor:
    """Squared radii (N, k) with room for the rounding of the distances that are held against them."""
    return radii + SLACK * (radii + x.square().sum(1, keepdim=True))


def _blocks(x: Tensor, y: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Squared distances (rows, M) of some rows of x (N, d) to all of y (M, d), until all rows have had their turn."""
    x_norms, y_norms = x.square().sum(1, keepdim=True), y.square().sum(1)
    step = max(1, ELEMENTS // len(y))
    for start in range(0, len(x), step):
        rows = slice(start, min(start + step, len(x)))
        yield rows, torch.addmm(y_norms, x[rows], y.T, alpha=-2).add_(x_norms[rows])


SPACE = "random CNN"
SEED = 20240607
WIDTHS = (32, 64)  # channels of 3x3 convolutions of stride 2; the mean of the last map is the feature
FIT = 2048  # real images whose statistics the activations are brought to mean 0 and variance 1 by
BATCH = 256


class RandomCNN(nn.Module):
    """Convolutions with fixed random weights, each channel brought to mean 0 and variance 1 on real images, and ReLU.

    Batch norm's statistics are folded into weights and biases. `statistics` (2, 96) float32 holds the means and the
    standard deviations of all layers: with the seed they are the network.
    """

    statistics: Tensor

    def __init__(self, channels: int, statistics: Tensor | None = None, dims: int = 2) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(SEED)
        layers = []
        for before, after in zip((channels, *WIDTHS[:-1]), WIDTHS, strict=True):
            layer = nn.utils.skip_init({2: nn.Conv2d, 3: nn.Conv3d}[dims], before, after, 3, 2, 1)
            weight = torch.randn(after, before, *[3] * dims, generator=generator) / (3**dims * before) ** 0.5
            layer.weight.data, layer.bias = weight, nn.Parameter(torch.zeros(after))
            layers.append(layer)
        self.convolutions = layers
        self.layers = nn.ModuleList(layers).requires_grad_(False)
        self.register_buffer("statistics", torch.tensor([[0.0], [1.0]]).repeat(1, sum(WIDTHS)))
        if statistics is not None:
            self.statistics.copy_(statistics)
            for layer, part in zip(layers, statistics.float().split(WIDTHS, 1), strict=True):
                _fold(layer, *part)

    @classmethod
    @torch.no_grad()
    def fitted(cls, images: Tensor) -> RandomCNN:
        """With the statistics of the first `FIT` real images, uint8 (N, C, H, W), on their device."""
        network = cls(images.shape[1], dims=images.ndim - 2).to(images.device)
        x, found = _scaled(images[:FIT]), []
        for layer in network.convolutions:
            made = layer(x)
            deviation, mean = torch.std_mean(made, (0, *range(2, made.ndim)), correction=0)
            found.append(torch.stack([mean, deviation.clamp(min=1e-4)]))  # a constant channel stays constant
            _fold(layer, *found[-1])
            x = layer(x).relu()
        network.statistics.copy_(torch.cat(found, 1))
        return network

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Features (N, 64) float32 of uint8 images (N, C, H, W), on the network's device."""
        return torch.cat([self._features(part) for part in images.split(BATCH)])

    def _features(self, images: Tensor) -> Tensor:
        x = _scaled(images.to(self.statistics.device))
        for layer in self.convolutions:
            x = layer(x).relu_()
        return x.mean(tuple(range(2, x.ndim)))


def _scaled(images: Tensor) -> Tensor:
    memory = torch.channels_last if images.ndim == 4 else torch.channels_last_3d
    return images.float().div(127.5).sub(1).contiguous(memory_format=memory)


def _fold(layer: Any, mean: Tensor, deviation: Tensor) -> None:
    layer.weight.data = layer.weight.data / deviation.view(-1, *[1] * (layer.weight.ndim - 1))
    layer.bias = nn.Parameter(-mean / deviation, requires_grad=False)
