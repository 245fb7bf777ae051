"""Rules of the game: what D sees as real and as fake, and what else the players are trained for.

`step.py` plays by any of them; a blueprint names its own (`rules`, `d_terms`, `g_terms`). The plain GAN is the default.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from gan_ablate.nets import Seen

if TYPE_CHECKING:
    from gan_ablate.trick import Step


@dataclass(frozen=True)
class Plain:
    """Goodfellow et al. 2014: D sees images x against G(z)."""

    encodes: ClassVar[bool] = False  # whether a player makes what D sees as real, and is trained to have it look fake

    def latents(self, z: Tensor) -> Tensor:
        """z (N, latent_dim) from N(0, 1) -> z as G sees it."""
        return z

    def real(self, players: Any, images: Tensor, z: Tensor) -> Seen:
        """What D sees as real. images: (N, C, H, W) in [-1, 1]; z: (N, latent_dim) as G sees it."""
        return Seen(images)

    def fake(self, players: Any, images: Tensor, z: Tensor, labels: Tensor | None) -> Seen:
        """What D sees as fake, from the same batch."""
        return Seen(players.generator(z, labels))


class Bidirectional(Plain):
    """Donahue et al. 2017 (BiGAN), equation 2; Dumoulin et al. 2017 (ALI): pairs (x, E(x)) against (G(z), z)."""

    encodes = True

    def real(self, players: Any, images: Tensor, z: Tensor) -> Seen:
        return Seen(images, players.encoder(images))

    def fake(self, players: Any, images: Tensor, z: Tensor, labels: Tensor | None) -> Seen:
        return Seen(players.generator(z, labels), z)


class Autoencoding(Plain):
    """Makhzani et al. 2015, section 2: D sees codes as (N, latent_dim, 1, 1): draws from the prior against E(x)."""

    def real(self, players: Any, images: Tensor, z: Tensor) -> Seen:
        return Seen(z[:, :, None, None])

    def fake(self, players: Any, images: Tensor, z: Tensor, labels: Tensor | None) -> Seen:
        return Seen(players.encoder(images)[:, :, None, None])


def reconstruction(game: Any, step: Step, *, weight: float) -> Tensor:
    """Makhzani et al. 2015, section 2: weight * E[||x - G(E(x))||^2 / 2], per pixel; D has just been shown E(x)."""
    assert step.fake is not None
    rebuilt = game.generator(step.fake.flatten(1), step.labels)
    return weight / 2 * F.mse_loss(rebuilt.float(), step.real.float())


class Pyramid(Plain):
    """Denton et al. 2015 (LAPGAN), section 3.2: at each level, an image against its blur with generated detail.

    D sees h_k + l_k, as in the authors' code (CAddTable): real, that is the image I_k itself; fake, l_k is still of the
    real image and h_k is G_k's. The levels lie side by side in (N, M, 1, 1).
    """

    def real(self, players: Any, images: Tensor, z: Tensor) -> Seen:
        return Seen(players.generator.packed(images))

    def fake(self, players: Any, images: Tensor, z: Tensor, labels: Tensor | None) -> Seen:
        return Seen(players.generator.refined(z, images))


@dataclass(frozen=True)
class Coded(Plain):
    """Chen et al. 2016 (InfoGAN), section 7.1: of z, some numbers are a category and some lie evenly in (-1, 1).

    Both are made of the normal numbers that all models draw, so that arms share them.
    """

    categories: int  # of the one categorical code, as a one-hot vector in z's first places
    continuous: int  # codes from U(-1, 1), in the places behind them

    def latents(self, z: Tensor) -> Tensor:
        category, number, noise = self.split(z)
        # each of K independent normal numbers is as likely to be the greatest
        one_hot = (category.argmax(1, keepdim=True) == torch.arange(self.categories, device=z.device)).to(z.dtype)
        return torch.cat((one_hot, (number / math.sqrt(2)).erf(), noise), dim=1)  # 2 Phi(z) - 1

    def split(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, latent_dim) -> (N, categories), (N, continuous) and the noise (N, rest)."""
        rest = z.shape[1] - self.categories - self.continuous
        category, number, noise = z.split([self.categories, self.continuous, rest], dim=1)
        return category, number, noise

    def errors(self, answer: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """-log Q(c | x) of the category and of all continuous codes (without the constant), (N,) each.

        answer: (N, categories + continuous), Q's logits and means; z: (N, latent_dim) as G saw it.
        """
        category, number, _ = self.split(z)
        logits, mean = answer.split([self.categories, self.continuous], dim=1)
        error = -(category * logits.log_softmax(1)).sum(1)
        return error, ((number - mean).square() / 2).sum(1)


def information(game: Any, step: Step, *, weight: float) -> Tensor:
    """Chen et al. 2016, equation 5: -weight * L_I(G, Q), L_I = E[log Q(c | x)] + H(c) on D's newest fakes.

    As in the authors' code: log Q of a category is a log softmax, that of a continuous code a Gaussian's of deviation
    1, and H(c) of that code is by the same Gaussian around 0; it is constant, and so left out here.
    """
    assert step.fake_critique is not None
    assert step.latents is not None
    category, number = game.rules.errors(step.fake_critique.heads["q_head"], step.latents)
    return weight * (category.mean() + number.mean())
