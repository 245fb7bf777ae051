"""Labels by contrast: D's embeddings of one class lie together, of others apart. All need a dataset with classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gan_ablate.blueprint import Blueprint, Factory, replace
from gan_ablate.presets import HEADS
from gan_ablate.trick import OVER_0, Step, Trick, register
from gan_ablate.tricks.conditioning import ASKED, DIMS
from gan_ablate.tricks.needs import SEES_IMAGES, SUITE_D

if TYPE_CHECKING:
    from torch import Tensor

    from gan_ablate.nets import Critique
    from gan_ablate.trick import State

EMBEDDING = "LabelledEmbedding"  # the head of D
POSITIVE = (OVER_0, 1e6)


def _with_embedding(blueprint: Blueprint, g_dims: int, dims: int) -> Blueprint:
    """G is told the label by an embedding beside z; D has a head of embeddings with a proxy for each class."""
    return replace(
        blueprint,
        g_condition=Factory(f"{HEADS}:LabelEmbedding", {"dims": g_dims}),
        d_heads=(*blueprint.d_heads, Factory(f"gan_ablate.nets.further_heads:{EMBEDDING}", {"dims": dims})),
    )


def _similarities(critique: Critique | None, step: Step) -> tuple[Tensor, Tensor, Tensor]:
    """Cosines of each embedding with its class's proxy (N,) and with the others (N, N); who shares a class (N, N)."""
    from torch.nn.functional import normalize

    assert critique is not None
    assert step.labels is not None
    proxies = normalize(step.d_parameters[f"heads.{EMBEDDING}.proxies.weight"].float(), dim=1)  # (K, E)
    embeddings = normalize(critique.heads[EMBEDDING], dim=1)  # (N, E)
    to_proxy = (embeddings * proxies[step.labels]).sum(1)
    return to_proxy, embeddings @ embeddings.T, step.labels[:, None] == step.labels[None]


@register("contragan")
class ContraGAN(Trick):
    """2C loss: each embedding is drawn to its class's proxy and to its classmates, and pushed off all others."""

    paper = "Kang & Park 2020 (ContraGAN; temperature 1, weight 1); the authors' StudioGAN"
    recommended_by = "P"
    models = "DN"
    needs = (*ASKED, SUITE_D, SEES_IMAGES)
    conflicts = ("reacgan",)
    bounds = {"weight": POSITIVE, "temperature": POSITIVE, "dims": DIMS, "embedding": (1, 4096)}
    weight: float = 1.0
    temperature: float = 1.0
    dims: int = 4  # of G's embedding of the label
    embedding: int = 512  # numbers of D's embedding

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return _with_embedding(blueprint, self.dims, self.embedding)

    def d_loss(self, loss: Tensor, step: Step, state: State) -> Tensor:
        return loss + self.weight * self._contrast(step.real_critique, step)

    def g_loss(self, loss: Tensor, step: Step, state: State) -> Tensor:
        return loss + self.weight * self._contrast(step.fake_critique, step)

    def _contrast(self, critique: Critique | None, step: Step) -> Tensor:
        import torch

        to_proxy, between, same = _similarities(critique, step)
        others = ~torch.eye(len(same), dtype=torch.bool, device=same.device)
        near, each = (to_proxy / self.temperature).exp(), (between / self.temperature).exp()
        drawn = near + (each * (same & others)).sum(1)
        return (near + (each * others).sum(1)).log().sub(drawn.log()).mean()


@register("reacgan")
class ReACGAN(Trick):
    """Data-to-data cross entropy: as `contragan`, but no push between classmates, and none for what is easy.

    Margins leave alone what is near enough to its proxy (`margin`) or far enough from another class (1 - `margin`).
    """

    paper = "Kang et al. 2021 (ReACGAN); numbers and 1 - margin: the authors' StudioGAN"
    recommended_by = "P"
    models = "DN"
    needs = (*ASKED, SUITE_D, SEES_IMAGES)
    bounds = {
        "weight": POSITIVE,
        "temperature": POSITIVE,
        "margin": (-1.0, 1.0),
        "dims": DIMS,
        "embedding": (1, 4096),
    }
    weight: float = 0.5
    temperature: float = 0.5
    margin: float = 0.98  # cosine to the proxy over which nothing is asked
    dims: int = 4  # of G's embedding of the label
    embedding: int = 512  # numbers of D's embedding

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return _with_embedding(blueprint, self.dims, self.embedding)

    def d_loss(self, loss: Tensor, step: Step, state: State) -> Tensor:
        return loss + self.weight * self._cross_entropy(step.real_critique, step)

    def g_loss(self, loss: Tensor, step: Step, state: State) -> Tensor:
        return loss + self.weight * self._cross_entropy(step.fake_critique, step)

    def _cross_entropy(self, critique: Critique | None, step: Step) -> Tensor:
        to_proxy, between, same = _similarities(critique, step)
        near = (to_proxy - self.margin).clamp(max=0) / self.temperature  # (N,)
        apart = (between - (1 - self.margin)).relu() / self.temperature  # (N, N)
        pushed = (apart.exp() * ~same).sum(1)  # (N,)
        return ((near.exp() + pushed).log() - near).mean()
