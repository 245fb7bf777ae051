"""The extractors `dinov2` and `clip`: vision transformers that others published, from a file that the user has.

`dinov2` is FD-DINOv2 of Stein et al. 2023 (Exposing flaws of generative model evaluation metrics), with the class token
of Oquab et al. 2023's DINOv2 as in their dgm-eval. `clip` gives CMMD of Jayasumana et al. 2023 (arXiv 2401.09603), with
the image embedding of OpenAI's CLIP ViT-L/14@336, of length 1, as in their google-research/cmmd.

Both of their codes resize by PIL's bicubic on 8-bit images, and so is it done here; side and resizer stand in the name
of every figure. The networks are timm's. Weights are never downloaded: they are looked for at the `weights` argument,
then at the environment variable of the extractor.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gan_ablate.errors import InputError
from gan_ablate.evaluate.extractors import Extractor, Features, digest_of
from gan_ablate.evaluate.published import FOUNDATIONS, Foundation, Shape, Variant
from gan_ablate.weights_file import named_file, read_weights

OLDEST = (1, 0, 31)  # timm that makes a network without memory for initial weights; 1.0.20 could not
OFFSET = 0.1  # what DINOv2's code adds to the new side before it resizes the embedding of positions
LAYOUTS = {  # the embedding of positions -> the name of a block's tensors; DINOv2's are timm's
    "pos_embed": r"blocks\.(\d+)\.",
    "visual.positional_embedding": r"visual\.transformer\.resblocks\.(\d+)\.",
}


class FoundationExtractor(Extractor):
    """A network of `plan` from a weights file: features only.

    Raises `InputError` where timm is not installed, or the file is missing, damaged, or of another network.
    """

    has_logits = False
    figures = {"fid": "FD", "kid": "KD"}  # as dgm-eval calls them: Inception has no part in these
    kid_subsets = 100
    mean: Tensor
    std: Tensor

    def __init__(self, path: str | Path, plan: Foundation) -> None:
        super().__init__()
        timm = _timm(plan)
        weights = read_weights(Path(path), plan.published)
        variant, shape = _variant(plan, weights.tensors, path)
        with torch.device("meta"):  # no initial weights are drawn: those of the file take their place
            network = timm.create_model(variant.model, pretrained=False, img_size=plan.side, **variant.options)
        try:
            state = _renamed(weights.tensors, network)
            self.digest = digest_of(state)  # of the tensors, not the file: other libraries keep the same ones
            state["pos_embed"] = positions_at(state["pos_embed"], network.patch_embed.grid_size[0])
            network.load_state_dict(state, assign=True)
        except (KeyError, RuntimeError) as error:
            what = f"tensors of another network than {plan.name} {variant.name} without registers"
            raise _other(plan, path, what) from error
        self.name = f"{plan.name} {variant.name} at {plan.side} px by PIL bicubic"
        self.network, self.side, self.unit = network, plan.side, plan.unit
        self.dim = variant.options["num_classes"] or shape.width
        self.batch_size, self.real_images, self.cmmd = plan.batch_size, plan.real_images, plan.cmmd
        self.register_buffer("mean", torch.tensor(plan.mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(plan.std).view(3, 1, 1))
        if not weights.published:
            self.note = f"weights from {Path(path).name}, whose SHA-256 is none of the known files of {plan.name}"
        self.freeze()

    def forward(self, images: Tensor) -> Features:
        """uint8 (N, 1 or 3, H, W), any size; grey is repeated to three channels."""
        x = pil_bicubic(images.expand(-1, 3, -1, -1), self.side).float() / 255
        features = self.network((x - self.mean) / self.std)
        return Features(F.normalize(features, dim=1) if self.unit else features, None)


def foundation_for(
    name: str, weights: str | Path | None = None, *, channels: int = 3, device: torch.device | str = "cpu"
) -> FoundationExtractor:
    """The extractor `dinov2` or `clip` from `weights`, else from the file that its environment variable names.

    A folder stands for the paper's file in it. Raises `InputError` as above, and where neither is given.
    """
    plan = FOUNDATIONS[name]
    paper = next(iter(plan.published))
    path = named_file(weights, plan.variable, paper, f"extractor {name} needs {paper}")
    if path is None:
        where = f"give {paper} by --weights FILE or ${plan.variable}"
        raise InputError(f"extractor {name}: its weights are never downloaded: {where}")
    extractor = FoundationExtractor(path, plan)
    if channels == 1:
        extractor.note = "; ".join(filter(None, ("grey images repeated to 3 channels", extractor.note)))
    return extractor.to(device)


def pil_bicubic(images: Tensor, side: int) -> Tensor:
    """uint8 (N, C, H, W) -> float64 (N, C, side, side) of whole numbers: what `PIL.Image.resize` makes of 8-bit images.

    PIL resizes rows, then columns, and rounds to 8 bits after each of the two; it widens the kernel where it shrinks.
    Of images that are taller than wide PIL 13 resizes the columns first, which is not done here: ours are square.
    """
    x = images.double()
    for size in ((x.shape[2], side), (side, side)):
        if tuple(x.shape[2:]) != size:
            x = F.interpolate(x, size, mode="bicubic", align_corners=False, antialias=True)
            x = (x + 0.5).floor().clamp(0, 255)
    return x


def positions_at(embedding: Tensor, grid: int) -> Tensor:
    """DINOv2's embedding of positions (1, 1 + M^2, d), resized to (1, 1 + grid^2, d) as its own code does it.

    `interpolate_pos_encoding` of facebookresearch/dinov2: bicubic without anti-aliasing, by the factor (grid + 0.1) / M
    and not grid / M, which moves where it is read. timm's own resizing differs in both, and so do the features.
    """
    side = math.isqrt(embedding.shape[1] - 1)
    if side == grid:
        return embedding
    table = embedding[:, 1:].view(1, side, side, -1).permute(0, 3, 1, 2)
    factor = (grid + OFFSET) / side
    table = F.interpolate(table, scale_factor=(factor, factor), mode="bicubic")
    return torch.cat((embedding[:, :1], table.flatten(2).transpose(1, 2)), dim=1)


def _variant(plan: Foundation, tensors: Mapping[str, Tensor], path: str | Path) -> tuple[Variant, Shape]:
    """Which of the family's networks the tensors are of."""
    for positions, block in LAYOUTS.items():
        if positions in tensors and tensors[positions].dim() >= 2:
            tokens, width = tensors[positions].shape[-2:]
            blocks = {found[1] for name in tensors if (found := re.match(block, name))}
            shape = Shape(width, len(blocks), tokens)
            if shape in plan.variants:
                return plan.variants[shape], shape
            raise _other(plan, path, f"a transformer of width {width}, {shape.blocks} blocks, {tokens} tokens")
    raise _other(plan, path, "no tensors by the names that its authors or timm give them")


def _renamed(tensors: dict[str, Tensor], network: Any) -> dict[str, Tensor]:
    """The image network's tensors by timm's names. The embedding of positions stays as it is in the file."""
    from timm.models.vision_transformer import checkpoint_filter_fn

    positions = tensors.get("pos_embed")
    tensors = {k: v for k, v in tensors.items() if k != "pos_embed"}
    found: dict[str, Tensor] = checkpoint_filter_fn(tensors, network)
    return found if positions is None else found | {"pos_embed": positions}


def _other(plan: Foundation, path: str | Path, what: str) -> InputError:
    names, file = ", ".join(v.name for v in plan.variants.values()), next(iter(plan.published))
    return InputError(f"{path}: {what}; extractor {plan.name.lower()} needs {names}, such as {file}")


def _timm(plan: Foundation) -> Any:
    try:
        import timm
    except ImportError:
        found = "which is not installed"
    else:
        if tuple(map(int, timm.__version__.split(".")[:3])) >= OLDEST:
            return timm
        found = f"not {timm.__version__}"
    needed = f"needs timm {'.'.join(map(str, OLDEST))} or newer, {found}"
    raise InputError(f"extractor {plan.name.lower()}: {needed}: pip install 'gan_ablate[foundation]'")
