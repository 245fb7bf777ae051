"""What a trick would change, which tricks can stand together, and why one would do nothing."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from gan_ablate.blueprint import STEP_HOOKS, Blueprint, claims, diff
from gan_ablate.errors import InputError
from gan_ablate.trick import Chain, Trick


def effects(trick: Trick, blueprint: Blueprint, final: Blueprint | None = None) -> tuple[str, ...]:
    """What a trick would change: fields of the blueprint as `name: before -> after`, then the hooks that it uses.

    final: the blueprint after all tricks of the arm. Its objective decides which hooks are consulted.
    """
    edited = trick.edit(blueprint)
    changes = tuple(map(str, diff(blueprint, edited)))
    consulted = (final or edited).consulted
    return changes + tuple(f"hook: {h}" for h in STEP_HOOKS if h in trick.overridden & consulted)


def combine(tricks: Mapping[str, Trick], blueprint: Blueprint) -> Chain:
    """A chain of named tricks.

    Raises:
        InputError: two tricks declare a conflict, change the same part of the blueprint, or both say what is averaged;
            or the order of their edits matters.
    """
    owner: dict[str, str] = {}
    edited = {name: trick.edit(blueprint) for name, trick in tricks.items()}
    for name, trick in tricks.items():
        for other in tricks:
            if other in trick.conflicts:
                raise InputError(f"tricks {name!r} and {other!r} cannot stand together: keep one of them")
        found = set(claims(blueprint, edited[name]))
        found |= {"averaged"} & trick.overridden | ({trick.replaces} if trick.replaces else set())
        for claim in sorted(found):
            for held, other in owner.items():
                if claim == held == "d_norm" and edited[name].d_norm == edited[other].d_norm:
                    continue  # both ask for the same normalisation of D
                if claim == held or claim.startswith(f"{held}.") or held.startswith(f"{claim}."):
                    short = min(claim, held, key=len).replace("gan_ablate.penalties:", "")
                    raise InputError(f"tricks {other!r} and {name!r} both set {short}: keep one of them")
        owner.update(dict.fromkeys(found, name))
    for (a, first), (b, second) in itertools.combinations(tricks.items(), 2):
        # an edit that sets what base has anyway claims nothing, but it may undo another's
        if claims(second.edit(first.edit(blueprint)), first.edit(second.edit(blueprint))):
            raise InputError(
                f"tricks {a!r} and {b!r} undo each other, depending on which comes first: keep one of them"
            )
    return Chain(tuple(tricks.values()))


def unmet(name: str, trick: Trick, base: Blueprint, final: Blueprint) -> str | None:
    """Why a trick would do nothing in an arm; `None` if it acts and has what it needs."""
    if what := trick.missing(final):
        return f"{name} needs {what}, which this {base.model} has not"
    if effects(trick, base, final):
        return None
    used = ", ".join(sorted(trick.overridden))
    absent = f"acts on {used}, which the objective {final.objective} has not" if used else "is so already"
    return f"{name} would change nothing on {base.model}: it {absent}"
