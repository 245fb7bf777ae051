"""`projected_discriminator`: its fixed network against timm's and torchvision's own features, its mixing by hand."""

import hashlib

import pytest
import timm
import torch
from test_models import fit, small
from test_tricks_nets import pictures
from torch import nn
from torch.nn import functional as F
from torchvision.models import resnet18
from torchvision.models.feature_extraction import create_feature_extractor
from trick_tools import proves, trick

from gan_ablate import DCGAN, NSGAN
from gan_ablate.cli import main
from gan_ablate.errors import InputError
from gan_ablate.nets.pretrained import CLASSIFIERS, VARIABLE, Stages
from gan_ablate.nets.weights import advance

pytestmark = pytest.mark.usefixtures("feature_weights")
TRICK = "projected_discriminator:side=128"


def projected(*more, cls=DCGAN, **fields):
    return small(cls, tricks=[TRICK, *more], **fields)


@proves("projected_discriminator")
def test_stages_are_timms_features_of_images_in_the_range_that_it_trained_on(feature_weights):
    theirs = timm.create_model("tf_efficientnet_lite0", features_only=True, out_indices=(1, 2, 3, 4)).eval()
    weights = torch.load(feature_weights, weights_only=True)
    theirs.load_state_dict({k: v for k, v in weights.items() if k in theirs.state_dict()})
    x = pictures(2, size=64)
    with torch.no_grad():
        ours, expected = Stages("tf_efficientnet_lite0")(x), theirs(x)  # its mean and deviation are a half
    assert [maps.shape[2] for maps in ours] == [16, 8, 4, 2]
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(ours, expected, strict=True))


@proves("projected_discriminator")
def test_stages_of_a_resnet_are_torchvisions_of_pixels_as_imagenet_is_normalised(tmp_path, monkeypatch):
    whole = resnet18(weights=None)
    torch.save(whole.state_dict(), tmp_path / "own.pth")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "own.pth"))
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    x = pictures(2, size=64)
    with torch.no_grad():
        expected = create_feature_extractor(whole.eval(), [f"layer{k}" for k in (1, 2, 3, 4)])(
            (x / 2 + 0.5 - mean) / std
        )
        ours = Stages("resnet18")(x)
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(ours, expected.values(), strict=True))


@proves("projected_discriminator")
def test_stages_are_mixed_as_the_authors_code_does_it():
    d, x = projected(channels=1).discriminator, pictures(2, channels=1)
    up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)

    def mixed(layer, maps):
        return torch.einsum("oi,nihw->nohw", layer.weight[:, :, 0, 0], maps) + layer.bias.view(1, -1, 1, 1)

    seen = d.stages(F.interpolate(x, size=(128, 128), mode="bilinear"))
    one, two, three, four = (mixed(layer, maps) for layer, maps in zip(d.across_channels, seen, strict=True))
    by_hand = [mixed(d.across_scales[3], up(four))]
    for layer, maps in ((d.across_scales[2], three), (d.across_scales[1], two), (d.across_scales[0], one)):
        by_hand.append(mixed(layer, up(by_hand[-1] + maps)))
    ours = d.project(x)
    assert [maps.shape[1:] for maps in ours] == [(4, 64, 64), (4, 32, 32), (8, 16, 16), (16, 8, 8)]  # of width 4
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(ours, reversed(by_hand), strict=True))
    assert d(x).logits.shape == (2 * 4,)
    assert torch.allclose(d.eval()(x).logits, d(x.expand(-1, 3, -1, -1)).logits, atol=1e-5)  # grey, three times


@proves("projected_discriminator")
@pytest.mark.parametrize("cls", [DCGAN, NSGAN])
def test_only_the_heads_are_trained_and_kept_and_their_weights_have_spectral_norm_1(cls, feature_weights):
    module, _ = fit(projected(cls=cls, steps=3))
    d, start = module.discriminator, projected(cls=cls, steps=3).discriminator
    fixed = {k: v for k, v in d.stages.state_dict().items() if v.is_floating_point()}
    assert all(torch.equal(v, start.stages.state_dict()[k]) for k, v in fixed.items())
    assert not any(p.requires_grad for p in d.stages.parameters())
    assert {k.partition(".")[0] for k in d.state_dict()} == {"heads", "across_channels", "across_scales"}
    assert {k.partition(".")[0] for k, _ in d.named_parameters()} == {"heads"}
    moved = {k: v for k, v in d.state_dict().items() if not torch.equal(v, start.state_dict()[k])}
    assert {k.partition(".")[0] for k in moved} == {"heads"}
    convolutions = [m for m in d.heads.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 4 + 4 + 3 + 2 + 1
    for _ in range(300):
        advance(d)
    for layer in convolutions:
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, rel=1e-3)


@proves("projected_discriminator")
def test_its_gradient_reaches_g_and_the_network_goes_where_the_module_goes():
    module = projected()
    z = torch.randn(4, module.latent_dim)
    module.discriminator(module.generator(z)).logits.sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.generator.parameters() if p.ndim > 1)
    module.to(torch.float64)
    assert {v.dtype for v in module.discriminator.stages.state_dict().values()} >= {torch.float64}
    assert module.discriminator(pictures(2).double()).logits.shape == (8,)


def published(folder, network):
    """A file that is called like the authors' and is another."""
    path = folder / CLASSIFIERS[network].file
    path.write_bytes(b"other weights")
    return path


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("nowhere.pth", "no such file"),
        ("published", f"SHA-256 {hashlib.sha256(b'other weights').hexdigest()[:16]}..., expected f37072fd..."),
        ("other network", "tensors of another network than that of resnet18-f37072fd.pth"),
        ("no tensors", "cannot be read as weights"),
    ],
)  # fmt: skip
def test_weights_that_cannot_be_used_are_one_line(given, words, tmp_path, monkeypatch, capsys, feature_weights):
    path = tmp_path / given
    if given == "published":
        path = published(tmp_path, "resnet18").parent  # a folder stands for the file in it
    elif given == "other network":
        path = feature_weights
    elif given == "no tensors":
        path.write_text("hello")
    monkeypatch.setenv(VARIABLE, str(path))
    own = "projected_discriminator:network=resnet18"
    argv = ["train", "--dataset", "digits", "--steps", "1", "--trick", own, "--root", str(tmp_path / "run")]
    assert main(argv) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1


def test_sides_are_those_that_can_be_halved_five_times():
    with pytest.raises(InputError, match="side=200: the network halves it five times: needs a multiple of 32"):
        trick("projected_discriminator", side=200)
    assert trick("projected_discriminator", side=256).side == 256


def test_a_network_that_is_not_there_is_named_with_its_file_and_where_to_put_it(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(InputError, match=f"{tmp_path}.*lite0-0aa007d2.pth: no such file; .* or name it by .{VARIABLE}"):
        projected()
