"""gan_ablate: which GAN stability tricks really help, on my data, and how sure am I?

`DCGAN`, `NSGAN`, `WGANGP` and `GANDataModule` are imported on first use: torch and lightning take
seconds to load, and commands that train nothing do without them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gan_ablate.data.module import GANDataModule
    from gan_ablate.models import DCGAN, NSGAN, WGANGP

__version__ = "0.1.0"
__all__ = ["DCGAN", "NSGAN", "WGANGP", "GANDataModule"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'gan_ablate' has no attribute {name!r}")
    return getattr(import_module("gan_ablate.data.module" if name == "GANDataModule" else "gan_ablate.models"), name)
