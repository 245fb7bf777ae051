"""The `inception` extractor: the 2015-12-05 Inception-v3 whose features the literature's FID, KID and IS use.

The network is torch-fidelity's (the TensorFlow graph's convolutions, pooling and bilinear resize to 299 px, without
anti-aliasing). `inception_clean` differs in the resize alone: PIL's bicubic with anti-aliasing, of floats that are not
rounded, as clean-fid has it (Parmar et al. 2022, On aliased resizing and surprising subtleties in GAN evaluation). Its
figures carry it in their name.

The weights are a file that is looked for, in this order: the `weights` argument, $GAN_ABLATE_INCEPTION, torch hub's
checkpoint folder; else it is downloaded into the last. Its SHA-256 is checked before it is read, and it is read as
plain tensors, so no code in it could run. There is no fallback to another extractor.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gan_ablate.cache import locked
from gan_ablate.errors import InputError
from gan_ablate.evaluate.extractors import Extractor, Features
from gan_ablate.weights_file import named_file, not_expected

FILE = "weights-inception-2015-12-05-6726825d.pth"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
VARIABLE = "GAN_ABLATE_INCEPTION"
WAY_OUT = f"copy {FILE} there, or give its path by --weights or ${VARIABLE}, or use --extractor auto"


SIDE = 299  # pixels that the network sees
LAYERS = (
    "Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "MaxPool_1", "Conv2d_3b_1x1", "Conv2d_4a_3x3", "MaxPool_2",
    "Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e",
    "Mixed_7a", "Mixed_7b", "Mixed_7c", "AvgPool",
)  # fmt: skip


class InceptionExtractor(Extractor):
    """Inception-v3 from a weights file: 2048 pooled features, 1008 logits without their bias (`logits_unbiased`).

    clean: resize as clean-fid does.
    sha256: what the file's SHA-256 has to be; None accepts any (for tests with random weights).
    Raises `InputError` where torch-fidelity is not installed, or the file is missing, of another hash, or unreadable.
    """

    batch_size = 64
    real_images = 50_000
    kid_subsets = 100

    def __init__(self, path: str | Path, *, clean: bool = False, sha256: str | None = SHA256) -> None:
        super().__init__()
        network = _torch_fidelity().FeatureExtractorInceptionV3
        self.name, self.dim, self.clean = "inception with clean resize" if clean else "inception", 2048, clean
        state, self.digest = _read(Path(path), sha256)
        buffer = io.BytesIO()  # torch-fidelity unpickles what it is given: hand it a file of our own, of tensors only
        torch.save(state, buffer)
        buffer.seek(0)
        try:
            with torch.random.fork_rng(devices=[]):  # the layers' initial weights are drawn, and thrown away
                self.network = network("inception-v3-compat", ["2048", "logits_unbiased"], buffer)
        except RuntimeError as error:
            raise InputError(f"{path}: not the weights of torch-fidelity's Inception-v3; expected {FILE}") from error
        self.freeze()

    def forward(self, images: Tensor) -> Features:
        """uint8 (N, 1 or 3, H, W), any size; grey is repeated to three channels."""
        images = images.expand(-1, 3, -1, -1)
        return at_299(self.network, clean_resize(images)) if self.clean else Features(*self.network(images))


def clean_resize(images: Tensor) -> Tensor:
    """uint8 (N, C, H, W) -> float32 (N, C, 299, 299), 0 to 255 and a little beyond: PIL's bicubic in its mode F."""
    x = images.double()  # PIL computes its weights and sums so
    return F.interpolate(x, (SIDE, SIDE), mode="bicubic", align_corners=False, antialias=True).float()


def at_299(network: Any, x: Tensor) -> Features:
    """What torch-fidelity's network gives for images of its own size, float (N, 3, 299, 299) from 0 to 255."""
    x = (x - 128) / 128
    for name in LAYERS:
        x = getattr(network, name)(x)
    features = x.flatten(1)
    return Features(features, features @ network.fc.weight.T)


def inception_for(
    weights: str | Path | None = None,
    *,
    channels: int = 3,
    device: torch.device | str = "cpu",
    clean: bool = False,
    sha256: str | None = SHA256,
) -> InceptionExtractor:
    """The extractor from the first place that has its weights, downloading them if none has (see the module)."""
    module = _torch_fidelity()
    path = named_file(weights, VARIABLE, FILE, WAY_OUT)
    if path is None:
        path = Path(torch.hub.get_dir()) / "checkpoints" / FILE
        if not path.is_file():
            _download(module.URL_INCEPTION_V3, path)
    extractor = InceptionExtractor(path, clean=clean, sha256=sha256)
    if channels == 1:
        extractor.note = "grey images repeated to 3 channels"
    return extractor.to(device)


def _torch_fidelity() -> Any:
    try:
        from torch_fidelity import feature_extractor_inceptionv3
    except ImportError as error:
        raise InputError("the inception extractor needs torch-fidelity: pip install torch-fidelity") from error
    return feature_extractor_inceptionv3


def _download(url: str, path: Path) -> None:
    """Fetch `url` to `path`, once among several workers. torch moves it there only if the hash is right."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path):
            if not path.is_file():
                torch.hub.download_url_to_file(url, str(path), hash_prefix=SHA256, progress=True)
    except RuntimeError as error:  # torch's for a wrong hash
        raise InputError(f"{url}: what was downloaded is not {FILE} (its SHA-256 differs); {WAY_OUT}") from error
    except OSError as error:  # URLError, HTTPError, timeouts, a full or read-only disk
        reason = str(getattr(error, "reason", None) or error.strerror or error)
        raise InputError(f"{path}: not there, and {url} cannot be downloaded to it ({reason}); {WAY_OUT}") from error


def _read(path: Path, sha256: str | None) -> tuple[dict[str, Tensor], str]:
    """The tensors in `path` and its SHA-256, which is checked against `sha256` before anything is unpacked."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; {WAY_OUT}") from error
    digest = hashlib.sha256(content).hexdigest()
    if sha256 is not None and digest != sha256:
        way_out = f"remove it and run again to download it, or {WAY_OUT}"
        raise not_expected(path, digest, sha256, len(content), way_out)
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise InputError(f"{path}: cannot be read as PyTorch weights; expected {FILE}") from error
    return state, digest
