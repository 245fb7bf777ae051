"""FD-DINOv2 and CMMD: networks, preprocessing and distances against their authors' code, and files that are refused.

With the published weights ($GAN_ABLATE_DINOV2, $GAN_ABLATE_CLIP) their published values are tested too.
"""

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from gan_ablate.cli import main
from gan_ablate.data.images import ImageSet
from gan_ablate.errors import InputError
from gan_ablate.evaluate import cmmd, foundation, load_extractor, metrics
from gan_ablate.evaluate.extractors import extract
from gan_ablate.evaluate.frechet import frechet_distance, moments
from gan_ablate.evaluate.prdc import precision_recall_density_coverage, squared_radii
from gan_ablate.evaluate.published import CLIP, DINOV2, Shape, Variant
from gan_ablate.evaluate.real_statistics import RealStatistics
from gan_ablate.recipe import Evaluation, Recipe
from gan_ablate.report import report

WIDTH, BLOCKS, HEADS, EMBEDDED = 64, 2, 2, 24  # of the small networks
TINY = ["--steps", "2", "--width", "4", "--batch-size", "8", "--samples", "8", "--points", "1", "--threads", "1"]
REAL = {name: os.environ.get(name, "") for name in (DINOV2.variable, CLIP.variable)}


@pytest.fixture(autouse=True)
def _small(tmp_path, monkeypatch):
    """The families with one small network more, a cache of its own, and no weights of the user's."""
    small = {"embed_dim": WIDTH, "depth": BLOCKS, "num_heads": HEADS}
    variant = Variant("small", "vit_small_patch14_dinov2", {"num_classes": 0, **small})
    monkeypatch.setitem(DINOV2.variants, Shape(WIDTH, BLOCKS, 1370), variant)
    variant = Variant("small", "vit_large_patch14_clip_quickgelu_336", {"num_classes": EMBEDDED, **small})
    monkeypatch.setitem(CLIP.variants, Shape(WIDTH, BLOCKS, 577), variant)
    monkeypatch.setenv("GAN_ABLATE_CACHE", str(tmp_path / "cache"))
    for name in REAL:
        monkeypatch.delenv(name, raising=False)


def noise(*shape, seed=0, scale=0.2):
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pictures(count=3, size=20, seed=0):
    return torch.randint(0, 256, (count, 3, size, size), generator=torch.Generator().manual_seed(seed)).byte()


def by_pil(images, side, mean, std):
    """(N, 3, side, side) float32: what both papers' code makes of 8-bit images."""
    resized = [
        Image.fromarray(x.permute(1, 2, 0).numpy()).resize((side, side), Image.Resampling.BICUBIC) for x in images
    ]
    x = torch.from_numpy(np.stack([np.asarray(image) for image in resized])).permute(0, 3, 1, 2) / 255
    return (x - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


@pytest.fixture(scope="module")
def dinov2_file(tmp_path_factory):
    """Random weights by the names of facebookresearch/dinov2."""
    shapes = {
        "cls_token": (1, 1, WIDTH), "pos_embed": (1, 1370, WIDTH), "mask_token": (1, WIDTH),
        "patch_embed.proj.weight": (WIDTH, 3, 14, 14), "patch_embed.proj.bias": (WIDTH,),
        "norm.weight": (WIDTH,), "norm.bias": (WIDTH,),
    }  # fmt: skip
    for k in range(BLOCKS):
        sizes = {
            "attn.qkv": (3 * WIDTH, WIDTH),
            "attn.proj": (WIDTH, WIDTH),
            "mlp.fc1": (4 * WIDTH, WIDTH),
            "mlp.fc2": (WIDTH, 4 * WIDTH),
        }
        for name, size in sizes.items():
            shapes |= {f"blocks.{k}.{name}.weight": size, f"blocks.{k}.{name}.bias": size[:1]}
        names = ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias", "ls1.gamma", "ls2.gamma")
        shapes |= {f"blocks.{k}.{name}": (WIDTH,) for name in names}
    path = tmp_path_factory.mktemp("dinov2") / "small.pth"
    torch.save({name: noise(*shape, seed=k) for k, (name, shape) in enumerate(shapes.items())}, path)
    return path


@pytest.fixture(scope="module")
def clip():
    """OpenAI's image network, as torch-fidelity has copied it, with random weights."""
    model = pytest.importorskip("torch_fidelity.feature_extractor_clip")
    with torch.random.fork_rng():
        network = model.VisionTransformer(336, 14, WIDTH, BLOCKS, HEADS, EMBEDDED)
    for k, parameter in enumerate(network.parameters()):
        parameter.data = noise(*parameter.shape, seed=k)
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def clip_file(clip, tmp_path_factory):
    """Its weights by open_clip's names, with some of the text network's."""
    text = {
        "transformer.resblocks.7.ln_1.weight": noise(8),
        "positional_embedding": noise(77, 8),
        "logit_scale": noise(1),
    }
    path = tmp_path_factory.mktemp("clip") / "small.bin"
    torch.save({f"visual.{k}": v for k, v in clip.state_dict().items()} | text, path)
    return path


def authors_positions(w):
    """Its `interpolate_pos_encoding` for 224 px."""
    grid, scale = w["pos_embed"][:, 1:].reshape(1, 37, 37, -1).permute(0, 3, 1, 2), (16 + 0.1) / 37
    grid = F.interpolate(grid, scale_factor=(scale, scale), mode="bicubic").permute(0, 2, 3, 1).reshape(1, 256, -1)
    return torch.cat((w["pos_embed"][:, :1], grid), 1)


def authors_dinov2(w, x):
    """The class token (N, d) by facebookresearch/dinov2, models/vision_transformer.py, read again."""
    x = F.conv2d(x, w["patch_embed.proj.weight"], w["patch_embed.proj.bias"], stride=14).flatten(2).transpose(1, 2)
    x = torch.cat((w["cls_token"].expand(len(x), -1, -1), x), 1)
    x = x + authors_positions(w)

    def norm(x, name):
        return F.layer_norm(x, (WIDTH,), w[f"{name}.weight"], w[f"{name}.bias"], 1e-6)

    def linear(x, name):
        return F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])

    for k in range(BLOCKS):
        block = f"blocks.{k}"
        qkv = linear(norm(x, f"{block}.norm1"), f"{block}.attn.qkv")
        q, key, v = qkv.reshape(len(x), -1, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        seen = ((q * (WIDTH // HEADS) ** -0.5) @ key.transpose(-2, -1)).softmax(-1) @ v
        x = x + w[f"{block}.ls1.gamma"] * linear(seen.transpose(1, 2).reshape(x.shape), f"{block}.attn.proj")
        hidden = F.gelu(linear(norm(x, f"{block}.norm2"), f"{block}.mlp.fc1"))
        x = x + w[f"{block}.ls2.gamma"] * linear(hidden, f"{block}.mlp.fc2")
    return norm(x, "norm")[:, 0]


# -- networks and preprocessing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "side"), [(8, 224), (32, 224), (28, 336), (500, 224)])
def test_the_resizing_is_pils_of_8_bit_images(size, side):
    images = pictures(2, size)
    resized = [
        Image.fromarray(x.permute(1, 2, 0).numpy()).resize((side, side), Image.Resampling.BICUBIC) for x in images
    ]
    theirs = torch.from_numpy(np.stack([np.asarray(image) for image in resized])).permute(0, 3, 1, 2).double()
    off = (foundation.pil_bicubic(images, side) - theirs).abs()
    assert off.max() <= 1  # PIL's weights are fixed-point numbers: a value at the half may round to the other side
    assert (off > 0).double().mean() < 1e-3


def test_dinov2_gives_the_class_token_of_its_authors_code(dinov2_file):
    pytest.importorskip("timm")
    before = torch.get_rng_state()
    ours = foundation.foundation_for("dinov2", dinov2_file)
    assert torch.equal(torch.get_rng_state(), before)
    assert (ours.name, ours.dim, ours.has_logits) == ("DINOv2 small at 224 px by PIL bicubic", WIDTH, False)
    images = pictures(size=4)
    found = extract(ours, images)
    assert found.logits is None
    x = by_pil(images, 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    weights = torch.load(dinov2_file)
    torch.testing.assert_close(ours.network.pos_embed, authors_positions(weights))
    theirs = authors_dinov2(weights, x)
    assert float((theirs[0] - theirs[1]).abs().max()) > 50 * 1e-4  # images are told apart
    torch.testing.assert_close(found.features, theirs, rtol=0, atol=1e-4)
    assert metrics.metric_labels(ours, 50)["fid"] == "FD@50 (DINOv2 small at 224 px by PIL bicubic)"
    grey = load_extractor("dinov2", dataset=ImageSet.of(images[:, :1], None, (), "grey"), weights=str(dinov2_file))
    assert "grey images repeated to 3 channels" in grey.note
    assert "small.pth, whose SHA-256 is none of the known files of DINOv2" in grey.note


def test_clip_gives_openais_embedding_at_length_1(clip, clip_file):
    pytest.importorskip("timm")
    ours = foundation.foundation_for("clip", clip_file)
    assert (ours.name, ours.dim) == ("CLIP small at 336 px by PIL bicubic", EMBEDDED)
    images = pictures(size=4)
    x = by_pil(images, 336, (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
    theirs = F.normalize(clip(x), dim=1)
    assert float((theirs[0] - theirs[1]).abs().max()) > 50 * 1e-5
    torch.testing.assert_close(extract(ours, images).features, theirs, rtol=0, atol=1e-5)
    assert metrics.metric_labels(ours, 50)["cmmd"] == "CMMD@50 (CLIP small at 336 px by PIL bicubic)"


# -- CMMD --------------------------------------------------------------------------------------------------------------


def test_cmmd_is_that_of_its_authors_code(monkeypatch):
    monkeypatch.setattr(cmmd, "ROWS", 7)
    x, y = F.normalize(noise(40, 16), dim=1).double(), F.normalize(noise(30, 16, seed=1) + 0.1, dim=1).double()

    def kernel(a, b):  # google-research/cmmd, distance.py, read again
        distance = -2 * a @ b.T + (a @ a.T).diag()[:, None] + (b @ b.T).diag()[None]
        return torch.exp(-1 / (2 * 10**2) * distance).mean()

    theirs = float(1000 * (kernel(x, x) + kernel(y, y) - 2 * kernel(x, y)))
    assert theirs > 0.1
    assert cmmd.clip_mmd(x, y) == pytest.approx(theirs, rel=1e-9)
    assert cmmd.clip_mmd(x, x.flip(0)) == pytest.approx(0, abs=1e-9)
    one, other = torch.eye(16)[:1], torch.eye(16)[1:2]  # a right angle: |x - y|^2 = 2
    assert cmmd.clip_mmd(one, other) == pytest.approx(1000 * (2 - 2 * np.exp(-2 / 200)), rel=1e-9)


def test_only_clips_features_have_a_cmmd():
    real = RealStatistics.of(noise(40, 16))
    fake = metrics.Features(noise(30, 16, seed=1), None)
    found = metrics.evaluate_features(fake, real, cmmd=True)
    assert found["cmmd"] == pytest.approx(cmmd.clip_mmd(fake.features, real.kid_features), rel=1e-9)
    assert metrics.evaluate_features(fake, real)["cmmd"] is None
    with pytest.raises(InputError, match="cmmd: is of CLIP's image embeddings, which the extractor clip gives"):
        metrics.evaluate_features(fake, real, only=["cmmd"])


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")  # of the tracer
def test_the_same_tensors_in_other_files_are_the_same_extractor(clip, clip_file, dinov2_file, tmp_path, monkeypatch):
    pytest.importorskip("timm")
    from safetensors.torch import save_file

    ours = foundation.foundation_for("dinov2", dinov2_file)
    own = {**ours.network.state_dict(), "pos_embed": torch.load(dinov2_file)["pos_embed"]}
    save_file(own, tmp_path / "timm.safetensors")
    assert foundation.foundation_for("dinov2", tmp_path / "timm.safetensors").digest == ours.digest

    class Published(torch.nn.Module):  # OpenAI's file is a traced model
        def __init__(self):
            super().__init__()
            self.visual = clip

        def forward(self, x):
            return self.visual(x)

    path = tmp_path / "ViT-L-14-336px.pt"
    torch.jit.save(torch.jit.trace(Published(), torch.zeros(1, 3, 336, 336)), path)
    shutil.copy(path, tmp_path / "traced.pt")
    with pytest.raises(InputError, match="a TorchScript archive may hold code: only the authors' own file is read"):
        foundation.foundation_for("clip", tmp_path / "traced.pt")
    monkeypatch.setitem(CLIP.published, path.name, hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setenv(CLIP.variable, str(tmp_path))  # the folder that the paper's file lies in
    published = foundation.foundation_for("clip")
    assert (published.digest, published.note) == (foundation.foundation_for("clip", clip_file).digest, "")


def test_what_is_not_these_weights_is_refused_in_one_line(clip_file, dinov2_file, tmp_path):
    pytest.importorskip("timm")

    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    content = dinov2_file.read_bytes()
    for name in ("cut.pth", "cut.safetensors", "dinov2_vitl14_pretrain.pth"):
        (tmp_path / name).write_bytes(content[: len(content) // 2])
    torch.save({"pos_embed": Evil()}, tmp_path / "evil.pth")
    torch.save({"model": {"pos_embed": torch.zeros(2)}}, tmp_path / "nested.pth")
    torch.save({"fc.weight": torch.zeros(2)}, tmp_path / "foreign.pth")
    whole = torch.load(dinov2_file)
    torch.save({k: v for k, v in whole.items() if k != "norm.bias"}, tmp_path / "lacking.pth")
    torch.save({**whole, "register_tokens": torch.zeros(1, 4, WIDTH)}, tmp_path / "registers.pth")
    cases = {
        tmp_path / "none.pth": "no such file (--weights); extractor dinov2 needs dinov2_vitl14_pretrain.pth",
        tmp_path / "cut.pth": "cannot be read as weights",
        tmp_path / "cut.safetensors": "cannot be read as weights",
        tmp_path / "dinov2_vitl14_pretrain.pth": "expected d5383ea8f4877b24... (",
        tmp_path / "evil.pth": "cannot be read as weights",
        tmp_path / "nested.pth": "holds no plain tensors by name",
        tmp_path / "foreign.pth": "no tensors by the names that its authors or timm give them",
        tmp_path / "lacking.pth": "tensors of another network than DINOv2 small without registers",
        tmp_path / "registers.pth": "tensors of another network than DINOv2 small without registers",
        clip_file: f"a transformer of width {WIDTH}, {BLOCKS} blocks, 577 tokens; extractor dinov2 needs ViT-L/14",
    }
    for path, said in cases.items():
        with pytest.raises(InputError) as caught:
            foundation.foundation_for("dinov2", path)
        assert str(caught.value).startswith(f"{path}: ")
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


def test_without_weights_or_timm_a_command_ends_with_one_line(capsys, tmp_path, monkeypatch, dinov2_file):
    def refused(*more):
        assert main(["train", "--extractor", "dinov2", "--root", str(tmp_path / "r"), *TINY, *more]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    assert "give dinov2_vitl14_pretrain.pth by --weights FILE or $GAN_ABLATE_DINOV2" in refused()
    monkeypatch.setitem(sys.modules, "timm", None)
    assert "needs timm 1.0.31 or newer, which is not installed: pip install 'gan_ablate[foundation]'" in refused(
        "--weights", str(dinov2_file)
    )
    assert not (tmp_path / "r" / "study.yaml").exists()


def test_an_older_timm_is_refused(dinov2_file, monkeypatch):
    monkeypatch.setattr(pytest.importorskip("timm"), "__version__", "1.0.20")
    with pytest.raises(InputError, match=r"extractor dinov2: needs timm 1\.0\.31 or newer, not 1\.0\.20: pip install"):
        foundation.foundation_for("dinov2", dinov2_file)


def test_recipes_know_them_and_points_and_volumes_refuse_them():
    for name in ("dinov2", "clip"):
        plan = Evaluation(extractor=name)
        assert Recipe(evaluation=plan).validate().evaluation.extractor == name
        for dataset, size, channels in (("ring", 1, 2), ("voxels", 16, 1)):
            with pytest.raises(InputError, match=f"evaluation.extractor='{name}': {dataset} has"):
                Recipe(dataset=dataset, size=size, channels=channels, evaluation=plan).validate()


# -- from the command line to the report -------------------------------------------------------------------------------


def test_a_run_is_measured_by_cmmd_and_its_report_says_so(clip_file, tmp_path, capsys):
    pytest.importorskip("timm")
    for folder, seed in (("real", 0), ("made", 1)):
        (tmp_path / folder).mkdir()
        for k, image in enumerate(pictures(12, 16, seed)):
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / folder / f"{k}.png")
    chosen = ["--extractor", "clip", "--weights", str(clip_file)]
    assert (
        main(["evaluate", str(tmp_path / "real"), str(tmp_path / "made"), *chosen, "--metrics", "cmmd,fid", "--json"])
        == 0
    )
    found = json.loads(capsys.readouterr().out)
    ours = foundation.foundation_for("clip", clip_file)
    sets = [extract(ours, pictures(12, 16, seed)).features for seed in (0, 1)]
    assert found["metrics"]["cmmd"] == pytest.approx(cmmd.clip_mmd(*sets), rel=1e-6)
    assert found["metrics"]["fid"] == pytest.approx(frechet_distance(sets[1], moments(sets[0])), rel=1e-4)
    data = ["--dataset", str(tmp_path / "real"), "--size", "16", "--channels", "3"]
    assert main(["train", *data, *chosen, "--root", str(tmp_path / "root"), *TINY]) == 0
    (path,) = (tmp_path / "root" / "runs").glob("*/result.json")
    result = json.loads(path.read_text())
    assert result["metrics"]["cmmd"] > 0
    assert result["labels"]["fid"] == "FD@8 (CLIP small at 336 px by PIL bicubic)"
    assert result["evaluation"]["extractor_digest"] == ours.digest
    report([tmp_path / "root"], tmp_path / "page")
    runs = pd.read_csv(tmp_path / "page" / "tables" / "runs.csv")
    assert runs["cmmd"].tolist() == [pytest.approx(result["metrics"]["cmmd"])]
    assert "CMMD" in (tmp_path / "page" / "report.html").read_text()


# -- published values, with the published weights ----------------------------------------------------------------------


@pytest.mark.skipif(
    not (REAL[DINOV2.variable] and os.environ.get("GAN_ABLATE_TEST_CIFAR10")),
    reason="needs dinov2_vitl14_pretrain.pth ($GAN_ABLATE_DINOV2) and CIFAR-10 ($GAN_ABLATE_TEST_CIFAR10: torchvision's root)",
)
def test_dgm_evals_published_example():
    """README of layer6ai-labs/dgm-eval: 512 images of CIFAR-10's training split against 512 of its test split."""
    from torchvision.datasets import CIFAR10

    ours = foundation.foundation_for("dinov2", REAL[DINOV2.variable])
    assert (ours.name, ours.note) == ("DINOv2 ViT-L/14 at 224 px by PIL bicubic", "")
    sides = []
    for train in (True, False):
        images = torch.from_numpy(CIFAR10(os.environ["GAN_ABLATE_TEST_CIFAR10"], train=train).data).permute(0, 3, 1, 2)
        rows = sorted(np.random.RandomState(13579).choice(len(images), 512, replace=False))  # its dataloaders.py
        sides.append(extract(ours, images[rows]).features)
    real, fake = sides
    assert frechet_distance(fake, moments(real)) == pytest.approx(862.53745, rel=1e-3)
    assert metrics.kernel_distance(fake, RealStatistics.of(real), subsets=1) == pytest.approx(0.01095, abs=1e-4)
    found = precision_recall_density_coverage(fake, real, squared_radii(real))
    assert found["density"] == pytest.approx(0.97969, abs=0.01)
    assert found["coverage"] == pytest.approx(0.94141, abs=0.01)


@pytest.mark.skipif(
    not os.environ.get("GAN_ABLATE_TEST_DINOV2_B"),
    reason="needs dinov2_vitb14_pretrain.pth ($GAN_ABLATE_TEST_DINOV2_B)",
)
def test_torch_fidelitys_published_checksum():
    """tests/torch_pure/fe_dinov2/test_dinov2_fe.py of toshas/torch-fidelity, which resizes as TensorFlow did."""
    from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

    ours = foundation.foundation_for("dinov2", os.environ["GAN_ABLATE_TEST_DINOV2_B"])
    images = torch.randint(256, (1, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(2023))
    x = interpolate_bilinear_2d_like_tensorflow1x(images.float(), size=(224, 224), align_corners=False) / 255
    with torch.no_grad():
        assert float(ours.network((x - ours.mean) / ours.std).sum()) == pytest.approx(-34.6249580383, abs=1e-2)


@pytest.mark.skipif(
    not (REAL[CLIP.variable] and os.environ.get("GAN_ABLATE_TEST_CMMD_PYTORCH")),
    reason="needs ViT-L-14-336px.pt ($GAN_ABLATE_CLIP) and a checkout of sayakpaul/cmmd-pytorch ($GAN_ABLATE_TEST_CMMD_PYTORCH)",
)
def test_cmmds_published_example():
    """README of sayakpaul/cmmd-pytorch: one image against one, the same as by the paper's own code."""
    ours = foundation.foundation_for("clip", REAL[CLIP.variable])
    home, sides = Path(os.environ["GAN_ABLATE_TEST_CMMD_PYTORCH"]), []
    for name in ("reference_images/glowing_512_1.png", "generated_images/glowing_512_2.png"):
        pixels = np.asarray(Image.open(home / name).convert("RGB"))
        sides.append(extract(ours, torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None]).features)
    assert cmmd.clip_mmd(*sides) == pytest.approx(7.696, rel=1e-2)
