"""What keeps D smooth after 2018: penalties now and then, D over its own gradient, weights that stay orthogonal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gan_ablate.blueprint import Blueprint, Factory, replace
from gan_ablate.presets import GRADIENT_PENALTY, PENALTIES
from gan_ablate.trick import OVER_0, Need, Step, Trick, register
from gan_ablate.tricks.needs import D_NORM_TEXT, D_NORMS, IN_TURN, ONE_KIND, SEES_NOTHING_ELSE, with_d_norm

if TYPE_CHECKING:
    from torch import Tensor

    from gan_ablate.trick import State

POSITIVE = (OVER_0, 1e6)
EVERY = (2, 10**6)
PENALISED = Need("a penalty on D's gradient (r1, gradient_penalty, ..)", lambda bp: bool(bp.penalties))


@register("lazy_r1")
class LazyR1(Trick):
    """R1 at every 16th D step only, in an update of its own and at 16 times its weight.

    Adam's learning rate and betas are corrected for the 17 updates that 16 steps then have. The first step is one of
    those with R1, as in the authors' code.
    """

    paper = "Karras et al. 2020 (StyleGAN2), section 3.1 and appendix B; R1: Mescheder et al. 2018, equation 9"
    recommended_by = "P"
    needs = (IN_TURN, SEES_NOTHING_ELSE)
    batch_norm = D_NORM_TEXT
    bounds = {"gamma": POSITIVE, "every": EVERY}
    choices = {"d_norm": D_NORMS}
    gamma: float = 10.0  # as r1 has it at every step
    every: int = 16  # D steps from one update on R1 to the next
    d_norm: str = "none"  # none | layer | keep

    def edit(self, blueprint: Blueprint) -> Blueprint:
        r1 = Factory(f"{PENALTIES}:r1", {"gamma": self.gamma})
        others = tuple(p for p in blueprint.penalties if getattr(p, "target", "") != r1.target)
        bp = replace(blueprint, penalties=(*others, r1), penalty_every=self.every)
        return with_d_norm(bp, self.d_norm)


@register("lazy_regularisation")
class LazyRegularisation(Trick):
    """Whatever penalties the arm has, at every 16th D step only, as `lazy_r1` has R1.

    On wgan_gp that is its gradient penalty; beside r1, r2, dragan or gradient_penalty it is theirs on any model.
    """

    paper = "Karras et al. 2020 (StyleGAN2), section 3.1 and appendix B (there of R1)"
    recommended_by = "P"
    models = "W"
    needs = (PENALISED, IN_TURN, SEES_NOTHING_ELSE)
    bounds = {"every": EVERY}
    every: int = 16  # D steps from one update on the penalties to the next

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, penalty_every=self.every)


@register("gradient_normalisation")
class GradientNormalisation(Trick):
    """D answers D(x) / (||grad D(x)|| + |D(x)|), so that its slope is at most 1 without a penalty.

    On wgan_gp it stands in place of the gradient penalty. The objective stays the model's; the authors' code takes
    hinge.
    """

    paper = "Wu et al. 2021 (GN-GAN); the authors' models/gradnorm.py"
    recommended_by = "P"
    needs = (ONE_KIND,)
    batch_norm = D_NORM_TEXT
    choices = {"d_norm": D_NORMS}
    d_norm: str = "none"  # none | layer | keep

    def edit(self, blueprint: Blueprint) -> Blueprint:
        normalised = Factory("gan_ablate.nets.gradient_normalised:gradient_normalised")
        kept = tuple(p for p in blueprint.penalties if getattr(p, "target", "") != GRADIENT_PENALTY.target)
        bp = replace(blueprint, penalties=kept, d_finish=(*blueprint.d_finish, normalised))
        return with_d_norm(bp, self.d_norm)


@register("orthogonal_regularisation")
class OrthogonalRegularisation(Trick):
    """Penalise what the rows of each weight have in common, whatever their lengths: ||W W^T (1 - I)||_F^2.

    A row is what one output reads. The gradient of the authors' code is half of this one's at the same weight.
    """

    paper = "Brock et al. 2019, section 3.1 (off-diagonal form, 1e-4, on G)"
    recommended_by = "P"
    conflicts = ("weight_norm",)  # it trains lengths and directions, not the weights
    bounds = {"weight": POSITIVE}
    choices = {"on": ("g", "d", "both")}
    weight: float = 1e-4
    on: str = "g"  # g | d | both

    def d_loss(self, loss: Tensor, step: Step, state: State) -> Tensor:
        assert step.d_matrices is not None
        return loss if self.on == "g" else loss + self.weight * _overlap(step.d_matrices())

    def g_loss(self, loss: Tensor, step: Step, state: State) -> Tensor:
        assert step.g_matrices is not None
        return loss if self.on == "d" else loss + self.weight * _overlap(step.g_matrices())


def _overlap(matrices: list[Tensor]) -> Tensor:
    """() the squares off the diagonal of W W^T, summed over weights (outputs, rest)."""
    import torch

    squares = [(w @ w.T * (1 - torch.eye(len(w), device=w.device))).square().sum() for w in matrices]
    return torch.stack(squares).sum()
