"""The training step: objectives against formulas, pairing of arms, resuming, and use by hand."""

import copy
import math

import lightning
import pytest
import torch
from torch import nn

from gan_ablate import DCGAN, NSGAN, WGANGP, GANDataModule
from gan_ablate.data.images import ImageSet
from gan_ablate.errors import InputError
from gan_ablate.losses import NonSaturating, Wasserstein
from gan_ablate.penalties import gradient_penalty
from gan_ablate.trick import Step, Targets

MODELS = [DCGAN, NSGAN, WGANGP]


def images(size=16, channels=3, n=64):
    pixels = torch.randint(0, 256, (n, channels, size, size), generator=torch.Generator().manual_seed(0))
    return ImageSet.of(pixels.to(torch.uint8), torch.arange(n) % 4, tuple("abcd"), "noise")


def fit(module, data=None, ckpt_path=None, **options):
    bp = module.blueprint
    data = data or images(bp.size, bp.channels)
    trainer = lightning.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"max_epochs": 1000, **options},
    )
    data = GANDataModule(data, batch_size=bp.batch_size, seed=module.recipe.seed)
    trainer.fit(module, data, ckpt_path=ckpt_path, weights_only=True if ckpt_path else None)
    return module, trainer


def unbroken_and_resumed(build, at, tmp_path):
    """A run's end, and that of one that goes on in another module from its checkpoint after `at` D steps."""
    path = tmp_path / "c.ckpt"

    class Save(lightning.Callback):
        def on_train_batch_end(self, trainer, pl_module, *_):
            if pl_module.d_steps == at:
                trainer.save_checkpoint(path)

    unbroken = weights(fit(build(), callbacks=[Save()])[0])
    torch.manual_seed(99)
    return unbroken, weights(fit(build(), ckpt_path=path)[0])


def small(cls, **fields):
    return cls(**{"batch_size": 8, "width": 4, "steps": 3, "precision": "fp32", **fields})


def weights(module):
    return {k: v.clone() for k, v in module.state_dict().items()}


def step_of(x):
    return Step(torch.zeros(()), x, None, None, lambda y: None, torch.Generator().manual_seed(0), {}, {})


# -- objectives ---------------------------------------------------------------------------------------------------


def test_non_saturating_loss_is_binary_cross_entropy():
    real, fake = torch.randn(9), torch.randn(9)
    t_real, t_fake = torch.rand(9), torch.rand(9)
    bce = nn.BCEWithLogitsLoss()
    ours = NonSaturating().discriminator(real, fake, Targets(t_real, t_fake))
    assert torch.allclose(ours, bce(real, t_real) + bce(fake, t_fake))
    assert torch.allclose(NonSaturating().generator(fake), bce(fake, torch.ones(9)))


def test_targets_that_no_trick_changes_are_ones_and_zeros_to_the_bit():
    real, fake = (torch.randn(9, requires_grad=True) for _ in range(2))
    losses = [
        NonSaturating().discriminator(real, fake, targets)
        for targets in (Targets(), Targets(torch.ones(9), torch.zeros(9)))
    ]
    assert torch.equal(*losses)
    plain, tensors = (torch.cat(torch.autograd.grad(loss, (real, fake))) for loss in losses)
    assert torch.equal(plain, tensors)


def test_wasserstein_loss_ignores_targets():
    real, fake = torch.randn(9), torch.randn(9)
    ours = Wasserstein().discriminator(real, fake, Targets(torch.rand(9), torch.rand(9)))
    assert torch.allclose(ours, fake.mean() - real.mean())
    assert torch.allclose(Wasserstein().generator(fake), -fake.mean())


def test_gradient_penalty_of_a_linear_critic_in_closed_form():
    w = torch.randn(3, 4, 4)
    real, fake = torch.randn(5, 3, 4, 4), torch.randn(5, 3, 4, 4)
    ours = gradient_penalty(lambda x: (x * w).sum((1, 2, 3)), real, fake, step_of(real), weight=10.0, target=1.0)
    assert torch.allclose(ours, 10 * (w.norm() - 1) ** 2, rtol=1e-5)


def test_gradient_penalty_takes_the_norm_of_each_sample_at_points_between_its_pair():
    # D(x) = |x|^2 / 2 has gradient x, so the penalty is E[|x|^2] with target 0: per sample, x = e r + (1 - e) f
    real, fake = torch.randn(64, 1, 2, 2), torch.randn(64, 1, 2, 2) + 3
    half = lambda x: x.square().sum((1, 2, 3)) / 2  # noqa: E731
    step = step_of(real)
    ours = gradient_penalty(half, real, fake, step, weight=1.0, target=0.0)
    epsilon = torch.rand(64, 1, 1, 1, generator=torch.Generator().manual_seed(0))
    between = fake + epsilon * (real - fake)
    assert torch.allclose(ours, between.flatten(1).square().sum(1).mean(), rtol=1e-4)
    assert len(epsilon.unique()) == 64


# -- the game -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", MODELS)
@pytest.mark.parametrize(("size", "channels"), [(8, 1), (16, 3), (20, 3), (28, 1), (36, 1), (128, 1)])
def test_sizes_and_channels(cls, size, channels):
    module, _ = fit(small(cls, size=size, channels=channels))
    assert module.g_steps == 3
    assert module.d_steps == 3 * module.blueprint.n_critic
    out = module.generate(5, seed=0)
    assert out.shape == (5, channels, size, size)
    assert out.dtype == torch.uint8
    assert module.finite


@pytest.mark.parametrize("architecture", ["conv", "mlp"])
def test_bf16_trains(architecture):
    module, _ = fit(small(NSGAN, precision="bf16", architecture=architecture))
    assert module.finite
    assert {p.dtype for p in module.parameters()} == {torch.float32}


def test_by_hand_on_shapes_for_one_epoch():
    data = GANDataModule("shapes", batch_size=64)
    trainer = lightning.Trainer(
        max_epochs=1, limit_train_batches=4, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    module = DCGAN(width=4)
    trainer.fit(module, data)
    assert module.g_steps == module.total_steps == 4


def test_mismatched_images_are_named():
    with pytest.raises(InputError, match="images are 3x16x16 but the model was built for 1x28x28"):
        fit(small(DCGAN, size=28, channels=1), images(16, 3))


def test_critic_steps_do_not_fire_on_batch_0_and_carry_over_epochs():
    # 64 images in batches of 24 make 2 batches an epoch; 5 critic steps per G step then straddle epochs
    module, trainer = fit(small(WGANGP, batch_size=24, steps=4))
    assert (module.g_steps, module.d_steps) == (4, 20)
    assert trainer.current_epoch >= 9


def test_discriminator_is_unfrozen_after_the_generators_step_and_collects_no_gradient_in_it():
    module, _ = fit(small(DCGAN, steps=1))
    assert all(p.requires_grad for p in module.discriminator.parameters())


def test_dcgan_has_its_papers_layers_and_weights():
    module = DCGAN(width=64, size=64)
    g, d = module.generator, module.discriminator
    assert isinstance(g.output, nn.Tanh)
    assert len([m for m in g.modules() if isinstance(m, nn.BatchNorm2d)]) == 4
    assert len([m for m in d.modules() if isinstance(m, nn.BatchNorm2d)]) == 3
    assert not any(isinstance(m, nn.BatchNorm2d) for m in d.down[0].modules())
    assert g.up[0][0].weight.shape[:2] == (512, 256)
    assert g.up[0][0].weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert module.configure_optimizers()[0].defaults["betas"] == (0.5, 0.999)


def test_critic_has_no_batch_norm():
    assert not [m for m in WGANGP().discriminator.modules() if isinstance(m, nn.BatchNorm2d)]


# -- randomness ---------------------------------------------------------------------------------------------------


def test_same_seed_same_weights_other_seed_others():
    a, b, c = (weights(fit(small(DCGAN, seed=s))[0]) for s in (0, 0, 1))
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert not all(torch.equal(a[k], c[k]) for k in a)


def test_the_global_random_state_does_not_matter():
    torch.manual_seed(1)
    a = weights(fit(small(DCGAN, tricks=["generator_dropout"]))[0])
    torch.manual_seed(2)
    b = weights(fit(small(DCGAN, tricks=["generator_dropout"]))[0])
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_sampling_leaves_training_as_it_was():
    class Sampling(lightning.Callback):
        def on_train_batch_end(self, trainer, pl_module, *_):
            pl_module.generate(3, seed=5)

    plain = weights(fit(small(DCGAN, tricks=["generator_dropout", "generator_ema"]))[0])
    watched = weights(fit(small(DCGAN, tricks=["generator_dropout", "generator_ema"]), callbacks=[Sampling()])[0])
    assert all(torch.equal(plain[k], watched[k]) for k in plain)


def test_sampling_depends_on_its_seed_alone():
    module, _ = fit(small(DCGAN))
    assert torch.equal(module.generate(9, seed=1), module.generate(9, seed=1))
    assert not torch.equal(module.generate(9, seed=1), module.generate(9, seed=2))


EVERYTHING = [
    "soft_labels", "instance_noise", "generator_dropout", "minibatch_discrimination", "experience_replay:size=16,kept=8",
    "generator_ema:decay=0.9", "feature_matching",
]  # fmt: skip


@pytest.mark.parametrize("cls", MODELS)
@pytest.mark.parametrize("at", [1, 4, 7])
def test_resumed_equals_unbroken_bit_for_bit(cls, at, tmp_path):
    tricks = [t for t in EVERYTHING if cls is not WGANGP or t != "soft_labels"]

    build = lambda: small(cls, steps=8 if cls is not WGANGP else 3, tricks=tricks, batch_size=24)  # noqa: E731
    unbroken, resumed = unbroken_and_resumed(build, at, tmp_path)
    assert all(torch.equal(v, unbroken[k]) for k, v in resumed.items())
    assert unbroken.keys() == resumed.keys()


def test_averaged_weights_come_with_their_own_batch_statistics():
    module, _ = fit(small(DCGAN, steps=6, batch_size=32, tricks=["generator_ema:decay=0.5"]))
    live = copy.deepcopy(module.generator)
    with module.sampling() as averaged:
        norm = averaged.first[0]
        z = torch.randn(4096, module.latent_dim)
        hidden = averaged.project(z).unflatten(1, (-1, *averaged.bottom))
        assert torch.allclose(norm.running_mean, hidden.mean((0, 2, 3)), atol=0.1 * hidden.std().item())
        assert torch.allclose(norm.running_var, hidden.var((0, 2, 3)), rtol=0.2)
    assert all(torch.equal(a, b) for a, b in zip(live.state_dict().values(), module.generator.state_dict().values()))


def test_divergence_is_noticed():
    module = small(DCGAN, steps=200, lr=1e30, batch_size=8)
    fit(module)
    assert not module.finite
    assert 1 <= module.diverged_at <= 51
    assert module.g_steps < 200


def test_share_of_training_runs_from_0_to_1():
    seen = []

    class Watch(lightning.Callback):
        def on_train_batch_end(self, trainer, pl_module, *_):
            seen.append(pl_module.t.item())

    fit(small(DCGAN, steps=4), callbacks=[Watch()])
    assert seen == pytest.approx([0, 0.25, 0.5, 0.75])
    assert math.isclose(sum(seen), 1.5)
