"""A recipe is its hash: equal work has one id, different work has another."""

from dataclasses import replace

import pytest

from gan_ablate.errors import InputError
from gan_ablate.recipe import Evaluation, Recipe, TrickSpec, seed_for
from gan_ablate.tricks import complete, not_applicable

CHANGES = {
    "model": "nsgan",
    "dataset": "mnist",
    "tricks": (TrickSpec("label_smoothing"),),
    "architecture": "mlp",
    "size": 32,
    "channels": 1,
    "latent_dim": 7,
    "width": 8,
    "steps": 5,
    "batch_size": 10,
    "lr": 0.5,
    "beta1": 0.1,
    "beta2": 0.2,
    "precision": "fp32",
    "evaluation": Evaluation(samples=10),
    "seed": 1,
}


@pytest.mark.parametrize("field", CHANGES)
def test_every_semantic_field_changes_the_id(field):
    assert replace(Recipe(), **{field: CHANGES[field]}).run_id != Recipe().run_id


def test_the_label_does_not_change_the_id():
    assert Recipe(arm="another name").run_id == Recipe().run_id


def test_defaults_written_out_keep_the_id():
    assert Recipe(model="dcgan", lr=2e-4, beta1=0.5, beta2=0.999, batch_size=128).run_id == Recipe().run_id
    written = complete(Recipe(tricks=("instance_noise:std=0.1,until=0.5",)))
    assert written.run_id == complete(Recipe(tricks=("instance_noise",))).run_id


def test_plain_data_and_back():
    recipe = Recipe(tricks=("instance_noise:std=0.2", {"n_critic": {"n": 3}}), steps=7)
    assert Recipe.from_dict(recipe.to_dict()).run_id == recipe.run_id


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"steps": -1}, "steps=-1: needs a whole number of at least 1"),
        ({"stps": 1}, "did you mean 'steps'"),
        ({"model": "dcgna"}, "did you mean 'dcgan'"),
        ({"size": 17}, "size=17: needs a multiple of 4 from 8 to 1024, such as 16 or 20"),
        ({"size": 6}, "such as 8"),
        ({"size": 5000}, "such as 1024"),
        ({"size": "16"}, "size='16': needs a multiple of 4"),
        ({"lr": 0}, "lr=0: needs a number over 0"),
        ({"beta1": 1.0}, "beta1=1.0"),
        ({"precision": "bf61"}, "did you mean 'bf16'"),
        ({"evaluation": {"sample": 3}}, "did you mean 'samples'"),
        ({"tricks": ["label_smothing"]}, "did you mean 'label_smoothing'"),
        ({"tricks": ["instance_noise:sdt=0.1"]}, "did you mean 'std'"),
        ({"tricks": ["instance_noise:std"]}, "needs a value"),
        ({"tricks": ["instance_noise:std=-1"]}, "std=-1 is out of range"),
        ({"tricks": ["label_flipping:p=1.5"]}, "p=1.5 is out of range: give a number over 0, up to 1"),
        ({"tricks": ["n_critic:n=1.5"]}, "n=1.5 is not a whole number"),
        ({"tricks": ["n_critic", "n_critic:n=3"]}, "stands twice"),
        ({"tricks": ["saturating:p=1"]}, "takes no parameters"),
        ({"tricks": ["no_such_module.Trick"]}, "only with your permission: --trust no_such_module"),
    ],
)
def test_bad_input_is_named(data, message):
    with pytest.raises(InputError) as caught:
        complete(Recipe.from_dict(data))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("model", "trick", "applies"),
    [
        ("wgan_gp", "label_smoothing", False),
        ("wgan_gp", "n_critic:n=5", False),
        ("wgan_gp", "n_critic:n=1", True),
        ("nsgan", "no_batch_norm", False),
        ("dcgan", "no_batch_norm", True),
        ("wgan_gp", "no_batch_norm", True),
        ("dcgan", "label_smoothing", True),
    ],
)
def test_an_arm_that_would_change_nothing_is_found(model, trick, applies):
    assert (not_applicable(complete(Recipe(model=model, tricks=(trick,)))) is None) is applies


def test_evaluation_points_end_at_the_last_step():
    for points in range(1, 12):
        for total in (1, 2, 7, 1000):
            steps = Evaluation(points=points).steps(total)
            assert steps[-1] == total
            assert list(steps) == sorted(set(steps))
            assert len(steps) == min(points, total)


def test_seeds_of_purposes_differ():
    seeds = {seed_for(s, p) for s in range(100) for p in ("init", "data", "latents_d", "tricks")}
    assert len(seeds) == 400
    assert all(0 <= s < 2**63 for s in seeds)
