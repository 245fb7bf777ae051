"""gan_ablate: which GAN stability tricks really help, on my data, and how sure am I?

The names of `__all__` are imported on first use: torch and lightning take
seconds to load, and commands that train nothing do without them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gan_ablate.data.module import GANDataModule
    from gan_ablate.evaluate.metric_objects import PRDC, FrechetDistance, ModeCoverage
    from gan_ablate.evaluate.validation import GANEvaluation
    from gan_ablate.models import DCGAN, GAN3D, NSGAN, R3GAN, SNGAN, WGANGP, GANModule

__version__ = "0.1.0"
_HOMES = {
    "DCGAN": "models",
    "NSGAN": "models",
    "WGANGP": "models",
    "R3GAN": "models",
    "GAN3D": "models",
    "SNGAN": "models",
    "GANModule": "models",
    "GANDataModule": "data.module",
    "GANEvaluation": "evaluate.validation",
    "FrechetDistance": "evaluate.metric_objects",
    "ModeCoverage": "evaluate.metric_objects",
    "PRDC": "evaluate.metric_objects",
}
__all__ = [
    "DCGAN",
    "GAN3D",
    "NSGAN",
    "PRDC",
    "R3GAN",
    "SNGAN",
    "WGANGP",
    "FrechetDistance",
    "GANDataModule",
    "GANEvaluation",
    "GANModule",
    "ModeCoverage",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'gan_ablate' has no attribute {name!r}")
    return getattr(import_module(f"gan_ablate.{_HOMES[name]}"), name)
