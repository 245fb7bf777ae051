"""Extractors of one's own, by import path: `package.module:attribute`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gan_ablate import trust
from gan_ablate.errors import InputError
from gan_ablate.evaluate.features import Extractor, Features, digest_of


class CustomExtractor(Extractor):
    """Any `nn.Module` that maps uint8 images (N, C, H, W) to features (N, d) and logits (N, K).

    It may return a pair, or anything with `features` and `logits`. Its path names it in every result, and its weights'
    SHA-256 keeps figures of other weights apart.
    """

    def __init__(self, path: str, network: nn.Module) -> None:
        super().__init__()
        self.name, self.network = path, network
        self.digest = digest_of(network.state_dict())
        self.freeze()

    @property
    def device(self) -> torch.device:
        tensor = next(iter([*self.network.parameters(), *self.network.buffers()]), None)
        return torch.device("cpu") if tensor is None else tensor.device

    def forward(self, images: Tensor) -> Features:
        found = self.network(images)
        features, logits = (found.features, found.logits) if hasattr(found, "features") else _pair(self.name, found)
        for name, tensor in (("features", features), ("logits", logits)):
            if tensor.dim() != 2 or len(tensor) != len(images):
                raise InputError(f"extractor {self.name}: {name} are {tuple(tensor.shape)}, not ({len(images)}, d)")
        return Features(features.float(), logits.float())


def _pair(name: str, found: object) -> tuple[Tensor, Tensor]:
    if isinstance(found, tuple | list) and len(found) == 2 and all(isinstance(x, Tensor) for x in found):
        return found[0], found[1]
    raise InputError(f"extractor {name}: returns {type(found).__name__}, needs features (N, d) and logits (N, K)")


def custom_extractor(path: str, device: torch.device | str = "cpu") -> CustomExtractor:
    """The extractor at `path`: an `nn.Module`, or a class of them that takes no arguments.

    Raises `InputError` where its module may not be imported (`gan_ablate.trust`), or it is neither of the two: nothing
    else is ever called.
    """
    found = trust.load(path, f"extractor {path!r}")
    if isinstance(found, type) and issubclass(found, nn.Module):
        try:
            found = found()
        except TypeError as error:
            raise InputError(f"extractor {path!r}: cannot be made without arguments: {error}") from error
    if not isinstance(found, nn.Module):
        raise InputError(f"extractor {path!r}: is neither a torch.nn.Module nor a class of them")
    return CustomExtractor(path, found.to(device))
