"""Networks of one's own: `gan-ablate train --model my_gan.MyGAN`, or `--generator my_gan.MyG` beside any model."""

from dataclasses import replace

from torch import nn

from gan_ablate import DCGAN
from gan_ablate.presets import dcgan, with_own_networks


class MyG(nn.Module):
    def __init__(self, bp):  # the blueprint: latent_dim, size, channels, g_width, ..
        super().__init__()
        hidden = nn.Sequential(nn.Linear(bp.latent_dim, 128), nn.ReLU(), nn.Linear(128, bp.channels * bp.size**2))
        self.layers = nn.Sequential(hidden, nn.Tanh(), nn.Unflatten(1, (bp.channels, bp.size, bp.size)))

    def forward(self, z):  # (N, latent_dim) -> images (N, C, H, W) in [-1, 1]
        return self.layers(z)


class MyD(nn.Sequential):  # images (N, C, H, W) -> logits (N, 1)
    def __init__(self, bp):
        super().__init__(nn.Flatten(), nn.Linear(bp.channels * bp.size**2, 128), nn.LeakyReLU(0.2), nn.Linear(128, 1))


class MyGAN(DCGAN):
    @staticmethod
    def preset(recipe):  # DCGAN's game between them, with two D steps for each of G's
        return replace(with_own_networks(dcgan(recipe), MyG, MyD), n_critic=2)
