"""What the tests of tricks share: building one, a step to hand to its hooks, and the record of which tricks are proved."""

import torch

from gan_ablate.recipe import TrickSpec
from gan_ablate.trick import Step, build

PROVED: dict[str, list[str]] = {}  # trick -> the tests of what makes it that trick


def proves(*names):
    """Decorator of a test that shows what makes each named trick that trick."""

    def note(test):
        for name in names:
            PROVED.setdefault(name, []).append(test.__name__)
        return test

    return note


def trick(name, **params):
    """A trick by its registered name."""
    return build(TrickSpec(name, params))


def step(n=8, t=0.0, seed=0, **fields):
    """A step of `n` images (n, 3, 4, 4) at share `t` of training."""
    real = torch.randn(n, 3, 4, 4, generator=torch.Generator().manual_seed(7))
    defaults = {
        "t": torch.tensor(t), "real": real, "labels": None, "fake": torch.zeros_like(real), "critique": lambda x: None,
        "noise": torch.Generator().manual_seed(seed), "g_parameters": {}, "d_parameters": {},
    }  # fmt: skip
    return Step(**{**defaults, **fields})
