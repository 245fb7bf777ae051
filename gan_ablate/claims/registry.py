"""All claims by id, validated when they are first asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from gan_ablate.claims.catalogue import CLAIMS
from gan_ablate.claims.claim import RULES, Claim, Contrast
from gan_ablate.claims.measures import MEASURES
from gan_ablate.errors import InputError, unknown
from gan_ablate.recipe import BASE, MODEL_OF, Recipe, TrickSpec
from gan_ablate.tricks import complete, not_applicable


@cache
def registry() -> dict[str, Claim]:
    """The claims in the catalogue's order. Raises `InputError` where it names what does not exist."""
    return check(CLAIMS)


def find(name: str) -> Claim:
    """The claim of that id. Raises `InputError` with close ids."""
    claims = registry()
    if name not in claims:
        raise unknown("claim", name, claims)
    return claims[name]


def check(claims: Sequence[Claim]) -> dict[str, Claim]:
    """The claims by id. Raises `InputError` for what does not exist (arms, measures, models) and for an id given
    twice."""
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
    if not contrast.models:
        raise InputError(f"{where}: {contrast.label}: needs a model")
    for letters, arm, measure in contrast.sides:
        if measure not in MEASURES:
            raise unknown("measure", measure, MEASURES, where)
        for letter in letters:
            if letter not in MODEL_OF:
                raise InputError(f"{where}: model letter {letter!r}: choose from {', '.join(MODEL_OF)}")
            if arm not in (BASE, "*"):
                _check_arm(arm, MODEL_OF[letter], where)
    if contrast.expects in ("equivalent", "not worse") and not contrast.margin > 1:
        raise InputError(f"{where}: {contrast.label}: needs a margin, a ratio over 1")
    if contrast.expects == "near" and not contrast.margin > 0:
        raise InputError(f"{where}: {contrast.label}: needs a margin over 0")


def _check_arm(arm: str, model: str, where: str) -> None:
    """That the arm is a registered trick and means something on the model. Imports no torch."""
    # numbers that no arm sets: which of them a study's base has already is the study's affair
    base = Recipe(model=model, batch_size=48, lr=0.003)
    try:
        reason = not_applicable(complete(replace(base, tricks=(TrickSpec.parse(arm),))))
    except InputError as error:
        raise InputError(f"{where}: arm {arm!r}: {error}") from None
    if reason:
        raise InputError(f"{where}: arm {arm!r} means nothing on {model}: {reason}")
