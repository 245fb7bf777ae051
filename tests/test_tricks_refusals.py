"""What no arm may be, refused before anything is built: no torch here."""

import pytest

from gan_ablate.errors import InputError
from gan_ablate.recipe import Recipe
from gan_ablate.tricks import assemble, not_applicable


def refusal(*tricks, **fields):
    with pytest.raises(InputError) as caught:
        assemble(Recipe(tricks=tricks, **fields))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("told", "asked"),
    [
        ("conditional_batch_norm", "auxiliary_classifier"),
        ("conditional", "semi_supervised"),
        ("conditional_batch_norm", "semi_supervised"),
        ("projection", "semi_supervised"),
    ],
)
def test_a_d_that_is_told_the_label_is_not_asked_for_it(told, asked):
    for pair in ((told, asked), (asked, told)):
        assert refusal(*pair) == f"{asked} needs a D that is not told the label, which this dcgan has not"


@pytest.mark.parametrize("trick", ["conditional", "auxiliary_classifier", "projection", "semi_supervised"])
def test_one_class_is_none(trick):
    assert f"{trick} needs a dataset with classes" in refusal(trick, dataset="photos.zip", classes=1)
    assemble(Recipe(dataset="photos.zip", classes=2, tricks=(trick,)))
    assert not_applicable(Recipe(dataset="photos.zip", tricks=(trick,))) is None  # known once it is read


@pytest.mark.parametrize(
    ("model", "other", "beta1"),
    [
        ("dcgan", "rmsprop", 0.5),
        ("dcgan", "sgd_discriminator", 0.5),
        ("wgan_gp", "rmsprop", 0),
        ("wgan_gp", "wgan_clip", 0),
    ],
)
def test_a_beta1_that_adam_has_already_is_none_of_an_optimiser_without(model, other, beta1):
    for pair in ((other, f"adam_beta1:beta1={beta1}"), (f"adam_beta1:beta1={beta1}", other)):
        assert "adam_beta1 would change nothing" in refusal(*pair, model=model)
    assert "both set" in refusal(other, "adam_beta1:beta1=0.7", model=model)


@pytest.mark.parametrize("tricks", [("experience_replay",), ("experience_replay", "batch_size:size=15")])
def test_more_images_to_keep_than_a_batch_has(tricks):
    for order in (tricks, tricks[::-1]):
        line = refusal(*order, batch_size=64 if len(tricks) > 1 else 15)
        assert line == "experience_replay needs batches of kept=16 images or more, which this dcgan has not"
    assemble(Recipe(tricks=tricks[:1], batch_size=16))
    assemble(Recipe(tricks=("experience_replay", "batch_size:size=16"), batch_size=8))


@pytest.mark.parametrize(
    "spec",
    [
        "generator_ema:decay=0",
        "generator_ema:decay=1",
        "experience_replay:share=0",
        "historical_averaging:weight=0",
        "instance_noise:std=0",
        "instance_noise_constant:std=0",
        "generator_noise:std=0",
        "generator_dropout:p=0",
        "generator_dropout_train_only:p=0",
        "discriminator_dropout:p=0",
    ],
)
def test_a_parameter_that_turns_a_trick_off_is_out_of_range(spec):
    name, _, setting = spec.partition(":")
    assert refusal(spec).startswith(f"{name}: {setting}")
    assert "out of range" in refusal(spec)


def test_thresholds_of_0_hold_nobody_back():
    assert "loss_balancing would change nothing" in refusal("loss_balancing:d=0,g=0")
    _, blueprint, _ = assemble(Recipe(tricks=("loss_balancing:d=0,g=1",)))
    assert (blueprint.d_gate is None, blueprint.g_gate is None) == (True, False)


@pytest.mark.parametrize("trick", ["conditional", "conditional_batch_norm"])
def test_ds_channel_holds_as_many_numbers_as_a_point_has_pixels(trick):
    points = {"dataset": "ring", "size": 1, "channels": 2}
    for fields, seen in ((points, 1), ({}, 16)):
        _, blueprint, _ = assemble(Recipe(tricks=(f"{trick}:dims=16",), **fields))
        assert blueprint.d_condition.options["dims"] == seen
