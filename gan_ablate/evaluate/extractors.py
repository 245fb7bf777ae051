"""Feature extractors: uint8 images in, features and (most) logits out, in one pass; and those of one's own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gan_ablate import trust
from gan_ablate.errors import InputError


class Features(NamedTuple):
    """What every metric reads: one row per image."""

    features: Tensor  # (N, d) float32: Frechet and kernel distances
    logits: Tensor | None  # (N, K) float32: class scores before the softmax, for IS and modes; None: it has no classes

    def to(self, device: torch.device | str) -> Features:
        return Features(self.features.to(device), None if self.logits is None else self.logits.to(device))


class Extractor(nn.Module):
    """Base of the extractors: frozen, always in evaluation mode, without randomness.

    `forward` takes uint8 (N, C, H, W), or what `dtype` says; subclasses define it, give the attributes below and call
    `freeze`.
    """

    name: str  # as metric labels print it: "shapes classifier", "inception"
    digest: str  # SHA-256 hex of the weights: figures of different digests are never compared
    dim: int  # d, the number of features
    classes: tuple[
        str, ...
    ] = ()  # names of the K classes where they are the dataset's own, so that modes can be counted
    dtype: torch.dtype = torch.uint8  # of the images that it takes: float32 for points in the plane
    has_logits: bool = True  # without them there are no Inception score and no modes
    figures: Mapping[str, str] = {"fid": "FID", "kid": "KID"}  # what its distances are called
    cmmd: bool = False  # whether its features are CLIP's embeddings, of which CMMD is
    note: str = ""  # what a reader of the figures has to know, such as "grey images repeated to 3 channels"
    batch_size: int = 256  # fixed: results must not depend on how many images are asked for
    real_images: int = 20_000  # at most this many real images make the statistics
    random_prdc: bool = False  # whether PRDC is on a random CNN's features (`random_cnn`) in place of its own
    own_modes: bool = False  # whether its logits say which samples are good, as the literature has it for these sets
    kid_subsets: int = 3  # of 1,000 images each; unbiased for any number, more of them only cost time

    def freeze(self) -> None:
        """To be called last in `__init__`: evaluation mode for good, no gradients."""
        self.requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> Extractor:  # a Trainer or a parent must not wake batch norm
        return super().train(False)

    def __call__(self, images: Tensor) -> Features:
        return super().__call__(images)

    def high_quality(self, images: Tensor) -> float | None:
        """Share of images that lie on a mode, where that can be said (points in the plane); `None` elsewhere."""
        return None

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device


def extract(extractor: Extractor, images: Tensor) -> Features:
    """Features of N >= 1 images (N, C, H, W) or volumes, of the extractor's type, in batches of `extractor.batch_size`.

    They stay on the extractor's device.

    Without autocast, gradients or TF32, and without touching any random state.
    Raises `TypeError` for images of another type than the extractor's: the one conversion to uint8 lies in
    `gan_ablate.data.to_uint8`.
    """
    if images.dtype != extractor.dtype or images.dim() not in (4, 5):
        wanted = str(extractor.dtype).removeprefix("torch.")
        raise TypeError(f"expected {wanted} images (N, C, H, W), got {images.dtype} {tuple(images.shape)}")
    device = extractor.device
    with torch.no_grad(), exact(device):
        parts = [extractor(part.to(device)) for part in images.split(extractor.batch_size)]
    logits = [p.logits for p in parts if p.logits is not None]
    return Features(torch.cat([p.features for p in parts]), torch.cat(logits) if logits else None)


def exact(device: torch.device) -> AbstractContextManager[object]:
    """Full float32 precision and deterministic kernels, whatever the training has switched on."""
    stack = ExitStack()
    stack.enter_context(torch.autocast(device.type, enabled=False))
    if device.type == "cuda":
        stack.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
        torch.set_float32_matmul_precision("highest")
        stack.enter_context(
            torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
        )
    return stack


def digest_of(state: Mapping[str, Tensor]) -> str:
    """SHA-256 hex over names, shapes and bytes of tensors, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


class CustomExtractor(Extractor):
    """Any `nn.Module` that maps uint8 images (N, C, H, W) to features (N, d) and, if it knows classes, logits (N, K).

    It may return features alone, a pair, or anything with `features` and `logits`. Its path names it in every result,
    and its weights' SHA-256 keeps figures of other weights apart. `has_logits` is known from its first images on.
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
        features, logits = (found.features, found.logits) if hasattr(found, "features") else _parts(self.name, found)
        for name, tensor in (("features", features), ("logits", logits)):
            if tensor is not None and (tensor.dim() != 2 or len(tensor) != len(images)):
                raise InputError(f"extractor {self.name}: {name} are {tuple(tensor.shape)}, not ({len(images)}, d)")
        self.has_logits = logits is not None
        return Features(features.float(), None if logits is None else logits.float())


def _parts(name: str, found: object) -> tuple[Tensor, Tensor | None]:
    if isinstance(found, Tensor):
        return found, None
    if isinstance(found, tuple | list) and len(found) == 2 and all(isinstance(x, Tensor) for x in found):
        return found[0], found[1]
    needed = "features (N, d), or these and logits (N, K)"
    raise InputError(f"extractor {name}: returns {type(found).__name__}, needs {needed}")


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
