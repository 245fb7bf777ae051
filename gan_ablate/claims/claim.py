"""A published claim as data: what it says, who says it, and the contrasts that put it to the test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gan_ablate.recipe import BASE
from gan_ablate.stats.parts import MARGIN

Expectation = Literal["lower", "higher", "equivalent", "not worse", "equal", "always", "near"]
Rule = Literal["any", "all", "some"]
RULES = {
    "any": "supported if some test supports it and none contradicts it, contradicted the other way round; no "
    "difference if every test calls the two the same",
    "all": "each of its contrasts must be supported; one contradicted contrast contradicts it",
    "some": "it says 'sometimes': supported if any test supports it, contradicted if every one contradicts it, no "
    "difference if every one contradicts it or calls the two the same",
}


@dataclass(frozen=True)
class Contrast:
    """One question: how does `measure` of the treatment compare with that of the control, on each of `models`?

    Arms are written as in a study's `arms`; a name without parameters stands for that trick with any parameters.
    """

    models: str  # letters of the treatment's models; each is a test of its own
    treatment: str
    control: str
    expects: Expectation
    measure: str = "fid"
    against: str = ""  # letters of the control's models, where they are not the treatment's own
    control_measure: str = ""  # where the two sides are two figures of the same runs
    margin: float = 0.0  # declared beforehand: `MARGIN` for FIDs, a distance for `near`
    same_weights: bool = False  # both sides sample from the same trained weights: pairs by construction
    fallback: bool = False  # asked only where the contrasts before it had no data

    @property
    def label(self) -> str:
        """Such as `base v max_pooling`."""
        if self.expects == "near" or self.treatment == "*":
            return self.measure.replace("_", " ")
        if self.control_measure:
            return f"{self.measure} v {self.control_measure} of {self.treatment}".replace("_", " ")
        return f"{self.treatment} v {self.control}"

    @property
    def sides(self) -> tuple[tuple[str, str, str], tuple[str, str, str]]:
        """Letters of the models, arm and measure, of the treatment and of the control."""
        return (
            (self.models, self.treatment, self.measure),
            (self.against or self.models, self.control, self.control_measure or self.measure),
        )

    @property
    def is_margin(self) -> bool:
        """Whether it is asked within the margin that all verdicts share."""
        return self.expects in ("equivalent", "not worse")

    @property
    def is_rule(self) -> bool:
        """Whether a rule decides it: then there is no test and no p."""
        return self.expects in ("equal", "always")


@dataclass(frozen=True)
class Claim:
    """One row of the registry."""

    id: str
    statement: str
    source: str  # sections of the sources S0 to S4 that claim it; P: its paper alone
    paper: str  # where the claim comes from or is examined
    contrasts: tuple[Contrast, ...]
    rule: Rule = "any"
    proof: str = ""  # a test of the suite that proves it, where that is possible
    study: str = "sweeps/ablation.yaml"  # the shipped sweep that trains what it needs

    @property
    def cited(self) -> str:
        return f"{self.source}; {self.paper}"


def as_good(models: str, treatment: str, control: str = BASE) -> Contrast:
    """Not worse by `MARGIN` or more; it may be better."""
    return Contrast(models, treatment, control, "not worse", margin=MARGIN)
