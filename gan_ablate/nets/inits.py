"""Initial weights, one module at a time."""

from __future__ import annotations

from torch import nn

WEIGHTED = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


def default_init(module: nn.Module) -> None:
    """The framework's own initialisation."""
    reset = getattr(module, "reset_parameters", None)
    if reset is not None:
        reset()


def dcgan_init(module: nn.Module) -> None:
    """Radford et al. 2015, section 4: weights from N(0, 0.02), batch norm's gain from N(1, 0.02), biases 0."""
    if isinstance(module, WEIGHTED):
        # no draw but the weight's own: a layer with a bias and one without get the same weights from one seed
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.affine:
        nn.init.normal_(module.weight, 1.0, 0.02)
    else:
        default_init(module)
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)


def orthogonal_init(module: nn.Module) -> None:
    """Saxe et al. 2014, section 3 (in GANs: Brock et al. 2019, section 3): orthogonal weights, biases 0."""
    if not isinstance(module, WEIGHTED):
        default_init(module)
        return
    nn.init.orthogonal_(module.weight)
    if module.bias is not None:
        nn.init.zeros_(module.bias)
