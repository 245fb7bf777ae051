"""The data room: what generated, torchvision's and own images promise, and the batches drawn from them."""

from __future__ import annotations

import io
import os
import tracemalloc
import zipfile
from itertools import combinations
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from gan_ablate.data import folders, load, shapes, to_float, to_uint8
from gan_ablate.data.images import ImageSet, convert, fingerprint
from gan_ablate.data.module import Batches, GANDataModule
from gan_ablate.errors import InputError
from gan_ablate.layout import Entry, list_entries
from gan_ablate.sources import SUFFIXES

SHARED = Path(os.environ.get("GAN_ABLATE_SHARED") or Path(__file__).parents[2] / "shared" / "data")
IDX = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAN_ABLATE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GAN_ABLATE_DATA", str(tmp_path / "data"))


# ---- scaling and conversion


def test_scaling_is_the_formula_and_takes_every_level_back():
    levels = torch.arange(256, dtype=torch.uint8)
    x = to_float(levels)
    assert x.dtype == torch.float32
    np.testing.assert_allclose(x.numpy(), np.arange(256) / 127.5 - 1, atol=1e-7)
    assert x[0] == -1
    assert x[255] == 1
    assert torch.equal(to_uint8(x), levels)


def test_to_uint8_rounds_clamps_and_survives_non_finite_values():
    x = torch.tensor([-3.0, -1.0, 0.1 / 127.5 - 1, 0.9 / 127.5 - 1, 1.0, 7.0, float("inf"), -float("inf")])
    assert to_uint8(x).tolist() == [0, 0, 0, 1, 255, 255, 255, 0]
    assert to_uint8(torch.tensor([float("nan")])).tolist() == [0]
    bf16 = torch.linspace(-1, 1, 99).bfloat16()  # scaled in fp32: a bf16 product would lose levels
    assert torch.equal(to_uint8(bf16), to_uint8(bf16.float()))


def test_28_to_32_pads_and_other_sizes_resample_as_pil_does():
    image = torch.randint(0, 256, (3, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    padded = convert(image, 32, 1)
    assert torch.equal(padded[:, :, 2:30, 2:30], image)
    assert padded.sum() == image.sum()
    small = convert(image, 16, 1)
    reference = np.asarray(Image.fromarray(image[0, 0].numpy()).resize((16, 16), Image.Resampling.BILINEAR))
    assert np.abs(small[0, 0].numpy().astype(int) - reference.astype(int)).max() <= 1


def test_grey_and_rgb_convert_as_pil_does():
    rgb = torch.randint(0, 256, (5, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    grey = convert(rgb, 8, 1, chunk=2)
    reference = np.asarray(Image.fromarray(rgb[4].permute(1, 2, 0).numpy()).convert("L"))
    assert np.abs(grey[4, 0].numpy().astype(int) - reference.astype(int)).max() <= 1
    assert torch.equal(convert(grey, 8, 3), grey.repeat(1, 3, 1, 1))


def test_fingerprint_follows_images_and_labels():
    images, labels = torch.arange(48, dtype=torch.uint8).view(1, 3, 4, 4), torch.tensor([1])
    one = fingerprint(images, labels)
    assert one == fingerprint(images.clone(memory_format=torch.channels_last), labels.clone())
    assert len({one, fingerprint(images + 1, labels), fingerprint(images, labels + 1), fingerprint(images, None)}) == 4


# ---- shapes


@pytest.mark.parametrize(("size", "channels", "modes"), [(16, 3, 64), (28, 1, 8), (32, 3, 64), (64, 3, 64)])
def test_shapes_are_deterministic_balanced_and_of_the_asked_form(size: int, channels: int, modes: int):
    one = shapes.generate(size, channels, "train", 256)
    two = shapes.generate(size, channels, "train", 256, chunk_pixels=1 << 13)
    assert torch.equal(one.images, two.images)
    assert one.fingerprint == two.fingerprint
    assert one.images.shape == (256, channels, size, size)
    assert one.images.dtype == torch.uint8
    assert len(one.classes) == len(set(one.classes)) == modes
    assert one.labels.bincount(minlength=modes).tolist() == [256 // modes] * modes


def test_shapes_splits_differ_and_no_two_images_are_equal():
    train, test = (shapes.generate(16, 3, split, 512) for split in ("train", "test"))
    both = torch.cat([train.images, test.images]).flatten(1)
    assert len(both.unique(dim=0)) == 1024


def test_shapes_fill_the_range_stay_inside_and_have_soft_edges():
    images = shapes.generate(16, 1, "train", 800).images[:, 0]
    border = torch.cat([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]])
    corners = images[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert corners.max() <= round(0.15 * 255)  # background
    assert images.amax((1, 2)).min() >= round(0.6 * 255)  # every image shows something bright
    assert images.max() >= 250
    assert border.max() <= 0.75 * 255  # a shape may touch the border, and is then cut by no more than its soft edge
    middle = ((images > 60) & (images < 150)).float().mean()
    assert 0.02 < middle < 0.3


def test_shape_areas_match_geometry():
    """Coverage summed over pixels is the area: pi r^2 of the disc, (1.4 r)^2 of the square, 3 sqrt(3) / 4 r^2 above."""
    exact = {"circle": np.pi * 0.85**2, "ring": np.pi * (0.96**2 - 0.52**2), "square": 1.4**2, "triangle": 3**1.5 / 4}
    exact["cross"] = 4 * 0.93 * 0.27 * 2 - 4 * 0.27**2
    axis = (torch.arange(400, dtype=torch.float64) + 0.5) / 200 - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    for name, distance in shapes.SHAPES.items():
        inside = distance(x, y)
        assert (torch.hypot(x, y)[inside < 0]).max() < 1.02, name  # inside the unit circle
        gradient = torch.hypot(*torch.gradient(inside, spacing=1 / 200))[inside.abs() < 0.02]
        # a distance has slope 1; ridges (corners, the medial axis) are few
        assert gradient.median() == pytest.approx(1, abs=0.01), name
        if name in exact:
            area = (0.5 - inside * 200).clamp(0, 1).sum() / 200**2
            assert area == pytest.approx(exact[name], rel=0.01), name


def test_no_shape_is_another_one_turned_or_scaled():
    """Silhouettes of two different shapes overlap by less than 0.9 (intersection over union), however they lie."""
    axis = (torch.arange(64, dtype=torch.float64) + 0.5) / 32 - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    masks: dict[str, list[Tensor]] = {}
    for name, distance in shapes.SHAPES.items():
        masks[name] = []
        for angle in np.linspace(-shapes.TURN, shapes.TURN, 5):
            for scale in (0.8, 1.0):
                c, s = np.cos(angle) / scale, np.sin(angle) / scale
                masks[name].append(distance(x * c + y * s, y * c - x * s) < 0)
    for (a, ones), (b, others) in combinations(masks.items(), 2):
        worst = max(((p & q).sum() / (p | q).sum()).item() for p in ones for q in others)
        assert worst < 0.9, (a, b, worst)


@pytest.mark.parametrize("bad", [{"size": 4}, {"channels": 2}, {"count": 0}, {"split": "trian"}])
def test_shapes_refuse_what_they_cannot_make(bad: dict):
    with pytest.raises(InputError):
        shapes.generate(**{"size": 16, "count": 8, **bad})


# ---- names, missing files


def test_unknown_name_suggests_the_nearest_and_a_path_is_named():
    with pytest.raises(InputError, match=r"unknown dataset 'mnst': did you mean 'mnist'.*folder or zip"):
        load("mnst", size=28, channels=1)
    with pytest.raises(InputError, match=r"no/such/place.*no such folder or zip"):
        load("no/such/place", size=28, channels=1)
    with pytest.raises(InputError, match=r"unknown split 'trian'.*'train'"):
        load("shapes", size=16, channels=3, split="trian")


@pytest.mark.parametrize(("name", "file"), [("mnist", IDX[0]), ("fashion_mnist", IDX[0]), ("cifar10", "data_batch_1")])
def test_missing_file_without_network_is_named_with_the_way_out(name: str, file: str, tmp_path, monkeypatch):
    def no_network(*_: object, **__: object) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setattr("urllib.request.urlopen", no_network)
    with pytest.raises(InputError) as caught:
        load(name, size=32, channels=3, data_root=tmp_path / "empty")
    message = str(caught.value)
    assert file in message
    assert str(tmp_path / "empty") in message
    assert "--data-root" in message
    assert "\n" not in message


def test_read_only_root_is_never_written(tmp_path, monkeypatch):
    """Root may write anywhere, so the mode bits decide: nothing is fetched into a folder marked read-only."""
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: pytest.fail("tried to download"))
    folder = tmp_path / "marked"
    folder.mkdir(mode=0o555)
    with pytest.raises(InputError, match=r"read-only.*--data-root"):
        load("cifar10", size=32, channels=3, data_root=folder)
    assert list(folder.iterdir()) == []


def test_damaged_mnist_is_named(tmp_path):
    raw = tmp_path / "damaged" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for file in IDX:
        (raw / file).write_bytes(b"\0\0\x08\x03 cut off")
    with pytest.raises(InputError, match=r"mnist: .*idx3-ubyte.*cannot be read"):
        load("mnist", size=28, channels=1, data_root=tmp_path / "damaged")


def _write_mnist(root: Path, count: int) -> np.ndarray:
    """A tiny MNIST in IDX form (big-endian header: magic, dimensions; then bytes)."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (count, 28, 28), dtype=np.uint8)
    labels = (np.arange(count) % 10).astype(np.uint8)
    for file in IDX:
        data, magic = (pixels, 0x803) if "images" in file else (labels, 0x801)
        (raw / file).write_bytes(np.array([magic, *data.shape], ">i4").tobytes() + data.tobytes())
    return pixels


def test_mnist_is_read_from_idx_files_without_network(tmp_path, monkeypatch):
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: pytest.fail("tried to download"))
    pixels = _write_mnist(tmp_path / "tiny", 20)
    images = load("mnist", size=28, channels=1, data_root=tmp_path / "tiny")
    assert np.array_equal(images.images[:, 0].numpy(), pixels)
    assert images.labels.tolist() == [i % 10 for i in range(20)]
    assert images.classes == tuple("0123456789")
    some = load("mnist", size=32, channels=3, data_root=tmp_path / "tiny", count=5)
    assert np.array_equal(some.images[:, 2, 2:30, 2:30].numpy(), pixels[::4])


def test_real_mnist():
    if not (SHARED / "MNIST" / "raw" / IDX[0]).exists():
        pytest.skip(f"no MNIST at {SHARED}; set GAN_ABLATE_SHARED")
    train, test = (load("mnist", size=28, channels=1, split=split, data_root=SHARED) for split in ("train", "test"))
    assert train.images.shape == (60_000, 1, 28, 28)
    assert test.images.shape == (10_000, 1, 28, 28)
    assert train.labels.bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]  # LeCun's
    assert train.images.float().mean() / 255 == pytest.approx(0.1307, abs=1e-4)  # the well-known mean


# ---- folders and zips


def _write_images(root: Path, layout: tuple[str, ...], size: tuple[int, int] = (20, 14)) -> Path:
    rng = np.random.default_rng(0)
    for path in layout:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(root / path)
    return root


def _zip(folder: Path, prefix: str = "") -> Path:
    target = folder.with_suffix(".zip")
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, prefix + path.relative_to(folder).as_posix())
    return target


CLASSES = ("cat/1.png", "cat/2.jpg", "dog/1.png", "dog/deep/2.png", "dog/3.JPEG")


@pytest.mark.parametrize("prefix", ["", "wrapped/"])
def test_zip_and_folder_agree(tmp_path, prefix: str):
    folder = _write_images(tmp_path / "pets", CLASSES)
    (folder / "readme.txt").write_text("not an image")
    (folder / ".hidden.png").write_text("not one either")
    a = load(folder, size=8, channels=3)
    b = load(_zip(folder, prefix), size=8, channels=3)
    assert torch.equal(a.images, b.images)
    assert a.fingerprint == b.fingerprint
    assert a.classes == b.classes == ("cat", "dog")
    assert a.labels.tolist() == b.labels.tolist() == [0, 0, 1, 1, 1]


def test_pixels_are_the_centre_crop_of_the_file(tmp_path):
    folder = _write_images(tmp_path / "one", ("a.png",), size=(20, 14))
    image = Image.open(folder / "a.png")
    whole = load(folder, size=14, channels=3)
    assert whole.labels is None
    assert whole.classes == ()
    assert np.array_equal(whole.images[0].permute(1, 2, 0).numpy(), np.asarray(image.crop((3, 0, 17, 14))))


def test_sixteen_bit_and_transparent_images_are_scaled_not_clipped():
    deep = io.BytesIO()
    Image.fromarray(np.full((4, 4), 128 * 256, np.uint16)).save(deep, "PNG")
    assert folders.decode(deep.getvalue(), 4, 1).max() == 128
    clear = io.BytesIO()
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(clear, "PNG")
    assert folders.decode(clear.getvalue(), 4, 3).max() == 0


def test_split_folders_share_their_classes(tmp_path):
    folder = _write_images(tmp_path / "s", ("train/a/1.png", "train/b/1.png", "train/c/1.png", "test/b/9.png"))
    assert load(folder, size=8, channels=1).labels.tolist() == [0, 1, 2]
    test = load(folder, size=8, channels=1, split="test")
    assert test.classes == ("a", "b", "c")
    assert test.labels.tolist() == [1]


def test_count_is_spread_over_the_classes(tmp_path):
    folder = _write_images(tmp_path / "n", tuple(f"{c}/{i}.png" for c in "ab" for i in range(4)))
    assert load(folder, size=8, channels=1, count=4).labels.tolist() == [0, 0, 1, 1]
    with pytest.raises(InputError, match="9 images asked for, but it has 8"):
        load(folder, size=8, channels=1, count=9)


@pytest.mark.parametrize("zipped", [False, True])
def test_unreadable_image_is_named(tmp_path, zipped: bool):
    folder = _write_images(tmp_path / "bad", CLASSES)
    data = (folder / "cat/2.jpg").read_bytes()
    (folder / "cat/2.jpg").write_bytes(data[: len(data) // 2])
    source = _zip(folder) if zipped else folder
    wanted = f"{source}{'!' if zipped else '/'}cat/2.jpg: not a readable image"
    with pytest.raises(InputError) as caught:
        load(source, size=8, channels=3)
    assert str(caught.value).startswith(wanted)
    assert "replace or remove it" in str(caught.value)
    assert [p.name for p in (tmp_path / "cache").iterdir()] == []  # nothing half-written is left


def test_decompression_bomb_is_refused(tmp_path, monkeypatch):
    folder = _write_images(tmp_path / "big", ("a.png",), size=(60, 60))
    for limit in (3000, 1000):  # Pillow warns over the limit and raises over twice the limit
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(InputError, match=r"a\.png: too many pixels"):
            load(folder, size=8, channels=3)


def test_sources_without_images_or_splits_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no images in it"):
        load(tmp_path / "empty", size=8, channels=3)
    (tmp_path / "fake.zip").write_text("no zip")
    with pytest.raises(InputError, match="neither a folder nor a readable zip"):
        load(tmp_path / "fake.zip", size=8, channels=3)
    plain = _write_images(tmp_path / "plain", CLASSES)
    with pytest.raises(InputError, match="no split 'test'"):
        load(plain, size=8, channels=3, split="test")
    mixed = _write_images(tmp_path / "mixed", ("a/1.png", "2.png"))
    with pytest.raises(InputError, match=r"2\.png lies beside class folders"):
        load(mixed, size=8, channels=3)


def test_cache_is_used_once_filled_and_not_when_a_file_changes(tmp_path, monkeypatch):
    folder = _write_images(tmp_path / "c", CLASSES)
    first = load(folder, size=8, channels=3)
    with monkeypatch.context() as patch:
        patch.setattr(folders, "decode", lambda *_: pytest.fail("decoded again"))
        assert load(folder, size=8, channels=3).fingerprint == first.fingerprint
    Image.new("RGB", (9, 9), (1, 2, 3)).save(folder / "cat/1.png")
    assert load(folder, size=8, channels=3).images[0].flatten(1)[:, 0].tolist() == [1, 2, 3]
    for file in (tmp_path / "cache").iterdir():
        cut = file.read_bytes()[:90]
        file.unlink()  # `first` is still mapped to it
        file.write_bytes(cut)
    anew = load(folder, size=8, channels=3)  # a damaged cache is decoded again
    assert torch.equal(anew.images[1:], first.images[1:])


def test_new_pixels_are_seen_though_name_size_and_time_stay(tmp_path):
    folder = _write_images(tmp_path / "t", ("a.bmp", "b.bmp"))
    first = load(folder, size=8, channels=3)
    file, kept = folder / "a.bmp", (folder / "a.bmp").stat()
    file.write_bytes((folder / "b.bmp").read_bytes())
    os.utime(file, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (kept.st_size, kept.st_mtime_ns)
    assert torch.equal(load(folder, size=8, channels=3).images[0], first.images[1])


def test_a_zip_with_anothers_checksums_gets_its_own_pixels(tmp_path):
    """Both zips list the same names, sizes and CRCs; one of them lies, and is found out when it is read."""
    one = _zip(_write_images(tmp_path / "one", ("a.bmp",)))
    Image.new("RGB", (20, 14), (1, 2, 3)).save(tmp_path / "one" / "a.bmp")
    other = tmp_path / "other.zip"
    with zipfile.ZipFile(other, "w") as archive:
        archive.write(tmp_path / "one" / "a.bmp", "a.bmp")
    told = [zipfile.ZipFile(path).getinfo("a.bmp").CRC.to_bytes(4, "little") for path in (one, other)]
    other.write_bytes(other.read_bytes().replace(told[1], told[0]))
    assert zipfile.ZipFile(other).getinfo("a.bmp").CRC == zipfile.ZipFile(one).getinfo("a.bmp").CRC
    load(one, size=8, channels=3)
    with pytest.raises(InputError, match=r"a\.bmp: not a readable image \(Bad CRC-32"):
        load(other, size=8, channels=3)


def test_links_in_a_circle_add_no_images(tmp_path):
    folder = _write_images(tmp_path / "l", ("cat/1.png", "dog/1.png"))
    _write_images(tmp_path / "elsewhere", ("2.png",))
    (folder / "cat" / "again").symlink_to(folder)
    (folder / "dog" / "up").symlink_to("..")
    (folder / "bird").symlink_to(tmp_path / "elsewhere")  # a class that lies elsewhere is one
    (tmp_path / "elsewhere" / "round").symlink_to(tmp_path / "elsewhere")
    found = [entry.path for entry in list_entries(folder)]
    assert found == ["bird/2.png", "cat/1.png", "dog/1.png"]


def test_a_zip_unpacks_to_no_more_than_it_says(tmp_path):
    path = tmp_path / "bomb.zip"
    size = 100_000_000
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("a.png", bytes(size))
    path.write_bytes(path.read_bytes().replace(size.to_bytes(4, "little"), (1000).to_bytes(4, "little")))
    assert list_entries(path) == [Entry("a.png", 1000)]
    tracemalloc.start()
    with pytest.raises(InputError, match=r"a\.png: not a readable image"):
        load(path, size=8, channels=3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000
    with zipfile.ZipFile(tmp_path / "odd.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.png", bytes(1000))
    with pytest.raises(InputError, match="pack it with deflate"):
        load(tmp_path / "odd.zip", size=8, channels=3)


def test_a_picture_by_name_that_is_a_program_is_not_run(tmp_path, monkeypatch):
    from PIL import EpsImagePlugin

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: pytest.fail("Ghostscript is called"))
    (tmp_path / "e").mkdir()
    Image.new("RGB", (20, 20)).save(tmp_path / "e" / "a.png", "EPS")
    with pytest.raises(InputError, match=r"a\.png: not a readable image \(cannot identify"):
        load(tmp_path / "e", size=8, channels=3)


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_every_suffix_that_is_listed_can_be_read(tmp_path, suffix):
    folder = _write_images(tmp_path / "f", (f"a{suffix}",))
    assert load(folder, size=8, channels=3).images.shape == (1, 3, 8, 8)


def test_unusable_cache_folder_costs_only_the_cache(tmp_path, monkeypatch):
    folder = _write_images(tmp_path / "u", CLASSES)
    cached = load(folder, size=8, channels=3)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GAN_ABLATE_CACHE", str(tmp_path / "file" / "below"))
    assert load(folder, size=8, channels=3).fingerprint == cached.fingerprint


# ---- batches


def _numbered(n: int) -> ImageSet:
    """Image i has the pixels of i in base 256 and the label i."""
    rows = torch.arange(n)
    return ImageSet.of(
        torch.stack([rows // 256, rows % 256], 1).to(torch.uint8).view(n, 1, 1, 2), rows, ("x",) * n, "numbered"
    )


def test_batch_k_is_a_pure_function_of_seed_and_k():
    data = _numbered(50)
    forwards, again = (Batches(data.images, data.labels, 8, seed=3) for _ in range(2))
    in_order = [forwards[k] for k in range(20)]
    for k in (17, 3, 11, 0, 19):
        images, labels = again[k]
        assert torch.equal(images, in_order[k][0])
        assert torch.equal(labels, in_order[k][1])
    assert not torch.equal(Batches(data.images, data.labels, 8, seed=4)[0][1], in_order[0][1])


def test_each_epoch_shows_every_image_at_most_once_in_a_new_order():
    data = _numbered(50)
    batches = Batches(data.images, data.labels, 8, seed=0)
    epochs = [torch.cat([batches[6 * e + i][1] for i in range(6)]) for e in range(3)]
    for labels in epochs:
        assert len(labels) == len(labels.unique()) == 48  # 50 // 8 full batches
    assert not torch.equal(epochs[0], epochs[1])
    images, labels = batches[4]
    assert torch.equal(images[:, 0, 0, 0].long() * 256 + images[:, 0, 0, 1], labels)  # labels stay with their images


def test_drawing_batches_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    data = _numbered(20)
    Batches(data.images, data.labels, 4, seed=0)[7]
    assert torch.equal(before, torch.get_rng_state())


def test_wrong_batch_numbers_are_refused():
    data = _numbered(20)
    with pytest.raises(InputError, match="batch_size=21: needs 1 to 20"):
        Batches(data.images, data.labels, 21, seed=0)
    with pytest.raises(InputError, match="batches=0"):
        GANDataModule(data, batches=0)


class Listener(lightning.LightningModule):
    """Counts its batches as the suite's models do, and remembers them."""

    def __init__(self, stop_at: int | None = None) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.layer = nn.Linear(1, 1)
        self.d_steps, self.stop_at = 0, stop_at
        self.seen: list[list[int]] = []

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        images, labels = batch
        assert images.dtype == torch.uint8
        assert images.device == self.device
        self.seen.append(labels.tolist())
        self.d_steps += 1
        if self.d_steps == self.stop_at:
            self.trainer.save_checkpoint(Path(self.trainer.default_root_dir) / "half.ckpt")
            raise KeyboardInterrupt

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        checkpoint["d_steps"] = self.d_steps

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        self.d_steps = checkpoint["d_steps"]


def _trainer(root: Path, epochs: int = 1, **options: object) -> lightning.Trainer:
    return lightning.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        default_root_dir=root,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,  # type: ignore[arg-type]
    )


def _expected(data: ImageSet, k: int) -> list[list[int]]:
    batches = Batches(data.images, data.labels, 8, seed=0)
    return [batches[i][1].tolist() for i in range(k)]


@pytest.mark.parametrize(("batches", "epochs", "total"), [(None, 1, 6), (None, 2, 12), (20, 1, 20), (4, 1, 4)])
@pytest.mark.filterwarnings(
    "error::lightning.fabric.utilities.warnings.PossibleUserWarning",
    "ignore:The `srun` command is available:UserWarning",  # where Slurm is installed for its own tests
)
def test_trainer_sees_batches_in_order_and_continues_over_epochs(tmp_path, batches, epochs, total):
    data, model = _numbered(50), Listener()
    _trainer(tmp_path, epochs).fit(model, GANDataModule(data, batch_size=8, batches=batches))
    assert model.seen == _expected(data, total)


@pytest.mark.parametrize(("batches", "epochs", "stop_at"), [(20, 1, 7), (20, 1, 1), (None, 3, 8), (None, 3, 6)])
def test_resumed_run_draws_the_batches_of_the_unbroken_one(tmp_path, batches, epochs, stop_at):
    data = _numbered(50)
    first = Listener(stop_at)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        _trainer(tmp_path, epochs).fit(first, GANDataModule(data, batch_size=8, batches=batches))
    second = Listener()
    _trainer(tmp_path, epochs).fit(
        second, GANDataModule(data, batch_size=8, batches=batches), ckpt_path=tmp_path / "half.ckpt"
    )
    assert first.seen + second.seen == _expected(data, batches or 18)


def test_module_without_counter_gets_new_batches_each_epoch(tmp_path):
    data = _numbered(50)
    seen: list[list[int]] = []

    class Plain(lightning.LightningModule):
        configure_optimizers = Listener.configure_optimizers

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(1, 1)

        def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
            seen.append(batch[1].tolist())
            return self.layer(to_float(batch[0]).mean((1, 2, 3)).unsqueeze(1)).mean()

    _trainer(tmp_path, 2).fit(Plain(), GANDataModule(data, batch_size=8))
    assert seen == _expected(data, 12)


def test_without_trainer_the_loader_iterates_on_the_cpu():
    module = GANDataModule("shapes", batch_size=64, batches=3)
    loader = module.train_dataloader()
    drawn = list(loader)
    assert len(drawn) == len(loader) == 3
    assert drawn[0][0].shape == (64, 3, 16, 16)
    assert drawn[0][0].device.type == "cpu"


def test_unlabelled_images_come_with_empty_labels():
    data = _numbered(20)
    images, labels = Batches(data.images, None, 4, seed=0)[0]
    assert images.shape == (4, 1, 1, 2)
    assert labels.shape == (0,)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_device_does_not_change_the_batches():
    data = _numbered(50)
    on_gpu = Batches(data.images.cuda(), data.labels.cuda(), 8, seed=0)
    assert [on_gpu[k][1].tolist() for k in range(9)] == _expected(data, 9)
    assert on_gpu[8][0].is_cuda
