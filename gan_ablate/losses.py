"""The adversarial objectives. Each reads like its paper's equation, on logits, with log D = -softplus(-logit)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import softplus

from gan_ablate.trick import Targets


def cross_entropy(logits: Tensor, target: Tensor | float) -> Tensor:
    """-t log D - (1 - t) log(1 - D), averaged over the batch; t may lie outside [0, 1]."""
    if not isinstance(target, Tensor) and target in {0, 1}:  # one term: the other weighs nothing
        return softplus(-logits if target else logits).mean()
    return (target * softplus(-logits) + (1 - target) * softplus(logits)).mean()


@dataclass(frozen=True)
class NonSaturating:
    """Goodfellow et al. 2014, equation 1, with G maximising log D(G(z)) (section 3)."""

    needs_real: ClassVar[bool] = False  # whether G's loss reads D's answers to real images

    def discriminator(self, real: Tensor, fake: Tensor, targets: Targets) -> Tensor:
        """Logits (N,) of real and fake images -> scalar."""
        return cross_entropy(real, targets.real) + cross_entropy(fake, targets.fake)

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """-log D(G(z)), from logits (N,) -> scalar."""
        return softplus(-fake).mean()

    def encoder(self, real: Tensor) -> Tensor:
        """What a player adds who makes the real side: -log(1 - D), from logits (N,) -> scalar."""
        return softplus(real).mean()


class Saturating(NonSaturating):
    """Goodfellow et al. 2014, equation 1 as it stands: G minimises log(1 - D(G(z)))."""

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        return -softplus(fake).mean()

    def encoder(self, real: Tensor) -> Tensor:
        return -softplus(-real).mean()


class BoundarySeeking(NonSaturating):
    """Hjelm et al. 2018: G minimises (log D(G(z)) - log(1 - D(G(z))))^2 / 2, that is logit^2 / 2."""

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        return fake.square().mean() / 2


class FlippedLabels(NonSaturating):
    """G is trained with real = fake swapped: cross entropy of its images against `real` (Chintala et al., tip 2)."""

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        return cross_entropy(fake, 1.0)


class InvertedGenerator(NonSaturating):
    """G minimises the cross entropy of its images against `fake`, and so helps D: a negative control."""

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        return cross_entropy(fake, 0.0)

    def encoder(self, real: Tensor) -> Tensor:
        return cross_entropy(real, 1.0)


@dataclass(frozen=True)
class Wasserstein:
    """Arjovsky et al. 2017, equation 2; the critic's answers are not probabilities."""

    needs_real: ClassVar[bool] = False

    def discriminator(self, real: Tensor, fake: Tensor, targets: Targets) -> Tensor:
        """Critic values (N,) of real and fake images -> scalar."""
        return fake.mean() - real.mean()

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """Critic values (N,) of fake images -> scalar."""
        return -fake.mean()

    def encoder(self, real: Tensor) -> Tensor:
        """What a player adds who makes the real side: critic values (N,) -> scalar."""
        return real.mean()


class LeastSquares(Wasserstein):
    """Mao et al. 2017, equation 2 with a = 0, b = c = 1."""

    def discriminator(self, real: Tensor, fake: Tensor, targets: Targets) -> Tensor:
        return ((real - 1).square().mean() + fake.square().mean()) / 2

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        return (fake - 1).square().mean() / 2

    def encoder(self, real: Tensor) -> Tensor:
        return real.square().mean() / 2


class Hinge(Wasserstein):
    """Lim & Ye 2017; Miyato et al. 2018, equations 16 and 17."""

    def discriminator(self, real: Tensor, fake: Tensor, targets: Targets) -> Tensor:
        return (1 - real).relu().mean() + (1 + fake).relu().mean()


class Relativistic(Wasserstein):
    """Huang et al. 2024 (R3GAN), equation 2; Jolicoeur-Martineau 2019: each fake against the real image beside it."""

    needs_real: ClassVar[bool] = True

    def discriminator(self, real: Tensor, fake: Tensor, targets: Targets) -> Tensor:
        return softplus(-(real - fake)).mean()

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        assert real is not None
        return softplus(-(fake - real)).mean()

    def encoder(self, real: Tensor) -> Tensor:
        return real.new_zeros(())  # the pairs of `generator` have both sides


# of the distances to the other side's mean: what an answer costs that should be high, and one that should be low
AVERAGED: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "cross_entropy": (lambda v: softplus(-v), softplus),  # RaSGAN
    "least_squares": (lambda v: (v - 1).square(), lambda v: (v + 1).square()),  # RaLSGAN
    "hinge_loss": (lambda v: (1 - v).relu(), lambda v: (1 + v).relu()),  # RaHingeGAN
}


@dataclass(frozen=True)
class RelativisticAverage(Wasserstein):
    """Jolicoeur-Martineau 2019: each answer against the mean answer to the other side's images."""

    loss: str
    needs_real: ClassVar[bool] = True

    def discriminator(self, real: Tensor, fake: Tensor, targets: Targets) -> Tensor:
        high, low = AVERAGED[self.loss]
        return high(real - fake.mean()).mean() + low(fake - real.mean()).mean()

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        assert real is not None
        high, low = AVERAGED[self.loss]
        return high(fake - real.mean()).mean() + low(real - fake.mean()).mean()


@dataclass(frozen=True)
class DualDiscriminator(Wasserstein):
    """Nguyen et al. 2017 (D2GAN), the first D's part: alpha E[log D1(x)] - E[D1(G(z))], D1 = softplus(v).

    It is KL(data || G) at D1's best. The second D answers by a head of its own, which `second` plays for.
    """

    alpha: float
    beta: float

    def discriminator(self, real: Tensor, fake: Tensor, targets: Targets) -> Tensor:
        return softplus(fake).mean() - self.alpha * log_softplus(real).mean()

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        return -softplus(fake).mean()

    def second(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """beta E[log D2(G(z))], which G minimises; less E[D2(x)] all that D2 maximises. From values (N,) -> scalar."""
        on_fakes = self.beta * log_softplus(fake).mean()
        return on_fakes if real is None else on_fakes - softplus(real).mean()


def log_softplus(v: Tensor) -> Tensor:
    """log(log(1 + e^v)), which is v where e^v is small."""
    return softplus(v.clamp(min=-20)).log() + (v + 20).clamp(max=0)


@dataclass(frozen=True)
class RepulsiveMMD(Wasserstein):
    """Wang et al. 2019: G minimises MMD^2, D the repulsive loss E[k(x, x')] - E[k(G(z), G(z'))].

    Both read scores (N, S), the Gaussian kernel is of sigma 1. For D a distance counts up to 4 between real images and
    from 1/4 on between generated ones (the bounded kernel), so that it need not push or pull without end.
    """

    head: ClassVar[str] = "score_head"  # what the objective reads of D's answer
    needs_real: ClassVar[bool] = True

    def discriminator(self, real: Tensor, fake: Tensor, targets: Targets) -> Tensor:
        """Scores (N, S) of real and fake images -> scalar."""
        return _kernel(_squared(real, real).clamp(max=4)) - _kernel(_squared(fake, fake).clamp(min=0.25))

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """Scores (N, S) -> scalar."""
        assert real is not None
        return _kernel(_squared(real, real)) - 2 * _kernel(_squared(real, fake)) + _kernel(_squared(fake, fake))


def _squared(a: Tensor, b: Tensor) -> Tensor:
    """(N, N) squared distances of scores (N, S)."""
    return (a[:, None] - b[None]).square().sum(2)


def _kernel(squared: Tensor) -> Tensor:
    """() the mean Gaussian kernel of squared distances (N, N) over pairs i != j, as in the authors' code."""
    n, k = len(squared), (-squared / 2).exp()
    return (k.sum() - k.diagonal().sum()) / (n * (n - 1))


# Nowozin et al. 2016, tables 1 and 2: v -> T = g_f(v), and v -> f*(g_f(v)) simplified so that nothing overflows early
DIVERGENCES: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "kl": (lambda v: v, lambda v: (v - 1).exp()),
    "reverse_kl": (lambda v: -(-v).exp(), lambda v: v - 1),
    "pearson": (lambda v: v, lambda v: v.square() / 4 + v),
    "squared_hellinger": (lambda v: 1 - (-v).exp(), lambda v: v.exp() - 1),
    "js": (lambda v: math.log(2) - softplus(-v), lambda v: softplus(v) - math.log(2)),
}


@dataclass(frozen=True)
class FDivergence(Wasserstein):
    """Nowozin et al. 2016, equation 9: D maximises E[T(x)] - E[f*(T(G(z)))], G maximises E[T(G(z))] (section 3.2)."""

    divergence: str

    def discriminator(self, real: Tensor, fake: Tensor, targets: Targets) -> Tensor:
        output, conjugate = DIVERGENCES[self.divergence]
        return conjugate(fake).mean() - output(real).mean()

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        output, _ = DIVERGENCES[self.divergence]
        return -output(fake).mean()

    def encoder(self, real: Tensor) -> Tensor:
        output, _ = DIVERGENCES[self.divergence]
        return output(real).mean()
