"""Heads of D beside its own: `Blueprint.d_heads`, (features, classes) -> Module; their answers are `Critique.heads`."""

from __future__ import annotations

from torch import Tensor, nn


def rotation_head(features: int, classes: int | None) -> nn.Module:
    """(N, features) -> (N, 4): logits of a turn by 0, 90, 180 and 270 degrees (Chen et al. 2019)."""
    return nn.Linear(features, 4)


def second_head(features: int, classes: int | None) -> nn.Module:
    """(N, features) -> (N,): what a second discriminator says of the first one's features (Nguyen et al. 2017)."""
    return nn.Sequential(nn.Linear(features, 1), nn.Flatten(0))


def score_head(features: int, classes: int | None, *, dims: int) -> nn.Module:
    """(N, features) -> (N, dims): what a kernel is taken of (Wang et al. 2019)."""
    return nn.Linear(features, dims)


class LabelledEmbedding(nn.Module):
    """(N, features) -> (N, dims): an embedding, with a proxy (dims,) for each class beside it (Kang & Park 2020)."""

    def __init__(self, features: int, classes: int, *, dims: int) -> None:
        super().__init__()
        self.embedding = nn.Linear(features, dims)
        self.proxies = nn.Embedding(classes, dims)  # its `weight` is (K, dims)

    def forward(self, x: Tensor) -> Tensor:
        return self.embedding(x)


class FeatureProjection(nn.Module):
    """Features (N, .., F) -> (N, .., dims): a hidden layer of F units, and a linear map past it (Lee et al. 2021)."""

    def __init__(self, features: int, classes: int | None = None, *, dims: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(features, features)
        self.last = nn.Linear(features, dims)
        self.shortcut = nn.Linear(features, dims)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.hidden(x).relu()) + self.shortcut(x)


class PlaceProjection(FeatureProjection):
    """Maps (N, channels, H, W) -> (N, H W, dims): the same at each place."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(2).transpose(1, 2))
