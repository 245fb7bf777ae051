"""What D trains on as fake, and in what batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gan_ablate.blueprint import Blueprint, replace
from gan_ablate.trick import OVER_0, FakeBatch, Step, Trick, register
from gan_ablate.tricks.needs import (
    D_BATCH_NORM,
    EACH_FAKE,
    FAKE_OF_Z,
    FAKES_ALONE,
    NO_VOLUMES,
    ONE_ANSWER,
    ONE_PAIR,
    SEES_NOTHING_ELSE,
    SUITE_D,
    UNCLASSIFIED,
    UNCONDITIONAL,
)

if TYPE_CHECKING:
    from torch import Tensor

    from gan_ablate.trick import State


@register("experience_replay")
class ExperienceReplay(Trick):
    """Show D images that G made earlier beside the new ones.

    New and old images are batches of their own, weighted by their shares: in one batch, the statistics of batch norm
    (or minibatch discrimination) would be of a mixture that G's step never shows D.
    """

    paper = "Shrivastava et al. 2017, section 2.3; Chintala et al. 2016, tip 8"
    recommended_by = "S1.8"
    needs = (UNCONDITIONAL, SEES_NOTHING_ELSE)  # a stored image's label would be lost
    conflicts = ("joint_batches",)
    batch_norm = "kept: old images are a batch of their own, so new ones have the statistics that they have in G's step"
    bounds = {"size": (1, 10**6), "share": (OVER_0, 1.0), "kept": (1, 10**6)}
    size: int = 1024  # images in the memory
    share: float = 0.5  # weight of the old images in D's loss on fakes
    kept: int = 16  # images stored per G step, over the oldest; no more than a batch has

    def missing(self, blueprint: Blueprint) -> str | None:
        if self.kept > blueprint.batch_size:
            return f"batches of kept={self.kept} images or more"
        return super().missing(blueprint)

    def init(self, step: Step) -> State:
        return {
            "images": step.real.new_zeros(self.size, *step.real.shape[1:]),
            "stored": step.t.new_zeros(()).long(),  # images stored so far
        }

    def advance(self, state: State, step: Step) -> State:
        assert step.fake is not None
        new = step.fake[: min(self.kept, self.size)]
        places = (state["stored"] + step.t.new_ones(len(new)).cumsum(0).long() - 1) % self.size
        return {
            "images": state["images"].index_copy(0, places, new.to(state["images"].dtype)),
            "stored": state["stored"] + len(new),
        }

    def fakes(self, batches: tuple[FakeBatch, ...], step: Step, state: State) -> tuple[FakeBatch, ...]:
        new = batches[0].images
        held = state["stored"].clamp(max=self.size)
        # drawn in float32: bfloat16 has 256 places between 0.5 and 1, and most of the memory would never be shown
        chosen = (step.uniform_like(new.flatten(1)[:, 0].float()) * held).long()  # (N,)
        # before anything is stored there is nothing to replay: the new images stand in for it
        old = state["images"][chosen].to(new.dtype).where(held > 0, new)
        kept = tuple(batch._replace(weight=batch.weight * (1 - self.share)) for batch in batches)
        return (*kept, FakeBatch(old, self.share))


@register("joint_batches")
class JointBatches(Trick):
    """Real and fake images in one batch of D, with one set of batch statistics, in D's step and in G's."""

    paper = "Chintala et al. 2016, tip 4 (the guideline taken away)"
    advised_against_by = "S0 S1.4"
    models = "D"
    needs = (D_BATCH_NORM, ONE_PAIR)
    batch_norm = "kept: its statistics are of real and fake images together, in D's step and in G's"

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, joint=True)


@register("batch_size")
class BatchSize(Trick):
    """Another batch size, at equal images seen or at equal G steps."""

    paper = "Radford et al. 2015, section 4 (128); Brock et al. 2019, section 3.1 (larger)"
    recommended_by = "S0.5 (128) S4.9"
    models = "D"
    bounds = {"size": (2, 65536)}
    choices = {"equal": ("images", "steps")}
    size: int = 16  # images per step
    equal: str = "images"  # images | steps: what stays the same

    def edit(self, blueprint: Blueprint) -> Blueprint:
        share = blueprint.batch_size / self.size if self.equal == "images" else 1
        return replace(blueprint, batch_size=self.size, steps=max(1, round(blueprint.steps * share)))


@register("fresh_generator_batch")
class FreshGeneratorBatch(Trick):
    """Whether G's step draws new z, as base does, or (fresh=false) plays the z of D's step again."""

    paper = "Goodfellow et al. 2014, algorithm 1 (fresh); reused in common DCGAN code since Chintala 2016"
    recommended_by = "P"
    needs = (FAKE_OF_Z,)
    fresh: bool = False

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, fresh_latents=self.fresh)


@register("packing")
class Packing(Trick):
    """PacGAN: D judges m images at once, their channels on top of each other, so that a lack of variety shows.

    A batch of N images is N / m packs, with one answer each; in the paper a batch has as many packs as base has images.
    A penalty on D's gradient takes its norm over a pack.
    """

    paper = "Lin et al. 2018 (PacGAN; m = 2 to 4)"
    recommended_by = "P"
    # they take the channels for colours; a rotation is one of each image
    conflicts = ("diff_augment", "ada", "self_supervision")
    needs = (UNCONDITIONAL, UNCLASSIFIED, SUITE_D, SEES_NOTHING_ELSE, ONE_ANSWER, NO_VOLUMES)
    bounds = {"m": (2, 64)}
    m: int = 2  # images in a pack

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, d_packed=self.m)

    def missing(self, blueprint: Blueprint) -> str | None:
        if blueprint.batch_size % self.m:
            return f"batches that packs of m={self.m} images divide"
        return super().missing(blueprint)

    def inputs(self, images: Tensor, step: Step, state: State) -> Tensor:
        n, c, h, w = images.shape
        return images.reshape(n // self.m, self.m * c, h, w)


@register("top_k")
class TopK(Trick):
    """G learns from the k images of its batch that D takes for the most real; k falls from the whole batch to half.

    k is gamma^e of the batch after e epochs, and no less than `share` of it. An epoch is `images` generated images; the
    default is that of CIFAR-10.
    """

    paper = "Sinha et al. 2020 (gamma 0.99 per epoch, nu 0.5)"
    recommended_by = "P"
    replaces = "g_loss"
    needs = (EACH_FAKE, FAKES_ALONE)
    # the loss that these change is replaced
    conflicts = ("saturating", "flipped_generator_labels", "inverted_generator_loss")
    bounds = {"gamma": (OVER_0, 1 - OVER_0), "share": (OVER_0, 1 - OVER_0), "images": (1, 10**9)}
    gamma: float = 0.99  # k after an epoch over k before it
    share: float = 0.5  # least k, as a share of the batch
    images: int = 50_000  # generated images of an epoch

    def init(self, step: Step) -> State:
        return {"seen": step.t.new_zeros(()).long()}  # generated images of G's steps so far

    def advance(self, state: State, step: Step) -> State:
        assert step.fake is not None
        return {"seen": state["seen"] + len(step.fake)}

    def g_loss(self, loss: Tensor, step: Step, state: State) -> Tensor:
        import torch

        assert step.fake_critique is not None
        logits = step.fake_critique.logits  # (N,)
        k = ((self.gamma ** (state["seen"] // self.images)).clamp(min=self.share) * len(logits)).floor()
        rank = logits.argsort(descending=True).argsort()  # 0: the most real
        each = torch.vmap(lambda logit: step.objective.generator(logit[None]))(logits)  # (N,)
        return (each * (rank < k)).sum() / k
