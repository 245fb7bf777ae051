"""Which parameters and pairs of tricks are refused, and that equal arms are one recipe. Plans only: no torch here."""

import pytest

from gan_ablate.errors import InputError
from gan_ablate.recipe import Recipe, TrickSpec
from gan_ablate.trick import build
from gan_ablate.tricks import assemble, complete, not_applicable


@pytest.mark.parametrize(
    ("model", "pair"),
    [
        ("dcgan", ("label_smoothing", "label_smoothing_two_sided")),
        ("dcgan", ("feature_matching", "saturating")),
        ("dcgan", ("feature_matching", "flipped_generator_labels")),
        ("dcgan", ("feature_matching", "inverted_generator_loss")),
        ("wgan_gp", ("wgan_clip", "spectral_norm")),
        ("wgan_gp", ("wgan_clip", "weight_norm")),
        ("dcgan", ("spherical_latents", "interpolation")),
        ("dcgan", ("vae_hybrid", "diff_augment")),
        ("dcgan", ("vae_hybrid", "ada")),
        ("dcgan", ("consistency", "diff_augment")),
        ("dcgan", ("consistency", "ada")),
    ],
)
def test_of_two_that_void_each_other_one_must_go(model, pair):
    for tricks in (pair, pair[::-1]):
        with pytest.raises(InputError, match="cannot stand together: keep one of them"):
            assemble(Recipe(model=model, tricks=tricks))


@pytest.mark.parametrize(
    ("name", "params", "says"),
    [
        ("label_smoothing", {"real": 1}, "real=1 is out of range"),
        ("label_smoothing", {"real": 0}, "real=0 is out of range"),
        ("label_smoothing_two_sided", {"real": 1, "fake": 0}, "real=1, fake=0: .*1 and 0 would change nothing"),
        ("label_smoothing_two_sided", {"real": 0.1, "fake": 0.9}, "real=0.1, fake=0.9: real must be over fake"),
        ("label_smoothing_two_sided", {"real": 0.5, "fake": 0.5}, "real must be over fake"),
        ("soft_labels", {"real_low": 1.1}, "mean targets 1.15 .real. and 0.15 .fake.: needs fake < real <= 1"),
        ("soft_labels", {"fake_low": 1.2, "fake_high": 1.2}, "needs fake < real <= 1"),
        ("label_flipping", {"p": 0}, "p=0 is out of range"),
        ("r1", {"gamma": 0}, "gamma=0 is out of range"),
        ("r2", {"gamma": 0.0}, "gamma=0.0 is out of range"),
        ("gp_weight", {"weight": 0}, "gp_weight: weight=0 is no penalty at all: use no_gradient_penalty"),
        *[
            (name, {"weight": 0}, f"{name}: weight=0 is out of range")
            for name in """gradient_penalty dragan lecam consistency kl_hybrid auxiliary_generator_loss vae_hybrid
            feature_matching""".split()
        ],
    ],
)
def test_a_strength_of_nothing_and_targets_the_wrong_way_round_are_refused(name, params, says):
    with pytest.raises(InputError, match=says):
        build(TrickSpec(name, params))


def test_targets_at_the_edge_of_what_is_refused_are_taken():
    build(TrickSpec("soft_labels", {"real_low": 0.8}))
    build(TrickSpec("label_smoothing_two_sided", {"real": 1, "fake": 0.1}))


def test_a_whole_number_for_a_float_is_the_same_recipe():
    ids = {complete(Recipe(tricks=(t,))).run_id for t in ("r1", "r1:gamma=10", "r1:gamma=10.0")}
    assert len(ids) == 1
    (spec,) = complete(Recipe(tricks=("feature_matching:layer=1,weight=2",))).tricks
    assert {k: type(v) for k, v in spec.params.items()} == {"weight": float, "layer": int}
    (spec,) = complete(Recipe(tricks=("fresh_generator_batch:fresh=false",))).tricks
    assert spec.params == {"fresh": False}


def test_a_layer_that_d_has_not_is_refused_in_planning_whatever_the_order_of_the_tricks():
    reason = "feature_matching needs stage {} of D .the stages are 0 to {}., which this dcgan has not"
    for layer in (2, 7, -3):
        with pytest.raises(InputError, match=reason.format(layer, 1)):
            assemble(Recipe(tricks=(f"feature_matching:layer={layer}",)))
    for more in ("deep_discriminator:factor=3", "residual"):
        own = ("feature_matching:layer=2", more)
        for tricks in (own, own[::-1]):
            assert (not_applicable(Recipe(tricks=tricks)) is None) == (more == "residual")
    assemble(Recipe(tricks=("feature_matching:layer=2",), size=32))
