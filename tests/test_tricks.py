"""One table runs every trick through the same checks. What makes each trick that trick: test_tricks_{losses,nets}.py."""

import copy
import math
import pickle
from dataclasses import fields
from functools import lru_cache
from types import SimpleNamespace

import pytest
import test_projected
import test_tricks_losses
import test_tricks_modern_losses
import test_tricks_modern_nets
import test_tricks_nets
import test_tricks_updates
import torch
from test_models import fit, small, unbroken_and_resumed
from torch._subclasses.fake_tensor import FakeTensorMode
from trick_tools import PROVED, step, trick

from gan_ablate import DCGAN, NSGAN, WGANGP, trust
from gan_ablate.blueprint import replace
from gan_ablate.errors import InputError
from gan_ablate.models.base import STREAMS, GANModule
from gan_ablate.nets import Critique
from gan_ablate.presets import PRESETS, preset, wgan_gp
from gan_ablate.recipe import CATALOGUED, Recipe, TrickSpec
from gan_ablate.trick import REGISTRY, Chain, Trick, build, catalogue_models
from gan_ablate.tricks import assemble, beyond_catalogue, not_applicable, trick_names
from gan_ablate.tricks.combining import combine, effects

pytestmark = pytest.mark.usefixtures("feature_weights")
CLASSES = {"dcgan": DCGAN, "nsgan": NSGAN, "wgan_gp": WGANGP}
# in three steps of eight images a trick must already act
SOONER = {
    "generator_ema": "generator_ema:decay=0.5",
    "experience_replay": "experience_replay:size=16,kept=4",
    "ada": "ada:images=8,target=-1",
    "label_flipping": "label_flipping:p=0.5",
    "gradient_clipping": "gradient_clipping:max_norm=0.01",
    "lookahead": "lookahead:k=2",
    "bounded_spectral_norm": "bounded_spectral_norm:bound=0.1",  # small weights are under 1 at first
    "projected_discriminator": test_projected.TRICK,  # the smallest side, for speed
    **test_tricks_modern_losses.SOONER,
}
CELLS = [
    (model, SOONER.get(name, name))
    for name in trick_names()
    for model in CLASSES
    if not_applicable(Recipe(model=model, tricks=(name,))) is None
]
# The catalogue's names (../shared/tricks.md) and the models that it puts each to the test on
CATALOGUE = {
    "DN": """label_smoothing label_smoothing_two_sided soft_labels label_flipping saturating flipped_generator_labels
        inverted_generator_loss lsgan hinge f_gan relativistic auxiliary_generator_loss kl_hybrid vae_hybrid
        gradient_penalty dragan virtual_batch_norm adam_lr sgd_discriminator loss_balancing auxiliary_classifier
        semi_supervised simultaneous_updates extragradient patch_discriminator consensus_optimisation unrolled
        rejection_sampling projected_discriminator""",
    "W": "wgan_clip no_gradient_penalty gp_weight rmsprop",
    "DNW": """feature_matching r1 r2 spectral_norm weight_norm gradient_clipping consistency lecam diff_augment ada
        instance_noise instance_noise_constant generator_noise generator_dropout generator_dropout_train_only
        discriminator_dropout uniform_latents spherical_latents interpolation max_pooling average_pooling instance_norm
        layer_norm group_norm pixel_norm leaky_relu_generator orthogonal_init pixel_shuffle resize_convolution residual
        wide_discriminator deep_discriminator wide_generator minibatch_discrimination minibatch_stddev
        experience_replay fresh_generator_batch adam_beta1 ttur n_critic n_generator lr_decay historical_averaging
        generator_ema conditional projection
        adam_epsilon adam_beta2 negative_momentum optimistic_adam lookahead sharpness_aware truncation
        self_attention equalised_learning_rate multi_scale_discriminator style_modulation path_length progressive_growing
        latent_optimisation""",
    "D": """fully_connected no_batch_norm batch_norm_everywhere leaky_slope sigmoid_output default_init kernel_5
        kernel_3 joint_batches batch_size conditional_batch_norm""",
    "N": "mlp dcgan_init",
    "NW": "batch_norm",
    "DW": "relu_discriminator batch_statistics_at_sampling",
}
DEFAULTS = {  # the numbers that the catalogue writes out
    "label_smoothing": {"real": 0.9},
    "label_smoothing_two_sided": {"real": 0.9, "fake": 0.1},
    "soft_labels": {"real_low": 0.7, "real_high": 1.2, "fake_low": 0.0, "fake_high": 0.3},
    "label_flipping": {"p": 0.05},
    "wgan_clip": {"c": 0.01, "lr": 5e-5},
    "gradient_penalty": {"weight": 10.0, "target": 1.0, "points": "line"},
    "dragan": {"weight": 10.0},
    "instance_noise": {"std": 0.1, "until": 0.5},
    "instance_noise_constant": {"std": 0.1},
    "generator_dropout": {"p": 0.5},
    "generator_dropout_train_only": {"p": 0.5},
    "discriminator_dropout": {"p": 0.3},
    "leaky_relu_generator": {"slope": 0.2},
    "wide_discriminator": {"factor": 2.0},
    "deep_discriminator": {"factor": 2},
    "wide_generator": {"factor": 2.0},
    "minibatch_discrimination": {"kernels": 16, "dims": 8},
    "adam_lr": {"lr": 1e-3},
    "adam_beta1": {"beta1": 0.9},
    "ttur": {"factor": 4.0},
    "generator_ema": {"decay": 0.999},
    "conditional": {"dims": 4},
}
# the trick that the catalogue has for being no change at all, and those that are changes of what is paired
EQUALS_BASE = {
    ("dcgan", "flipped_generator_labels"),
    ("nsgan", "flipped_generator_labels"),
    ("wgan_gp", "hinge"),  # not in its catalogue: inside the margin, where training starts, hinge is Wasserstein's loss
}
OTHER_LATENTS = {"fresh_generator_batch", "batch_size"}
OTHER_WEIGHTS = {"default_init", "dcgan_init", "orthogonal_init", "wgan_clip", "equalised_learning_rate"}


def named(cells=CELLS):
    return pytest.mark.parametrize(("model", "name"), cells, ids=[f"{m}-{n}" for m, n in cells])


def bare(name):
    return name.partition(":")[0]


# -- the catalogue --------------------------------------------------------------------------------------------------


def test_every_row_of_the_catalogue_is_registered_under_its_name_for_its_models():
    tables = (CATALOGUE, test_tricks_modern_losses.CATALOGUE)
    rows = {name: letters for table in tables for letters, names in table.items() for name in names.split()}
    assert {name: cls.models for name, cls in REGISTRY.items()} == rows


@pytest.mark.parametrize("name", sorted(DEFAULTS))
def test_defaults_are_the_catalogues(name):
    assert {f.name: f.default for f in fields(REGISTRY[name])}.items() >= DEFAULTS[name].items()


@pytest.mark.parametrize("name", trick_names())
def test_names_its_paper_and_its_sources_and_is_frozen(name):
    cls = REGISTRY[name]
    assert any(c.isdigit() for c in cls.paper)
    assert cls.recommended_by or cls.advised_against_by
    assert cls.__doc__
    assert cls.__dataclass_params__.frozen
    assert set(cls.conflicts) <= set(trick_names())
    assert set(cls.bounds) | set(cls.choices) <= {f.name for f in fields(cls)}


@pytest.mark.parametrize("name", trick_names())
def test_acts_on_every_model_that_the_catalogue_tests_it_on(name):
    for model in catalogue_models(REGISTRY[name]):
        # a level that is the model's own is no arm there: take another one
        level = {"adam_beta1": "adam_beta1:beta1=0.3"}.get(name, name)
        assert not_applicable(Recipe(model=model, tricks=(level,))) is None


def test_each_has_a_test_of_what_makes_it_that_trick():
    assert test_projected
    assert test_tricks_losses
    assert test_tricks_modern_nets
    assert test_tricks_nets
    assert test_tricks_updates
    assert set(PROVED) == set(trick_names())


@pytest.mark.parametrize("name", trick_names())
def test_bad_parameters_are_refused_by_name(name):
    cls = REGISTRY[name]
    for parameter, (low, high) in cls.bounds.items():
        default = next(f.default for f in fields(cls) if f.name == parameter)
        beyond = [high + (1 if isinstance(default, int) else max(1.0, abs(high)) * 0.5)] if math.isfinite(high) else []
        for wrong in (low - 1, *beyond, "many", None):
            with pytest.raises(InputError, match=f"{name}: {parameter}="):
                trick(name, **{parameter: wrong})
    for parameter in cls.choices:
        with pytest.raises(InputError, match=f"{name}: unknown {parameter} 'nonsense': "):
            trick(name, **{parameter: "nonsense"})
    with pytest.raises(InputError, match=name):
        trick(name, no_such_parameter=1)


# -- the same checks for all ----------------------------------------------------------------------------------------


@pytest.fixture
def three_critic_steps(monkeypatch):
    """WGAN-GP with three critic steps a round in place of five: the other two are no others."""
    monkeypatch.setitem(PRESETS, "wgan_gp", lambda recipe: replace(wgan_gp(recipe), n_critic=3))


@lru_cache
def base(model, channels, precision):
    return fit(small(CLASSES[model], channels=channels, precision=precision))[0]


@pytest.mark.usefixtures("three_critic_steps")
@named()
@pytest.mark.parametrize(("channels", "precision"), [(1, "fp32"), (3, "bf16")])
def test_trains_finite_and_changes_the_outcome(model, name, channels, precision):
    arm, _ = fit(small(CLASSES[model], channels=channels, precision=precision, tricks=[name]))
    assert arm.finite
    assert all(torch.isfinite(v).all() for v in arm.state_dict().values())
    control = base(model, channels, precision)
    z = torch.randn(4, control.latent_dim, generator=torch.Generator().manual_seed(0))
    same = torch.equal(control(z), arm(z)) and torch.equal(control.generate(32, seed=1), arm.generate(32, seed=1))
    assert same == ((model, bare(name)) in EQUALS_BASE)


@pytest.mark.usefixtures("three_critic_steps")
@named()
def test_is_deterministic_and_survives_a_checkpoint_bit_for_bit(model, name, tmp_path):
    rounds = preset(Recipe(model=model)).n_critic
    build_ = lambda: small(CLASSES[model], tricks=[name], batch_size=24)  # noqa: E731
    unbroken, ours = unbroken_and_resumed(build_, rounds + (model == "wgan_gp"), tmp_path)
    assert unbroken.keys() == ours.keys()
    assert [k for k, v in ours.items() if not torch.equal(v, unbroken[k])] == []


def kind(layer):
    """A layer's class, without what constraints on its weight put in front of the name."""
    return type(layer).__name__.removeprefix("Parametrized")


def own(layer):
    """The parameters of one layer by name; its weight before spectral norm divides it."""
    if hasattr(layer, "parametrizations"):
        weight = getattr(layer.parametrizations.weight, "original", layer.weight)
        found = {"weight": weight, **({} if layer.bias is None else {"bias": layer.bias})}
    else:
        inside = "parametrizations" in type(layer).__module__ or "Parametrization" in type(layer).__name__
        found = {} if inside else dict(layer.named_parameters(recurse=False))
    return {k: v.detach().clone() for k, v in found.items()}


@lru_cache
def watched(model, name):
    """Initial weights by layer, and the images and z's of the first steps."""
    module = small(CLASSES[model], tricks=[name] if name else [], steps=2)
    seen = {"z_g": [], "real": []}
    start = {k: (kind(m), own(m)) for k, m in module.named_modules() if own(m)}
    draw, make = module._z, module._step

    def z(stream, n):
        value = draw(stream, n)
        if stream == "latents_g":
            seen["z_g"].append(value.clone())
        return value

    def real(x, labels):
        seen["real"].append(x.clone())
        return make(x, labels)

    module._z, module._step = z, real
    fit(module)
    return start, {k: torch.cat(v) if v else torch.empty(0) for k, v in seen.items()}


@named()
def test_does_not_move_data_latents_or_shared_initial_weights(model, name):
    """Arms are paired by seed: the data, the z of G's steps, and the weights of layers that both arms have."""
    (start, seen), (start_arm, seen_arm) = watched(model, ""), watched(model, name)
    n = min(len(seen["real"]), len(seen_arm["real"]))
    assert n
    assert torch.equal(seen["real"][:n], seen_arm["real"][:n])
    if bare(name) not in OTHER_LATENTS:
        n = min(len(seen["z_g"]), len(seen_arm["z_g"]))
        assert n
        assert torch.equal(seen["z_g"][:n], seen_arm["z_g"][:n])
    # a layer is shared where both arms have one of the same kind and shapes under its name (biases may come and go)
    moved = []
    for layer in start.keys() & start_arm.keys() if bare(name) not in OTHER_WEIGHTS else ():
        (kind_, mine), (kind_arm, theirs) = start[layer], start_arm[layer]
        both = mine.keys() & theirs.keys()
        if kind_ == kind_arm and all(mine[k].shape == theirs[k].shape for k in both):
            near = torch.allclose if bare(name) == "weight_norm" else torch.equal  # g v / ||v|| rounds
            moved += [f"{layer}.{k}" for k in both if not near(mine[k], theirs[k])]
    assert moved == []


@pytest.mark.usefixtures("three_critic_steps")
@named()
def test_a_step_neither_reads_a_tensor_nor_branches_on_one(model, name, monkeypatch):
    """Under fake tensors `.item()` and `if tensor:` raise, so what passes can be captured in a CUDA graph.

    The optimisers are SGD here: Adam, as torch runs it on the CPU, reads its own step counter. `test_step.py` has the
    optimisers as they run on a GPU.
    """
    monkeypatch.setattr(GANModule, "log_every", 1 << 30)  # records read what they record, every so many steps
    monkeypatch.setattr(torch.nn.Module, "to", lambda self, *_, **__: self)  # fake parameters cannot be moved in place
    with FakeTensorMode():
        module = small(CLASSES[model], tricks=[name])
        module.streams = {stream: torch.Generator() for stream in STREAMS}
        players = (module.discriminator, module.generator)
        optimizers = [torch.optim.SGD(p.parameters(), 0.1, momentum=0.9, fused=True) for p in players]
        for optimizer in optimizers:
            optimizer.param_groups[0] |= {"initial_lr": 0.1, "lr": torch.full((), 0.1, dtype=torch.float64)}
        module.optimizers, module.manual_backward = lambda: optimizers, lambda loss: loss.backward()
        module._trainer = SimpleNamespace(should_stop=False)
        batch = torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8), torch.arange(8)
        for k in range(2 * module.blueprint.n_critic):
            module.training_step(batch, k)
    assert module.g_steps >= 2


def test_the_check_for_host_synchronisation_can_fail(monkeypatch):
    cls = REGISTRY["instance_noise"]
    monkeypatch.setattr(cls, "inputs", lambda self, images, step, state: images * step.t.item())
    with pytest.raises(Exception, match=r"_local_scalar_dense|item"):
        test_a_step_neither_reads_a_tensor_nor_branches_on_one("dcgan", "instance_noise", monkeypatch)


# -- combining ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pair", "claim"),
    [
        (("max_pooling", "average_pooling"), "d_down"),
        (("kernel_5", "pixel_shuffle"), "g_up"),
        (("adam_lr", "ttur"), "d_optimizer.lr"),
        (("adam_beta1", "rmsprop"), "d_optimizer"),
        (("r1", "relativistic"), "r1"),
        (("lsgan", "hinge"), "objective"),
        (("generator_dropout", "generator_noise"), "g_after"),
        (("residual", "mlp"), "discriminator"),
        (("conditional", "projection"), "g_condition"),
    ],
)
def test_two_that_claim_one_thing_are_refused_by_name(pair, claim):
    with pytest.raises(InputError, match=f"tricks '{pair[0]}' and '{pair[1]}' both set .*{claim}.*: keep one"):
        assemble(Recipe(tricks=pair))


@pytest.mark.parametrize(
    "tricks", [("r1", "r2"), ("adam_lr", "adam_beta1:beta1=0"), ("spectral_norm", "virtual_batch_norm")]
)
def test_claims_are_as_fine_as_options_and_entries(tricks):
    assemble(Recipe(tricks=tricks))


@pytest.mark.parametrize(
    "pair", [("spectral_norm", "weight_norm"), ("label_smoothing", "soft_labels"), ("ada", "diff_augment")]
)
def test_declared_conflicts_are_refused_either_way_round(pair):
    for tricks in (pair, pair[::-1]):
        with pytest.raises(InputError, match="cannot stand together"):
            assemble(Recipe(tricks=tricks))


@pytest.mark.parametrize(
    "pair",
    [
        ("spectral_norm", "batch_norm_everywhere"),
        ("n_critic:equal=compute", "n_generator:equal=compute"),
    ],
)
def test_edits_whose_order_would_matter_are_refused(pair):
    for tricks in (pair, pair[::-1]):
        with pytest.raises(InputError, match=r"undo each other|both set"):
            assemble(Recipe(tricks=tricks))


def test_a_loss_that_replaces_runs_before_those_that_add():
    """The moments' term stays in G's loss beside feature matching, in either order."""
    losses = []
    features = Critique(torch.zeros(8), torch.randn(8, 6))
    now = step(critique=lambda x: features, fake_critique=Critique(torch.zeros(8), features.features + 1))
    for names in (("feature_matching", "auxiliary_generator_loss"), ("auxiliary_generator_loss", "feature_matching")):
        chain = combine({n: trick(n) for n in names}, preset(Recipe()))
        losses.append(chain.g_loss(torch.tensor(1e9), now, ({}, {})))
    matching = trick("feature_matching").g_loss(torch.tensor(0.0), now, {})
    assert losses[0] == losses[1] > matching


@pytest.mark.parametrize(
    ("tricks", "message"),
    [
        (("joint_batches", "no_batch_norm"), "joint_batches needs batch norm in D"),
        (("label_smoothing", "lsgan"), "label_smoothing would change nothing"),
        (("loss_balancing", "hinge"), "loss_balancing needs an objective on probabilities"),
        (("kernel_5", "mlp"), "kernel_5 needs DCGAN's plain convolutions"),
        (("experience_replay", "conditional"), "experience_replay needs networks without labels"),
        (("conditional_batch_norm", "batch_statistics_at_sampling"), None),
    ],
)
def test_needs_are_asked_of_the_whole_arm(tricks, message):
    reason = not_applicable(Recipe(tricks=tricks))
    assert reason is None if message is None else message in reason


def test_a_dataset_without_classes_refuses_labels():
    for name in ("conditional", "auxiliary_classifier", "projection", "semi_supervised"):
        with pytest.raises(InputError, match=f"{name} needs a dataset with classes"):
            assemble(Recipe(dataset="photos.zip", classes=0, tricks=(name,)))
        assemble(Recipe(dataset="photos.zip", classes=7, tricks=(name,)))


def test_the_catalogues_scope_is_a_matter_of_studies_not_of_what_can_be_trained():
    assert "dcgan only" in beyond_catalogue("nsgan", ["kernel_5"])
    assert beyond_catalogue("dcgan", ["kernel_5", "my.own.Trick"]) is None
    assert not_applicable(Recipe(model="nsgan", tricks=("kernel_5",))) is None


def test_both_owning_the_average_are_refused():
    with pytest.raises(InputError, match="both set averaged"):
        combine({"a": trick("generator_ema"), "b": trick("generator_ema")}, preset(Recipe()))


def test_a_chain_is_a_trick_and_keeps_states_apart():
    a, b = trick("experience_replay", size=4), trick("experience_replay", size=6)
    state = Chain((Chain((a,)), b)).init(step())
    assert [len(own["images"]) for own in state] == [4, 6]


def test_a_dozen_at_once(tmp_path):
    dozen = """instance_noise leaky_relu_generator spherical_latents minibatch_stddev:d_norm=keep resize_convolution lecam
        gradient_clipping r1 lr_decay generator_ema label_smoothing weight_norm historical_averaging""".split()
    module, _ = fit(small(DCGAN, tricks=dozen))
    assert module.finite


def test_a_trick_of_ones_own_by_import_path(tmp_path, monkeypatch):
    (tmp_path / "mine_for_test.py").write_text(
        "from dataclasses import dataclass\n"
        "from gan_ablate.trick import Trick\n"
        "@dataclass(frozen=True)\n"
        "class Louder(Trick):\n"
        "    gain: float = 2.0\n"
        "    def g_loss(self, loss, step, state):\n"
        "        return self.gain * loss\n"
    )
    monkeypatch.chdir(tmp_path)
    with trust.for_a_while():
        trust.trust("mine_for_test")
        module, _ = fit(small(DCGAN, tricks=["mine_for_test.Louder:gain=3"]))
    assert module.recipe.tricks[0].params == {"gain": 3}
    assert "g_loss" in module.chain.overridden


def test_effects_print_the_change():
    assert effects(trick("no_batch_norm"), preset(Recipe())) == (
        "g_norm: batch_norm -> none",
        "d_norm: batch_norm -> none",
    )
    assert effects(trick("label_smoothing"), preset(Recipe(model="wgan_gp"))) == ()


def test_a_trick_of_no_parameters_says_so():
    with pytest.raises(InputError, match="lsgan: takes no parameters"):
        build(TrickSpec("lsgan", {"a": 1}))
    assert isinstance(build(TrickSpec("lsgan")), Trick)
    assert set(CATALOGUED) == set(CLASSES)


# -- what the tricks ask of the module ------------------------------------------------------------------------------


def test_forward_and_generate_show_g_the_same_latents():
    module, seen = small(DCGAN, tricks=["uniform_latents"]), []
    module.generator.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    module(torch.randn(500, module.latent_dim))
    module.generate(500, seed=0)
    assert all(1 >= z.abs().max() > 0.9 for z in seen)


def test_a_whole_number_does_for_a_float_of_the_optimiser():
    module, _ = fit(small(DCGAN, beta1=0, lr=1))
    assert module.configure_optimizers()[0].defaults["betas"] == (0.0, 0.999)


@pytest.mark.parametrize("name", ["semi_supervised", "conditional"])
def test_more_classes_in_the_data_than_in_the_model_are_named(name):
    with pytest.raises(InputError, match="noise has 4 classes, but the model was built for 3: give classes="):
        fit(small(DCGAN, tricks=[name], classes=3))
    with pytest.raises(InputError, match="the number of its classes is not known"):
        small(DCGAN, tricks=[name], dataset="photos.zip")


def test_batch_statistics_at_sampling_are_those_of_whole_batches():
    module, _ = fit(small(DCGAN, tricks=["batch_statistics_at_sampling", "fully_connected"]))
    nine, sixteen = module.generate(9, seed=0), module.generate(16, seed=0)
    assert torch.equal(nine, sixteen[:9])


def test_averaged_statistics_are_of_the_latents_of_training():
    plain, between = (
        fit(small(DCGAN, tricks=["generator_ema:decay=0.5", *more]))[0] for more in ([], ["interpolation:path=lerp"])
    )
    with plain.sampling() as a, between.sampling() as b:
        assert torch.equal(a.first[0].running_var, b.first[0].running_var)


def test_blueprints_can_be_copied_and_pickled():
    blueprint = preset(Recipe(model="wgan_gp"))
    assert copy.deepcopy(blueprint) == pickle.loads(pickle.dumps(blueprint)) == blueprint
