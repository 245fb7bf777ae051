"""A random CNN whose features tell generated images apart where the classifier's do not: the space of PRDC.

A classifier learns to ignore what does not separate its classes, so images of middling quality all lie outside the
balls around its features of real ones, and precision, density and coverage are 0 in every arm. Random features keep
what the images look like (Naeem et al. 2020 use them for sets far from ImageNet). They forgive blur: read recall beside
precision. The measurements are in docs/evaluation.md.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

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

    def __init__(self, channels: int, statistics: Tensor | None = None) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(SEED)
        layers = []
        for before, after in zip((channels, *WIDTHS[:-1]), WIDTHS, strict=True):
            layer = nn.utils.skip_init(nn.Conv2d, before, after, 3, 2, 1)
            weight = torch.randn(after, before, 3, 3, generator=generator) / (9 * before) ** 0.5
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
        """With the statistics of the first `FIT` real images, uint8 (N, C, H, W)."""
        network = cls(images.shape[1])
        x, found = _scaled(images[:FIT]), []
        for layer in network.convolutions:
            made = layer(x)
            deviation, mean = torch.std_mean(made, (0, 2, 3), correction=0)
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
        return x.mean((2, 3))


def _scaled(images: Tensor) -> Tensor:
    return images.float().div(127.5).sub(1).contiguous(memory_format=torch.channels_last)


def _fold(layer: nn.Conv2d, mean: Tensor, deviation: Tensor) -> None:
    layer.weight.data = layer.weight.data / deviation[:, None, None, None]
    layer.bias = nn.Parameter(-mean / deviation, requires_grad=False)
