"""What is kept on disk is verified: statistics and classifiers that are damaged or another's are computed again."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from gan_ablate import cache
from gan_ablate.data import ImageSet, generated, load
from gan_ablate.errors import InputError
from gan_ablate.evaluate import Features, classifier, frechet, load_extractor
from gan_ablate.evaluate import real_statistics as statistics
from gan_ablate.evaluate.metrics import evaluate_features
from gan_ablate.evaluate.real_statistics import RealStatistics, real_statistics


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GAN_ABLATE_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def shapes() -> ImageSet:
    return load("shapes", size=16, channels=3, count=640)


def two_classes() -> ImageSet:
    """Dark and bright noise, 28 px grey."""
    y = torch.arange(40) % 2
    noise = torch.randint(0, 60, (40, 1, 28, 28), generator=torch.Generator().manual_seed(0))
    return ImageSet.of((noise + 150 * y.view(-1, 1, 1, 1)).to(torch.uint8), y, ("dark", "bright"), "noise")


def _replaced(file, **arrays):
    """The statistics file with other arrays in it, under the seal that it had."""
    content, newline, seal = file.read_bytes().rpartition(b"\n{")
    content = content if newline else seal
    with np.load(io.BytesIO(content)) as held:
        out = io.BytesIO()
        np.savez(out, **{name: arrays[name](held[name]) if name in arrays else held[name] for name in held.files})
    return out.getvalue(), (newline + seal if newline else b"")


TAMPERED = {
    "a NaN in the factor": ("factor", lambda a: np.where(np.eye(len(a)) > 0, np.nan, a)),
    "shifted means": ("mean", lambda a: a + 0.25),
    "other neighbours": ("kid_features", lambda a: a[::-1].copy()),
}


@pytest.mark.parametrize("kind", [*TAMPERED, "a NaN under a seal of its own", "another set's", "a flipped bit"])
def test_statistics_that_are_not_those_that_were_kept_are_computed_again(shapes, tmp_path, monkeypatch, kind):
    extractor = load_extractor("classifier", dataset=shapes)
    fresh = real_statistics(shapes, extractor)
    folder = tmp_path / "cache" / "statistics"
    (file,) = folder.glob("*.npz")
    if kind in TAMPERED:
        name, change = TAMPERED[kind]
        file.write_bytes(b"".join(_replaced(file, **{name: change})))
    elif kind == "another set's":
        half = shapes.rows(torch.arange(320))
        real_statistics(half, extractor)
        (other,) = set(folder.glob("*.npz")) - {file}
        file.write_bytes(other.read_bytes())
    elif kind == "a flipped bit":
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    else:
        content, line = _replaced(file, factor=TAMPERED["a NaN in the factor"][1])
        file.write_bytes(cache.seal(content, json.loads(line)["key"]))
    again = real_statistics(shapes, extractor)
    for field in dataclasses.fields(RealStatistics):
        one, two = getattr(fresh, field.name), getattr(again, field.name)
        assert torch.equal(one, two) if isinstance(one, torch.Tensor) else one == two, field.name
    monkeypatch.setattr(statistics, "_compute", None)  # would fail if called: what was made anew is kept
    assert real_statistics(shapes, extractor).count == fresh.count


def test_a_distance_that_is_not_finite_is_never_zero():
    x = torch.randn(64, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    real = RealStatistics.of(x)
    for part, at in (("factor", (3, 2)), ("mean", (1,))):
        for bad in (math.nan, math.inf):
            spoilt = {"mean": real.mean, "factor": real.factor} | {part: getattr(real, part).clone()}
            spoilt[part][at] = bad
            for features in (x, x[:5]):
                assert math.isnan(frechet.frechet_distance(features, SimpleNamespace(**spoilt)))
            with pytest.raises(InputError, match=f"the {part} of the real images' features is not finite"):
                dataclasses.replace(real, **{part: spoilt[part]})
    huge = torch.full_like(x, 1e200)  # squares overflow
    huge[::2] = -1e200
    assert math.isnan(frechet.frechet_distance(huge, real))
    assert math.isnan(frechet.frechet_distance_infinity(huge, real))
    found = evaluate_features(Features(huge, torch.zeros(64, 4)), real, only=["fid", "fid_infinity", "kid"])
    assert set(found.values()) == {None}


def test_a_lock_file_is_neither_followed_nor_emptied(tmp_path):
    kept, path = tmp_path / "kept", tmp_path / "a.npz"
    kept.write_text("mine")
    lock = tmp_path / "a.npz.lock"
    lock.symlink_to(kept)
    with pytest.raises(InputError, match=r"a\.npz\.lock: is a link"), cache.locked(path):
        pass
    lock.unlink()
    lock.hardlink_to(kept)
    with cache.locked(path):
        pass
    assert kept.read_text() == "mine"


def untrained(dataset, device, *, budget):
    """In place of `classifier.train`: weights that depend on the set, at once."""
    with torch.random.fork_rng():
        torch.manual_seed(len(dataset.classes[0]))
        state = classifier.SmallCNN(28, 1, 2).state_dict()
    meta = {"recipe": classifier.RECIPE, "dataset": "noise", "size": 28, "channels": 1, "accuracy": 1.0}
    return {"state": state, "meta": meta | {"fingerprint": dataset.fingerprint, "classes": list(dataset.classes)}}


@pytest.mark.parametrize("kind", ["another set's", "not finite"])
def test_a_kept_classifier_that_is_not_the_sets_own_is_trained_again(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(classifier, "train", untrained)
    data = two_classes()
    own = classifier.classifier_for(data)
    (file,) = (tmp_path / "cache" / "classifiers").glob("*.pt")
    if kind == "another set's":
        classifier.classifier_for(dataclasses.replace(data, fingerprint="another", classes=("x", "y")))
        (other,) = set(file.parent.glob("*.pt")) - {file}
        file.write_bytes(other.read_bytes())
    else:
        content, _, line = file.read_bytes().rpartition(b"\n")
        held = torch.load(io.BytesIO(content), weights_only=True)
        held["state"]["head.bias"][0] = math.nan
        torch.save(held, out := io.BytesIO())
        file.write_bytes(cache.seal(out.getvalue(), json.loads(line)["key"]))
    again = classifier.classifier_for(data)
    assert (again.classes, again.digest) == (own.classes, own.digest)


# ---- generated sets


@pytest.mark.parametrize(("name", "channels"), [("digits", 1), ("digits", 3), ("shapes", 3)])
def test_a_generated_set_is_drawn_once_on_a_machine(name, channels, monkeypatch):
    drawn, generate = [], generated.GENERATED[name]
    monkeypatch.setitem(generated.GENERATED, name, lambda *args: drawn.append(args) or generate(*args))
    first, again = (generated.load_generated(name, 8, channels, "test", 40) for _ in range(2))
    assert len(drawn) == 1
    for a, b in [
        (first, again),
        *([(first.drawn_from, again.drawn_from)] if channels == 3 and name == "digits" else []),
    ]:
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.labels, b.labels)
        assert (a.classes, a.name, a.fingerprint) == (b.classes, b.name, b.fingerprint)
    assert again.fingerprint == generate(8, channels, "test", 40).fingerprint
    (file,) = (cache.cache_folder("datasets")).glob("*.pt")
    file.write_bytes(file.read_bytes()[:-200])
    assert generated.load_generated(name, 8, channels, "test", 40).fingerprint == first.fingerprint
    assert len(drawn) == 2


def test_a_generated_set_needs_no_cache(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GAN_ABLATE_CACHE", str(tmp_path / "file" / "below"))
    assert len(generated.load_generated("digits", 8, 1, "test", 12)) == 12
    with pytest.raises(InputError, match="needs size >= 8"):
        generated.load_generated("digits", 4, 1, "test", 12)


def test_what_is_read_while_holding_is_in_memory_then_and_nothing_else_is(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "_HELD", {})
    made = []

    def get(key):
        how = {"read": lambda file: file.read().decode(), "write": lambda text, file: file.write(text.encode())}
        return cache.read_or_make("words", key, suffix=".txt", make=lambda: made.append(key) or key.upper(), **how)

    assert [get("before"), get("inside")] == ["BEFORE", "INSIDE"]
    with cache.holding():
        with pytest.raises(cache.NotKept), cache.holding():
            get("never made")
        assert get("inside") == "INSIDE"
    assert get("after") == "AFTER"
    shutil.rmtree(cache.cache_folder("words"))
    assert [get(key) for key in ("before", "inside", "after")] == ["BEFORE", "INSIDE", "AFTER"]
    assert made == ["before", "inside", "after", "before", "after"]  # those that were not held, once more
