"""What D trains on as fake, and in what batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gan_ablate.trick import Step, Trick, register

if TYPE_CHECKING:
    from torch import Tensor

    from gan_ablate.trick import State


@register("experience_replay")
@dataclass(frozen=True)
class ExperienceReplay(Trick):
    """Show D images that G made earlier, in place of a share of the new ones."""

    paper = "Shrivastava et al. 2017, section 2.3; Chintala et al. 2016, tip 8"
    catalogue = "S1.8"
    bounds = {"size": (1, 10**6), "share": (0.0, 1.0), "kept": (1, 10**6)}
    size: int = 1024  # images in the memory
    share: float = 0.5  # of D's fake batch that comes from the memory
    kept: int = 16  # images stored per G step, over the oldest

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

    def fakes(self, fake: Tensor, step: Step, state: State) -> Tensor:
        held = state["stored"].clamp(max=self.size)
        # before anything is stored there is nothing to replay: the new images stay
        chosen = (step.uniform_like(fake[:, 0, 0, 0]) * held).long()  # (N,)
        old = state["images"][chosen].to(fake.dtype)
        rows = step.permutation(len(fake)) < round(self.share * len(fake))  # (N,)
        return old.where((rows & (held > 0)).view(-1, 1, 1, 1), fake)
