"""What D's head reads and answers, and how labels enter both networks."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan_ablate.blueprint import Blueprint
from gan_ablate.nets import Critique
from gan_ablate.nets.layers import hidden, pieces


class Critic(nn.Module):
    """What every D ends in: what stands beside its input, batch statistics, the logit and all other answers."""

    def build_map_statistics(self, bp: Blueprint, channels: int) -> int:
        """Called once by the network's constructor, with the channels of what its last stage reads.

        Returns the channels that it gets more.
        """
        self.codebook = bp.d_codebook(channels) if bp.d_codebook else None
        self.local = bp.d_local(channels) if bp.d_local else None
        self.map_statistics = bp.d_map_statistics() if bp.d_map_statistics else nn.Identity()
        return getattr(self.map_statistics, "extra", 0)

    def before_last(self, x: Tensor) -> Tensor:
        """What the last hidden stage reads of the maps (N, C, ..) of the stage before it."""
        self._local = None if self.local is None else self.local(x).float()
        return self.map_statistics(x if self.codebook is None else self.codebook(x))

    def build_heads(self, bp: Blueprint, features: int) -> None:
        """Called once by the network's constructor, with the number of its features."""
        self.joint = bp.d_joint(features, bp.latent_dim) if bp.d_joint else None
        features = features if self.joint is None else self.joint.out_features
        self.dense: nn.Module = nn.Identity()
        if bp.dense:
            units = bp.dense * pieces(bp.d_activation)
            layers = hidden(bp.d_norm, bp.d_activation, bp.d_after, units, dims=0)
            self.dense, features = nn.Sequential(nn.Linear(features, units, bp.d_norm is None), layers), bp.dense
        self.statistics = bp.d_statistics(features) if bp.d_statistics else nn.Identity()
        seen = getattr(self.statistics, "out_features", features)
        self.head = bp.d_head(seen) if bp.d_head else None
        self.classes = bp.d_classes(seen, bp.classes) if bp.d_classes else None
        self.projection = bp.d_projection(features, bp.classes) if bp.d_projection else None
        self.heads = nn.ModuleDict({head_name(each): each(features, bp.classes) for each in bp.d_heads})

    def answer(
        self, features: Tensor, labels: Tensor | None, stages: tuple[Tensor, ...], beside: Tensor | None = None
    ) -> Critique:
        """Features (N, F), and the code (N, latent_dim) where one stands beside -> Critique."""
        features = self.dense(features if self.joint is None else self.joint(features, beside))
        seen = self.statistics(features)
        classes = None if self.classes is None else self.classes(seen).float()  # (N, K)
        if self.head is not None:
            logits = self.head(seen).flatten().float()
        else:
            assert classes is not None
            logits = classes.logsumexp(1)  # D = Z / (Z + 1), Z = sum of exp (Salimans et al. 2016, section 5)
        if self.projection is not None:
            logits = logits + self.projection(features, labels)
        heads = {name: head(features).float() for name, head in self.heads.items()}
        if self.codebook is not None:
            heads["codes"] = self.codebook.distance
        if self.local is not None:
            heads["local"], self._local = self._local, None
        return Critique(logits, features, classes, stages, heads)


def head_name(factory: Any) -> str:
    """What `Critique.heads` calls the answer of a further head: the name of its class or function."""
    return getattr(factory, "target", "").partition(":")[2] or factory.__name__


def linear_head(features: int) -> nn.Module:
    """(N, features) -> (N, 1)."""
    return nn.Linear(features, 1)


class PatchHead(nn.Module):
    """(N, C side side), a map as D's features, -> (N, side side): a logit per place, by the same weights."""

    def __init__(self, features: int, *, side: int) -> None:
        super().__init__()
        self.places = side * side
        self.linear = nn.Linear(features // self.places, 1)

    def forward(self, features: Tensor) -> Tensor:
        return self.linear(features.unflatten(1, (-1, self.places)).transpose(1, 2)).squeeze(2)


def class_head(features: int, classes: int) -> nn.Module:
    """(N, features) -> (N, classes)."""
    return nn.Linear(features, classes)


class JointFeatures(nn.Module):
    """Features (N, F) of x and a code z (N, latent_dim) -> (N, out_features), by layers that see both.

    Dumoulin et al. 2017, appendix A: two layers on z alone, then two on both; here one hidden layer each.
    """

    def __init__(self, features: int, latent_dim: int, *, units: int) -> None:
        super().__init__()
        self.out_features = units
        self.code = nn.Sequential(nn.Linear(latent_dim, units), nn.LeakyReLU(0.2))
        self.both = nn.Sequential(nn.Linear(features + units, units), nn.LeakyReLU(0.2))

    def forward(self, features: Tensor, z: Tensor) -> Tensor:
        return self.both(torch.cat((features, self.code(z)), dim=1))


def q_head(features: int, classes: int | None, *, out: int, units: int) -> nn.Module:
    """(N, features) -> (N, out): InfoGAN's Q behind D's body, by Chen et al. 2016, code (fc, batch norm, leaky, fc)."""
    hidden_layer = nn.Linear(features, units, bias=False)
    return nn.Sequential(hidden_layer, nn.BatchNorm1d(units), nn.LeakyReLU(0.01), nn.Linear(units, out))


class MinibatchDiscrimination(nn.Module):
    """Salimans et al. 2016, section 3.2, as in its authors' code: how close each sample is to others.

    f (N, F) -> [f, o] (N, F + kernels) with M = f T, c_b(i, j) = exp(-||M_ib - M_jb||_1), o_b(i) = sum_j c_b(i, j) + b.
    The sum leaves out j = i. Each column of T is a direction times a learned length. The first batch sets the lengths,
    so that the nearest other sample lies at a distance of 2 on average, and b, so that o has mean 0.
    """

    def __init__(self, features: int, kernels: int, dims: int) -> None:
        super().__init__()
        self.out_features = features + kernels
        self.direction = nn.Parameter(torch.empty(features, kernels, dims))
        self.log_length = nn.Parameter(torch.empty(kernels, dims))
        self.bias = nn.Parameter(torch.empty(kernels))
        self.first_values = nearest_at_2
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """As in the authors' code, before a batch is seen: directions N(0, 0.05), lengths 1, b = -1."""
        nn.init.normal_(self.direction, 0.0, 0.05)
        nn.init.zeros_(self.log_length)
        nn.init.constant_(self.bias, -1.0)

    def distance(self, f: Tensor) -> Tensor:
        """(N, F) -> (N, N, kernels) fp32, between each two samples; infinite from a sample to itself."""
        with torch.autocast(f.device.type, enabled=False):
            columns = self.direction * (self.log_length.exp() / self.direction.norm(dim=0))
            m = torch.einsum("nf,fbc->nbc", f.float(), columns)
            itself = torch.eye(len(f), dtype=torch.bool, device=f.device)[:, :, None]
            return (m[:, None] - m[None]).abs().sum(-1).masked_fill(itself, math.inf)

    def forward(self, f: Tensor) -> Tensor:
        o = (-self.distance(f)).exp().sum(1) + self.bias
        return torch.cat((f, o.to(f.dtype)), dim=1)

    def extra_repr(self) -> str:
        return "kernels={}, dims={}".format(*self.log_length.shape)


def nearest_at_2(layer: MinibatchDiscrimination, f: Tensor, out: Tensor) -> Tensor:
    """First values of `layer` from features f (N, F); its output with them."""
    nearest = layer.distance(f).amin(1).mean(0)  # (kernels,)
    layer.log_length.sub_(
        (nearest / 2).clamp(min=1e-6).log()[:, None]
    )  # a batch of one image many times has distance 0
    layer.bias.copy_(-(-layer.distance(f)).exp().sum(1).mean(0))
    return layer.forward(f)  # behind any hook of its own


class MinibatchStddev(nn.Module):
    """Karras et al. 2018, section 3, in groups as in the code: how much maps vary over a group, as one more channel.

    x (N, C, H, W) or (N, C) -> (N, C + 1, ..). A group is of min(group, N) samples, N / group apart. The deviation over
    it of each channel at each pixel, averaged over both, stands at every pixel of its samples. The trick asks for
    batches that the group divides; any other, given by hand, is split by the largest smaller number that divides it.
    """

    extra = 1  # channels

    def __init__(self, group: int) -> None:
        super().__init__()
        self.group = group

    def forward(self, x: Tensor) -> Tensor:
        n = len(x)
        group = next(k for k in range(min(self.group, n), 0, -1) if n % k == 0)
        variance = x.float().reshape(group, n // group, -1).var(0, correction=0)  # (N / group, C H W)
        s = (variance + 1e-8).sqrt().mean(1).repeat(group)  # (N,)
        return torch.cat((x, s.to(x.dtype).view(n, *[1] * (x.ndim - 1)).expand(n, 1, *x.shape[2:])), dim=1)

    def extra_repr(self) -> str:
        return f"group={self.group}"


class LabelEmbedding(nn.Embedding):
    """labels (N,) -> (N, dims), to stand beside z."""

    def __init__(self, classes: int, *, dims: int) -> None:
        super().__init__(classes, dims)
        self.out_features = dims


class LabelChannel(nn.Module):
    """labels (N,) -> (N, 1, H, W): an embedding of few numbers, seen as a small square and up-sampled to the image.

    Chintala et al. 2016, tip 16.
    """

    def __init__(self, classes: int, size: int, *, dims: int) -> None:
        super().__init__()
        self.side, self.size = math.isqrt(dims), size
        self.embedding = nn.Embedding(classes, dims)

    def forward(self, labels: Tensor) -> Tensor:
        squares = self.embedding(labels).view(-1, 1, self.side, self.side)
        return F.interpolate(squares, size=(self.size, self.size), mode="nearest")


class Projection(nn.Module):
    """Miyato & Koyama 2018, equation 4: the inner product of the label's embedding with the features."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(classes, features))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Glorot's uniform, as in the authors' code; an embedding's own N(0, 1) would drown the other logit."""
        nn.init.xavier_uniform_(self.weight)

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        return (F.embedding(labels, self.weight).float() * features.float()).sum(1)
