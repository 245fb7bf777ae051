"""What a sweep did, for its caller and the shell."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Summary:
    """What one call of `sweep` did. `stopped` is the signal that ended it early, 0 if none did."""

    done: int
    failed: int
    skipped: int  # finished before, or by another sweeper meanwhile
    left: int
    stopped: int = 0
    spent: bool = False  # the budget ended it, as it was asked to

    @property
    def in_words(self) -> str:
        return f"{self.done} done, {self.failed} crashed, {self.skipped} done before, {self.left} left"

    @property
    def exit_code(self) -> int:
        """For the shell: 130 after Ctrl-C (128 + signal), 1 if a run failed, or is left for all the budget, else 0."""
        left = 0 if self.spent else self.left
        return 128 + self.stopped if self.stopped else int(self.failed + left > 0)
