"""D's batch statistics: no trick may show D other batches in its own step than in G's, unless it says so.

Batch norm and minibatch statistics make D's answer to an image depend on the batch around it. Where D's own step answers
G's images in the company of others, and G's step answers them alone, D learns one function and G is taught by another.
"""

from dataclasses import dataclass, replace

import pytest
import test_projected
import torch
from test_models import small
from test_tricks_nets import at_rest
from trick_tools import trick

from gan_ablate import DCGAN
from gan_ablate.presets import preset
from gan_ablate.recipe import Recipe
from gan_ablate.step import discriminator_loss, generator_loss
from gan_ablate.trick import FakeBatch, Trick
from gan_ablate.tricks import not_applicable, trick_names

pytestmark = pytest.mark.usefixtures("feature_weights")
N = 64
REAL, NEW, OLD = 1.0, -1.0, 0.0  # every pixel of a real image, of one of G's, of an empty memory
SMALLER = {"projected_discriminator": test_projected.TRICK}
CELLS = [SMALLER.get(name, name) for name in trick_names() if not_applicable(Recipe(tricks=(name,))) is None]


def companies(*tricks):
    """The mean pixel of each batch that D answers, in its own step and in G's: who stands in one batch with whom."""
    module, now, state = at_rest(small(DCGAN, tricks=tricks, batch_size=N), N)
    now = replace(now, real=torch.full_like(now.real, REAL))
    real_forward = module.generator.forward
    module.generator.forward = lambda *args: real_forward(*args) * 0 + NEW
    state = tuple({**own, "stored": torch.tensor(N)} if "stored" in own else own for own in state)
    seen = []
    module.discriminator.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach().float().mean().item()))
    discriminator_loss(module.game, torch.randn(N, module.latent_dim), now, state)
    of_d = seen.copy()
    seen.clear()
    generator_loss(module.game, torch.randn(N, module.latent_dim), now, state)
    return of_d, seen


def strange(*tricks):
    """Batches of G's step whose make-up is that of no batch of D's. 0.1: augmentations move the mean a little."""
    of_d, of_g = companies(*tricks)
    return [x for x in of_g if min(abs(x - y) for y in of_d) > 0.1]


@pytest.mark.parametrize("name", CELLS)
def test_gs_images_stand_among_the_same_images_in_both_steps(name):
    assert not strange(name)


@dataclass(frozen=True)
class MixedReplay(Trick):
    """Old and new images in one batch: what experience_replay did before."""

    def fakes(self, batches, step, state):
        half = len(batches[0].images) // 2
        old = torch.full_like(batches[0].images[:half], OLD)
        return (FakeBatch(torch.cat((batches[0].images[half:], old)), 1.0),)


def test_the_check_finds_a_mixture_in_ds_step_alone():
    assert strange(f"{__name__}.MixedReplay")


def test_the_check_finds_joint_batches_in_ds_step_alone(monkeypatch):
    def alone(game, z, step, state):  # G's step as it was: fakes alone, though D's own batches are joint
        game.discriminator(game.generator(z, step.labels), step.labels)

    monkeypatch.setitem(globals(), "generator_loss", alone)
    assert strange("joint_batches")


@pytest.mark.parametrize("name", trick_names())
def test_what_touches_ds_batches_or_its_gradient_says_what_it_does_about_batch_norm(name):
    cls = type(trick(name))
    base = preset(Recipe(model="wgan_gp" if "DN" not in cls.models and "W" in cls.models else "dcgan"))
    edited = trick(name).edit(base)
    added = {p.target for p in edited.penalties} - {p.target for p in base.penalties}
    touches = "fakes" in trick(name).overridden or edited.joint != base.joint or added
    assert not touches or cls.batch_norm
