"""Names of files and anchors that never meet, whatever models and roots are called."""

from __future__ import annotations

from collections.abc import Sequence

from gan_ablate.formatting import slug
from gan_ablate.report.page import NAMES

ONCE = ("main", "claims", "claims-h", "all-arms", "compare", "report-files")  # per report
PER_ROOT = (
    *(f"{anchor}{end}" for anchor in NAMES for end in ("", "-h")), "runs", "over-models", "heatmap",
)  # fmt: skip
PER_SECTION = (
    "{}", "{}-h", "{}-stability", "{}-effects", "{}-budget", "forest-{}", "effects-{}", "budget-{}", "curves-{}",
)  # fmt: skip


class Names:
    """Gives each root and each section a name of its own in one report. No two differ by case alone: not every file
    system tells them apart."""

    def __init__(self, reserved: Sequence[str] = ONCE) -> None:
        self.taken = set(reserved)
        self.tried: dict[str, int] = {}  # by first form: where to go on looking

    def take(self, stem: str, forms: Sequence[str] = ("{}",)) -> str:
        """`stem`, or the first of `stem-2`, `stem-3`, .. of which no form is taken."""
        first = forms[0].format(stem)
        k = self.tried.get(first, 1)
        while True:
            name = stem if k == 1 else f"{stem}-{k}"
            own = {form.format(name).lower() for form in forms}
            k += 1
            if not own & self.taken:
                break
        self.taken |= own
        self.tried[first] = k
        return name

    def prefix(self, root: str, several: bool) -> str:
        """What a root's files and anchors begin with; empty where the report has one root."""
        if not several:
            self.taken |= {*PER_ROOT, "hatch-map"}
            return ""
        return self.take(slug(root), [*(f"{{}}-{own}" for own in PER_ROOT), "hatch-{}-map"]) + "-"

    def section(self, prefix: str, title: str, arms: int) -> str:
        """The name of a table of so many arms, without its root's prefix."""
        ends = (f"{{}}-arm-{k}{end}" for k in range(arms) for end in ("", "-c"))
        return self.take(slug(title), [prefix + form for form in (*PER_SECTION, *ends)])
