"""The stages of a pretrained image classifier, whose weights are in a file that the user has.

EfficientNet-Lite is timm's, ResNet torchvision's. Weights are never downloaded: they are looked for at the file or the
folder that $GAN_ABLATE_FEATURES names, then in torch hub's checkpoint folder.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gan_ablate.errors import InputError
from gan_ablate.weights_file import named_file, read_weights

log = logging.getLogger(__name__)
VARIABLE = "GAN_ABLATE_FEATURES"
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and deviation of pixels in [0, 1]
CENTRED = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


class Classifier(NamedTuple):
    """A network that others trained on ImageNet."""

    file: str  # as its authors call the weights: the end of the name is how its SHA-256 begins
    build: Callable[[str], nn.Module]
    split: Callable[[nn.Module], list[nn.Module]]  # into stages that end at a 4th, 8th, 16th and 32nd of the side
    pixels: tuple[tuple[float, ...], tuple[float, ...]]  # mean and deviation that it was trained with


class Stages(nn.Module):
    """Images (N, 1 or 3, H, W) in [-1, 1] -> what each of the four stages puts out; fixed, in evaluation mode.

    Raises `InputError` where the weights are missing, damaged, or of another network.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: str) -> None:
        super().__init__()
        plan = CLASSIFIERS[network]
        with torch.random.fork_rng(devices=[]):  # first weights are drawn, and thrown away
            whole = plan.build(network)
        _read(whole, plan.file)
        self.stages = nn.ModuleList(plan.split(whole))
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in plan.pixels)
        # (x + 1) / 2 are the pixels in [0, 1] that mean and std are of
        self.register_buffer("mean", 2 * mean - 1)
        self.register_buffer("std", 2 * std)
        self.eval().requires_grad_(False)
        with torch.no_grad():
            self.channels = [maps.shape[1] for maps in self(torch.zeros(1, 3, 64, 64))]

    def forward(self, images: Tensor) -> list[Tensor]:
        x, found = (images.expand(-1, 3, -1, -1) - self.mean) / self.std, []
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        return found


def _read(network: nn.Module, file: str) -> None:
    """Gives a network the weights of a file."""
    way_out = (
        f"projected_discriminator needs {file}, which is never downloaded: put it there, or name it by ${VARIABLE}"
    )
    path = named_file(None, VARIABLE, file, way_out) or Path(torch.hub.get_dir()) / "checkpoints" / file
    if not path.is_file():
        raise InputError(f"{path}: no such file; {way_out}")
    tensors, published = read_weights(path, {file: Path(file).stem.rpartition("-")[2]})
    wanted = {name: value for name, value in network.state_dict().items() if value.is_floating_point()}
    if {k: v.shape for k, v in tensors.items()} != {k: v.shape for k, v in wanted.items()}:
        raise InputError(f"{path}: tensors of another network than that of {file}")
    network.load_state_dict(tensors, strict=False)
    if not published:
        log.warning("projected_discriminator: %s is not %s, by its SHA-256", path, file)


def _efficientnet(name: str) -> nn.Module:
    try:
        import timm
    except ImportError:
        why = "timm, which is not installed: pip install 'gan_ablate[foundation]', or take network=resnet18"
        raise InputError(f"projected_discriminator: {name} needs {why}") from None
    return timm.create_model(name, pretrained=False)


def _resnet(name: str) -> nn.Module:
    from torchvision.models import get_model

    return get_model(name, weights=None)


def _efficientnet_stages(net: nn.Module) -> list[nn.Module]:
    """As the authors of Projected GANs split it."""
    blocks = list(net.blocks)  # type: ignore[arg-type]
    parts = ([net.conv_stem, net.bn1, *blocks[:2]], blocks[2:3], blocks[3:5], blocks[5:])
    return [nn.Sequential(*part) for part in parts]  # type: ignore[arg-type]


def _resnet_stages(net: nn.Module) -> list[nn.Module]:
    stem = (net.conv1, net.bn1, net.relu, net.maxpool)
    return [nn.Sequential(*stem, net.layer1), net.layer2, net.layer3, net.layer4]  # type: ignore[arg-type, list-item]


CLASSIFIERS = {
    "tf_efficientnet_lite0": Classifier(
        "tf_efficientnet_lite0-0aa007d2.pth", _efficientnet, _efficientnet_stages, CENTRED
    ),
    "tf_efficientnet_lite1": Classifier(
        "tf_efficientnet_lite1-bde8b488.pth", _efficientnet, _efficientnet_stages, CENTRED
    ),
    "resnet18": Classifier("resnet18-f37072fd.pth", _resnet, _resnet_stages, IMAGENET),
}
