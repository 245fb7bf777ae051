"""What D trains on as fake, and in what batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gan_ablate.blueprint import Blueprint, replace
from gan_ablate.trick import OVER_0, FakeBatch, Step, Trick, register
from gan_ablate.tricks.needs import D_BATCH_NORM, UNCONDITIONAL

if TYPE_CHECKING:
    from gan_ablate.trick import State


@register("experience_replay")
class ExperienceReplay(Trick):
    """Show D images that G made earlier beside the new ones.

    New and old images are batches of their own, weighted by their shares: in one batch, the statistics of batch norm
    (or minibatch discrimination) would be of a mixture that G's step never shows D.
    """

    paper = "Shrivastava et al. 2017, section 2.3; Chintala et al. 2016, tip 8"
    recommended_by = "S1.8"
    needs = (UNCONDITIONAL,)  # a stored image's label would be lost
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
    needs = (D_BATCH_NORM,)
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
    fresh: bool = False

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, fresh_latents=self.fresh)
