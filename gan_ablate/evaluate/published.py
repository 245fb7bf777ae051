"""Published vision transformers that images are measured by, and what their figures' papers do to images. No torch.

Stein et al. 2023 (dgm-eval) for DINOv2 (Oquab et al. 2023); Jayasumana et al. 2023 (google-research/cmmd) for CLIP
(Radford et al. 2021). CLIP's SHA-256 is part of the address that OpenAI publishes the file at. Meta publishes none:
those of DINOv2 are the ones that many repositories state alike, and of ViT-g/14 none is known here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple


class Shape(NamedTuple):
    """What tells published transformers apart."""

    width: int
    blocks: int
    tokens: int  # positions that there is an embedding of, the class token's included


class Variant(NamedTuple):
    """One network."""

    name: str  # as its authors call it
    model: str  # as timm calls it
    options: Mapping[str, int]  # of timm's network


@dataclass(frozen=True)
class Foundation:
    """A published family of networks, with what its figures' paper does to images."""

    name: str
    variable: str  # environment variable that may hold the file's path
    published: Mapping[str, str]  # the authors' files, the paper's first: name -> SHA-256
    variants: Mapping[Shape, Variant]
    side: int  # pixels that the network sees
    mean: tuple[float, float, float]  # of pixels in [0, 1]
    std: tuple[float, float, float]
    batch_size: int
    real_images: int
    unit: bool = False  # whether features are brought to length 1
    cmmd: bool = False


GRID = 37  # patches a side that DINOv2 was trained on: 518 px
DINOV2 = Foundation(
    name="DINOv2",
    variable="GAN_ABLATE_DINOV2",
    published={
        "dinov2_vitl14_pretrain.pth": "d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428",
        "dinov2_vitb14_pretrain.pth": "0b8b82f85de91b424aded121c7e1dcc2b7bc6d0adeea651bf73a13307fad8c73",
        "dinov2_vits14_pretrain.pth": "b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9",
    },
    variants={  # those of dgm-eval's `--arch`; its default is L
        Shape(1024, 24, GRID**2 + 1): Variant("ViT-L/14", "vit_large_patch14_dinov2", {"num_classes": 0}),
        Shape(768, 12, GRID**2 + 1): Variant("ViT-B/14", "vit_base_patch14_dinov2", {"num_classes": 0}),
        Shape(384, 12, GRID**2 + 1): Variant("ViT-S/14", "vit_small_patch14_dinov2", {"num_classes": 0}),
        Shape(1536, 40, GRID**2 + 1): Variant("ViT-g/14", "vit_giant_patch14_dinov2", {"num_classes": 0}),
    },
    side=224,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    batch_size=64,
    real_images=50_000,
)
CLIP = Foundation(
    name="CLIP",
    variable="GAN_ABLATE_CLIP",
    published={"ViT-L-14-336px.pt": "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02"},
    variants={Shape(1024, 24, 577): Variant("ViT-L/14", "vit_large_patch14_clip_quickgelu_336", {"num_classes": 768})},
    side=336,
    mean=(0.48145466, 0.4578275, 0.40821073),
    std=(0.26862954, 0.26130258, 0.27577711),
    batch_size=32,
    real_images=30_000,
    unit=True,
    cmmd=True,
)
FOUNDATIONS = {"dinov2": DINOV2, "clip": CLIP}
