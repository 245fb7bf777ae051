"""A published claim as data: what it says, who says it, and the contrasts that put it to the test."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from gan_ablate.errors import InputError, unknown
from gan_ablate.recipe import MODEL_OF, Recipe, TrickSpec

BASE = "base"
MARGIN = 1.25  # "as good as" on ratios: the 80 to 125 % of bioequivalence, the field equivalence tests come from
# (Schuirmann 1987); a quarter is also the larger of the two FID changes that the suite's power is stated for
Expectation = Literal["lower", "higher", "equivalent", "not worse", "equal", "always", "near"]
Rule = Literal["any", "all", "some"]
RULES = {
    "any": "supported if some test supports it and none contradicts it; contradicted the other way round",
    "all": "each of its contrasts must be supported; one contradicted contrast contradicts it",
    "some": "it says 'sometimes': supported if any test supports it, contradicted if every one contradicts it",
}


@dataclass(frozen=True)
class Contrast:
    """One question: how does `measure` of the treatment stand to that of the control, on each of `models`?

    Arms are written as in a study's `arms`; a name without parameters stands for that trick with any parameters.
    """

    models: str  # letters of the treatment's models; each is a test of its own
    treatment: str
    control: str
    expects: Expectation
    measure: str = "fid"
    against: str = ""  # letters of the control's models, where they are not the treatment's own
    control_measure: str = ""  # where the two sides are two figures of the same runs
    margin: float = 0.0  # declared beforehand; a ratio over 1, or a distance for `near`
    same_weights: bool = False  # both sides sample from the same trained weights: their seeds are pairs by construction
    fallback: bool = False  # asked only where the contrasts before it had no data

    @property
    def label(self) -> str:
        """Such as `base v max_pooling`."""
        if self.expects == "near" or self.treatment == "*":
            return self.measure.replace("_", " ")
        if self.control_measure:
            return f"{self.measure} v {self.control_measure} of {self.treatment}".replace("_", " ")
        return f"{self.treatment} v {self.control}"


@dataclass(frozen=True)
class Claim:
    """One row of the registry."""

    id: str
    statement: str
    source: str  # sections of the sources S0 to S4 that claim it
    paper: str  # where the claim comes from or is examined
    contrasts: tuple[Contrast, ...]
    rule: Rule = "any"
    proof: str = ""  # a test of the suite that proves it, where that is possible
    study: str = "sweeps/claims.yaml"  # the shipped sweep that trains what it needs

    @property
    def cited(self) -> str:
        return f"{self.source}; {self.paper}"


def better(models: str, treatment: str, control: str = BASE, measure: str = "fid", **more: object) -> Contrast:
    """The treatment has less of what is bad, or more of what is good."""
    from gan_ablate.claims.measures import MEASURES

    return Contrast(models, treatment, control, MEASURES[measure].better, measure, **more)  # type: ignore[arg-type]


def as_good(models: str, treatment: str, control: str = BASE) -> Contrast:
    """Not worse by `MARGIN` or more; it may be better."""
    return Contrast(models, treatment, control, "not worse", margin=MARGIN)


def check(claims: tuple[Claim, ...]) -> dict[str, Claim]:
    """The claims by id. Raises `InputError` for what does not exist: arms, measures, models, a claim given twice."""
    found: dict[str, Claim] = {}
    for claim in claims:
        if claim.id in found:
            raise InputError(f"claim {claim.id!r} stands twice in the registry")
        if not all((claim.statement, claim.source, claim.paper, claim.contrasts)):
            raise InputError(f"claim {claim.id!r}: needs a statement, a source, a paper and a contrast")
        if claim.rule not in RULES:
            raise unknown("rule", claim.rule, RULES, f"claim {claim.id}")
        for contrast in claim.contrasts:
            _check_contrast(contrast, f"claim {claim.id}")
        found[claim.id] = claim
    return found


def _check_contrast(contrast: Contrast, where: str) -> None:
    from gan_ablate.claims.measures import MEASURES

    for name in (contrast.measure, contrast.control_measure):
        if name and name not in MEASURES:
            raise unknown("measure", name, MEASURES, where)
    for letter in contrast.models + contrast.against:
        if letter not in MODEL_OF:
            raise InputError(f"{where}: model letter {letter!r}: choose from {', '.join(MODEL_OF)}")
    if not contrast.models:
        raise InputError(f"{where}: {contrast.label}: needs a model")
    if contrast.expects in ("equivalent", "not worse") and not contrast.margin > 1:
        raise InputError(f"{where}: {contrast.label}: needs a margin, a ratio over 1")
    if contrast.expects == "near" and not contrast.margin > 0:
        raise InputError(f"{where}: {contrast.label}: needs a margin over 0")
    sides = ((contrast.treatment, contrast.models), (contrast.control, contrast.against or contrast.models))
    for arm, letters in sides:
        if arm not in (BASE, "*"):
            for letter in letters:
                _check_arm(arm, MODEL_OF[letter], where)


def _check_arm(arm: str, model: str, where: str) -> None:
    """That the arm is a registered trick and means something on the model. Imports no torch."""
    from gan_ablate.tricks import complete, not_applicable

    # numbers that no arm sets: which of them a study's base has already is the study's affair
    base = Recipe(model=model, batch_size=48, lr=0.003)
    try:
        reason = not_applicable(complete(replace(base, tricks=(TrickSpec.parse(arm),))))
    except InputError as error:
        raise InputError(f"{where}: arm {arm!r}: {error}") from None
    if reason:
        raise InputError(f"{where}: arm {arm!r} means nothing on {model}: {reason}")
