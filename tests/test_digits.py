"""`digits`, the embedded set: what its images promise, and that classifiers read them as the numerals that they are."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from gan_ablate.data import digits, load
from gan_ablate.data.images import convert
from gan_ablate.errors import InputError
from gan_ablate.evaluate import load_extractor
from gan_ablate.evaluate.classifier import WEIGHTS, ClassifierExtractor, accuracy_of, read


@pytest.mark.parametrize(("size", "channels", "modes"), [(16, 1, 10), (20, 1, 10), (28, 1, 10), (16, 3, 1000)])
def test_are_deterministic_balanced_and_of_the_asked_form(size: int, channels: int, modes: int):
    one = digits.generate(size, channels, "test", 2000)
    two = digits.generate(size, channels, "test", 2000, chunk=7)
    assert torch.equal(one.images, two.images)
    assert one.images.shape == (2000, channels, size, size)
    assert one.images.dtype == torch.uint8
    assert len(one.classes) == modes
    assert one.labels.bincount(minlength=modes).tolist() == [2000 // modes] * modes


def test_a_numeral_does_not_depend_on_the_size():
    """Drawn at 64 px and made smaller, an image is the one drawn small, but for how edges are rounded."""
    large, small = digits.generate(64, 1, "test", 200).images, digits.generate(16, 1, "test", 200).images
    difference = convert(large, 16, 1).float() - small.float()
    assert difference.abs().mean() < 6
    assert difference.flatten(1).abs().mean(1).max() < 12


def test_splits_differ_and_no_two_images_are_equal():
    both = torch.cat([digits.generate(16, 1, split, 1000).images.flatten(1) for split in ("train", "test")])
    assert len(both.unique(dim=0)) == 2000


def test_numerals_are_white_on_black():
    images = digits.generate(28, 1, "train", 2000).images
    assert images.amax((1, 2, 3)).min() >= 250
    assert (images == 0).float().mean() > 0.5


@pytest.mark.parametrize("name", digits.CLASSES)
def test_strokes_stay_inside_the_image(name: str):
    """The middle of a stroke all but never leaves it, so a border cuts half a stroke's width at the most."""
    ways = torch.stack([digits._dots(way) for way in digits.NUMERALS[name]])
    draws = torch.rand(3000, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    dots, _ = digits._written(ways, draws)
    assert (dots.abs() > 1).flatten(1).any(1).double().mean() < 0.005
    assert dots.abs().max() < 1.1


def test_strokes_are_lines_as_thick_as_declared():
    """A 1 without its flag, unturned and unwarped, is a bar of the height and the thickness that the module declares."""
    size = 64
    straight = digits._dots(digits.NUMERALS["1"][0])[None]  # (1, POINTS, 2)
    half = 0.1
    image = digits._drawn(straight * digits.HEIGHT, torch.full((1, 1, 1), half, dtype=torch.float64), size)[0]
    area = image.double().sum() / 255
    bar = (2 * digits.HEIGHT * 2 * half + math.pi * half**2) * (size / 2) ** 2  # with its round ends
    assert area == pytest.approx(bar, rel=0.03)
    assert image.amax(1).count_nonzero() == pytest.approx((digits.HEIGHT + half) * size, abs=2)


def test_dots_lie_closer_than_the_stroke_is_thick():
    """Else a stroke would be a row of pearls."""
    for name, ways in digits.NUMERALS.items():
        for way in ways:
            dots = digits._dots(way).numpy()
            assert len(dots) == digits.POINTS
            gaps = np.linalg.norm(np.diff(dots, axis=0), axis=1)  # jumps between strokes that do not touch are the few
            assert np.quantile(gaps, 0.9) * digits.HEIGHT * digits.SCALE[1] < 2 * digits.THICKNESS[0], name


def test_the_shipped_classifier_is_of_these_very_images():
    """The same on every processor: distances between dots and pixels are integers."""
    meta = read(WEIGHTS / "digits-16x16x1.pt")["meta"]
    train = load("digits", size=16, channels=1)
    assert meta["fingerprint"] == train.fingerprint
    extractor = load_extractor("classifier", dataset=train)
    test = load("digits", size=16, channels=1, split="test", count=2000)
    assert extractor.name == "digits classifier"
    assert accuracy_of(extractor.network, test.images, test.labels) > 0.99


def test_a_classifier_of_real_mnist_reads_them():
    """It has seen handwriting only; numerals that a person could not read, it could not either."""
    extractor = ClassifierExtractor(read(WEIGHTS / "mnist-28x28x1.pt"))
    test = digits.generate(28, 1, "test", 1000)
    assert accuracy_of(extractor.network, test.images, test.labels) > 0.95


def test_three_channels_are_three_numerals():
    stacks = load("digits", size=16, channels=3, split="test", count=1000)
    single = load("digits", size=16, channels=1, split="test")
    assert stacks.drawn_from is not None
    assert stacks.classes[407] == "407"
    assert stacks.labels.tolist() == list(range(1000))
    extractor = load_extractor("classifier", dataset=single)
    for channel in range(3):
        digit = stacks.labels // 10 ** (2 - channel) % 10
        assert accuracy_of(extractor.network, stacks.images[:, channel, None].contiguous(), digit) > 0.99
    own = load_extractor("classifier", dataset=stacks)  # each channel by the digits' own classifier
    assert own.name == "stacked_digits classifier"
    assert own(stacks.images[:50]).logits.argmax(1).tolist() == list(range(50))


@pytest.mark.parametrize("bad", [{"split": "trian"}, {"size": 7}, {"channels": 2}, {"count": 0}])
def test_refuse_what_they_cannot_make(bad: dict):
    with pytest.raises(InputError, match=r"digits: .*needs|did you mean|known"):
        digits.generate(**{"size": 16, "count": 8, **bad})
