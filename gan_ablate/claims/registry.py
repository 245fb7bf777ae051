"""All claims by id, validated when they are first asked for."""

from __future__ import annotations

from functools import cache

from gan_ablate.claims import architecture, objectives, signs, training
from gan_ablate.claims.claim import Claim, check
from gan_ablate.errors import unknown


@cache
def registry() -> dict[str, Claim]:
    """The claims, module by module: layers and networks, training, objectives, signs.

    Raises `InputError` where the registry names what does not exist.
    """
    return check((*architecture.CLAIMS, *training.CLAIMS, *objectives.CLAIMS, *signs.CLAIMS))


def find(name: str) -> Claim:
    """The claim of that id. Raises `InputError` with close ids."""
    claims = registry()
    if name not in claims:
        raise unknown("claim", name, claims)
    return claims[name]
