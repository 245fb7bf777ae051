"""Labels and targets of D's loss. Only objectives on probabilities have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gan_ablate.errors import InputError
from gan_ablate.trick import OVER_0, Step, Targets, Trick, register

if TYPE_CHECKING:
    from torch import Tensor

    from gan_ablate.trick import State

SHARE = (0.0, 1.0)


@register("label_smoothing")
class OneSidedLabelSmoothing(Trick):
    """Soften the real target of D only."""

    paper = "Salimans et al. 2016, section 3.4"
    recommended_by = "S0 S2 S4"
    models = "DN"
    conflicts = ("label_smoothing_two_sided",)  # both say what the targets are
    bounds = {"real": (OVER_0, 1 - OVER_0)}  # 1 would change nothing, 0 is the target of fakes
    real: float = 0.9  # target for real images

    def targets(self, targets: Targets, step: Step, state: State) -> Targets:
        # by each sample's target: a fake that was flipped to real is softened, whichever trick comes first
        return Targets(*(self.real * t for t in targets))


@register("label_smoothing_two_sided")
class TwoSidedLabelSmoothing(Trick):
    """Soften both targets of D: the control that one-sided smoothing is held against."""

    paper = "Salimans et al. 2016, section 3.4 (what it warns of); Szegedy et al. 2016, section 7"
    advised_against_by = "S2"
    models = "DN"
    bounds = {"real": SHARE, "fake": SHARE}
    real: float = 0.9  # target for real images
    fake: float = 0.1  # target for generated images

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.fake < self.real or (self.real, self.fake) == (1, 0):
            raise InputError(
                f"label_smoothing_two_sided: real={self.real:g}, fake={self.fake:g}: real must be over fake, "
                "and 1 and 0 would change nothing"
            )

    def targets(self, targets: Targets, step: Step, state: State) -> Targets:
        return Targets(
            real=self.real * targets.real + self.fake * (1 - targets.real),
            fake=self.real * targets.fake + self.fake * (1 - targets.fake),
        )


@register("soft_labels")
class SoftLabels(Trick):
    """Draw each sample's target from an interval: real from U(0.7, 1.2), fake from U(0, 0.3)."""

    paper = "Chintala et al. 2016, tip 6"
    recommended_by = "S0 S1.6"
    models = "DN"
    bounds = dict.fromkeys(("real_low", "real_high", "fake_low", "fake_high"), (0.0, 2.0))
    conflicts = ("label_smoothing", "label_smoothing_two_sided")  # both say what the targets are
    real_low: float = 0.7
    real_high: float = 1.2
    fake_low: float = 0.0
    fake_high: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        for side, low, high in (("real", self.real_low, self.real_high), ("fake", self.fake_low, self.fake_high)):
            if low > high:
                raise InputError(f"soft_labels: {side}_low={low} is over {side}_high={high}: swap them")
        real, fake = (self.real_low + self.real_high) / 2, (self.fake_low + self.fake_high) / 2
        if not fake < real <= 1:  # over 1 the loss has no least value: D's logits would grow for ever
            raise InputError(f"soft_labels: mean targets {real:g} (real) and {fake:g} (fake): needs fake < real <= 1")

    def targets(self, targets: Targets, step: Step, state: State) -> Targets:
        real = step.uniform_like(targets.real, self.real_low, self.real_high)
        fake = step.uniform_like(targets.fake, self.fake_low, self.fake_high)
        # by each sample's target: one that was flipped before stays flipped
        return Targets(*(t * _sized(real, t) + (1 - t) * _sized(fake, t) for t in targets))


@register("label_flipping")
class LabelFlipping(Trick):
    """Swap D's target for the other side's now and then, each sample by itself with probability p."""

    paper = "Chintala et al. 2016, tip 6"
    recommended_by = "S0 S1.6"
    models = "DN"
    bounds = {"p": (OVER_0, 1.0)}
    p: float = 0.05  # probability that a sample's target is swapped

    def targets(self, targets: Targets, step: Step, state: State) -> Targets:
        flip_real = step.uniform_like(targets.real) < self.p
        flip_fake = step.uniform_like(targets.fake) < self.p
        return Targets(
            real=_sized(targets.fake, targets.real).where(flip_real, targets.real),
            fake=_sized(targets.real, targets.fake).where(flip_fake, targets.fake),
        )


def _sized(values: Tensor, like: Tensor) -> Tensor:
    """Values (N,) of one side for the samples (M,) of the other: D may answer several batches of fakes per real one."""
    return values.repeat(-(-len(like) // len(values)))[: len(like)]
