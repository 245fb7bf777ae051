"""Labels and targets of D's loss. Only objectives on probabilities have them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gan_ablate.errors import InputError
from gan_ablate.trick import Step, Targets, Trick, register

if TYPE_CHECKING:
    from gan_ablate.trick import State

SHARE = (0.0, 1.0)


@register("label_smoothing")
@dataclass(frozen=True)
class OneSidedLabelSmoothing(Trick):
    """Soften the real target of D only."""

    paper = "Salimans et al. 2016, section 3.4"
    recommended_by = "S0 S2 S4"
    models = "DN"
    bounds = {"real": SHARE}
    real: float = 0.9  # target for real images

    def targets(self, targets: Targets, step: Step, state: State) -> Targets:
        return targets._replace(real=self.real * targets.real)


@register("label_smoothing_two_sided")
@dataclass(frozen=True)
class TwoSidedLabelSmoothing(Trick):
    """Soften both targets of D: the control that one-sided smoothing is held against."""

    paper = "Salimans et al. 2016, section 3.4 (what it warns of); Szegedy et al. 2016, section 7"
    advised_against_by = "S2"
    models = "DN"
    bounds = {"real": SHARE, "fake": SHARE}
    real: float = 0.9  # target for real images
    fake: float = 0.1  # target for generated images

    def targets(self, targets: Targets, step: Step, state: State) -> Targets:
        return Targets(
            real=self.real * targets.real + self.fake * (1 - targets.real),
            fake=self.real * targets.fake + self.fake * (1 - targets.fake),
        )


@register("soft_labels")
@dataclass(frozen=True)
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

    def targets(self, targets: Targets, step: Step, state: State) -> Targets:
        real = step.uniform_like(targets.real, self.real_low, self.real_high)
        fake = step.uniform_like(targets.fake, self.fake_low, self.fake_high)
        # by each sample's target: one that was flipped before stays flipped
        return Targets(*(t * real + (1 - t) * fake for t in targets))


@register("label_flipping")
@dataclass(frozen=True)
class LabelFlipping(Trick):
    """Swap D's target for the other side's now and then, each sample by itself with probability p."""

    paper = "Chintala et al. 2016, tip 6"
    recommended_by = "S0 S1.6"
    models = "DN"
    bounds = {"p": SHARE}
    p: float = 0.05  # probability that a sample's target is swapped

    def targets(self, targets: Targets, step: Step, state: State) -> Targets:
        flip_real = step.uniform_like(targets.real) < self.p
        flip_fake = step.uniform_like(targets.fake) < self.p
        return Targets(
            real=targets.fake.where(flip_real, targets.real),
            fake=targets.real.where(flip_fake, targets.fake),
        )
