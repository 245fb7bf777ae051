"""A published network's weights from a file that the user has: read as plain tensors, and refused where damaged.

Nothing in a file can run. A `.safetensors` file holds tensors only; a PyTorch file is read with `weights_only`. A
TorchScript archive, which is what OpenAI published of CLIP, can only be read whole, so it has to be a known file by its
SHA-256.
"""

from __future__ import annotations

import hashlib
import os
import warnings
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from gan_ablate.errors import InputError


class Weights(NamedTuple):
    """What a file holds."""

    tensors: dict[str, Tensor]  # by their names there, on the CPU, in float32
    published: bool  # whether it is, byte for byte, one of the files that were looked for


def named_file(given: str | Path | None, variable: str, file: str, way_out: str) -> Path | None:
    """The file at `given`, else the one that the environment variable names; None where neither does.

    A folder stands for `file` in it. `InputError`, which ends with `way_out`, where there is no such file.
    """
    place = given or os.environ.get(variable)
    if not place:
        return None
    path = Path(place).expanduser()
    path = path / file if path.is_dir() else path
    if not path.is_file():
        raise InputError(f"{path}: no such file ({'--weights' if given else f'${variable}'}); {way_out}")
    return path


def not_expected(path: Path, found: str, expected: str, size: int, way_out: str) -> InputError:
    """That the file at `path`, of so many bytes, has another SHA-256 than the one that its name says."""
    return InputError(
        f"{path}: SHA-256 {found[:16]}..., expected {expected[:16]}... ({size:,} bytes): damaged, cut short or "
        f"another file; {way_out}"
    )


def read_weights(path: Path, published: Mapping[str, str]) -> Weights:
    """The floating-point tensors in `path`.

    published: name -> SHA-256 of the authors' files, or how it begins. A file that is called like one of them has to be
    it; others are read too, since other libraries keep the same tensors in files of their own. Raises `InputError`
    for a file that is missing, cut short, of another hash than its name says, or no file of tensors.
    """
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    if not digest.startswith(expected := published.get(path.name, digest)):
        raise not_expected(path, digest, expected, size, f"copy {path.name} there anew")
    known = digest.startswith(tuple(published.values()))
    try:
        found = _read(path, known, published)
    except InputError:
        raise
    except Exception as error:  # each of the three formats has errors of its own for a file that is not whole
        kind = type(error).__name__
        raise InputError(
            f"{path}: cannot be read as weights ({kind}): cut short, or not plain tensors alone"
        ) from error
    if not isinstance(found, Mapping) or not all(isinstance(v, Tensor) for v in found.values()):
        raise InputError(f"{path}: holds no plain tensors by name")
    return Weights({str(k): v.detach().float() for k, v in found.items() if v.is_floating_point()}, known)


def _read(path: Path, known: bool, published: Collection[str]) -> object:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file  # comes with timm

        return load_file(path, device="cpu")
    if not _is_torchscript(path):
        return torch.load(path, map_location="cpu", weights_only=True)
    if not known:
        names = " or ".join(published)
        raise InputError(f"{path}: a TorchScript archive may hold code: only the authors' own file is read ({names})")
    with warnings.catch_warnings():  # torch says that TorchScript is to go; the file stays as it was published
        warnings.simplefilter("ignore")
        return torch.jit.load(path, map_location="cpu").state_dict()


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())
