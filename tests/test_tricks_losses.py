"""What makes each trick on targets, objectives, penalties and augmentation that trick."""

import math

import pytest
import torch
from test_models import fit, images, small
from trick_tools import proves, step, trick

from gan_ablate import DCGAN, NSGAN, WGANGP
from gan_ablate.errors import InputError
from gan_ablate.losses import NonSaturating
from gan_ablate.nets import Critique
from gan_ablate.nets.heads import MinibatchDiscrimination
from gan_ablate.nets.layers import AlwaysDropout
from gan_ablate.trick import Targets


# -- labels ---------------------------------------------------------------------------------------------------------


def test_one_sided_smoothing_leaves_the_fake_side_and_g_untouched():
    t = Targets(torch.ones(5), torch.zeros(5))
    smoothed = trick("label_smoothing").targets(t, step(), {})
    assert torch.equal(smoothed.real, torch.full((5,), 0.9))
    assert torch.equal(smoothed.fake, t.fake)
    fake = torch.randn(5)
    assert NonSaturating().generator(fake) == torch.nn.functional.softplus(-fake).mean()  # sees no targets


def test_smoothing_moves_the_best_discriminator_to_its_target():
    # with equal data on both sides D's best answer is real / (1 + ...): minimise over one logit and compare
    logit = torch.zeros(1, requires_grad=True)
    t = trick("label_smoothing", real=0.8).targets(Targets(torch.ones(1), torch.zeros(1)), step(), {})
    optimizer = torch.optim.LBFGS([logit], max_iter=100)

    def closure():
        optimizer.zero_grad()
        loss = NonSaturating().discriminator(logit, logit, t)
        loss.backward()
        return loss

    optimizer.step(closure)
    assert torch.sigmoid(logit).item() == pytest.approx(0.8 / 2, abs=1e-4)


def test_soft_labels_are_uniform_per_sample():
    n = 20000
    soft = trick("soft_labels").targets(Targets(torch.ones(n), torch.zeros(n)), step(), {})
    for values, low, high in ((soft.real, 0.7, 1.2), (soft.fake, 0.0, 0.3)):
        assert low <= values.min() < low + 0.01
        assert high - 0.01 < values.max() <= high
        assert values.mean().item() == pytest.approx((low + high) / 2, abs=0.005)
        assert values.var().item() == pytest.approx((high - low) ** 2 / 12, rel=0.05)
    with pytest.raises(InputError, match="swap them"):
        trick("soft_labels", real_low=1.3)


def test_label_flipping_swaps_the_share_p():
    n, p = 40000, 0.05
    flipped = trick("label_flipping").targets(Targets(torch.ones(n), torch.zeros(n)), step(), {})
    noise = 4 * math.sqrt(p * (1 - p) / n)
    assert set(flipped.real.unique().tolist()) == {0.0, 1.0}
    assert (flipped.real == 0).float().mean().item() == pytest.approx(p, abs=noise)
    assert (flipped.fake == 1).float().mean().item() == pytest.approx(p, abs=noise)
    assert not torch.equal(flipped.real == 0, flipped.fake == 1)


def test_feature_matching_replaces_gs_loss_by_the_distance_of_mean_features():
    real, fake = torch.randn(8, 6), torch.randn(8, 6, requires_grad=True)
    now = step(critique=lambda x: Critique(torch.zeros(8), real), fake_critique=Critique(torch.zeros(8), fake))
    loss = trick("feature_matching").g_loss(torch.tensor(1e9), now, {})
    assert torch.allclose(loss, (real.mean(0) - fake.mean(0)).pow(2).sum())
    assert torch.autograd.grad(loss, fake)[0].abs().sum() > 0
