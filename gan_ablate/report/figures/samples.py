"""Sample grids of the median and the worst seed, by final FID: never hand-picked.

A picture as the page shows it can lie ready in a run's folder, in place of the grid: archives keep no others.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from gan_ablate.findings.summaries import Rows
from gan_ablate.recipe import TOYS
from gan_ablate.results.files import PAGE_PICTURE
from gan_ablate.results.frames import Results
from gan_ablate.untrusted import read_regular

BUDGET = 2_700_000  # bytes of pictures in one page
LARGEST = 200  # pixels of a picture's longer side in the page, about; under 1.5 times as many
ENLARGED = 2  # times its pixels, that a picture is shown at
MOST_BYTES = 500_000  # of a picture that lies ready; those of 200 pixels have some 5,000
MOST_PIXELS = 8192  # a side longer than this is no grid of ours


class Grid(NamedTuple):
    """One picture: what it shows, and its file (WebP)."""

    arm: str
    which: str  # median | worst
    seed: int
    fid: float
    run_id: str
    picture: bytes
    pixels: tuple[int, int]  # width, height

    @property
    def uri(self) -> str:
        """A data URI."""
        return uri(self.picture)

    @property
    def shown(self) -> tuple[int, int]:
        """(width, height) to show it at: about the grid's own. By the picture alone: an archive has no grid."""
        return ENLARGED * self.pixels[0], ENLARGED * self.pixels[1]


def chosen(rows: Rows) -> list[tuple[str, int]]:
    """The places of the runs whose samples stand for an arm; failed runs without a score rank worst."""
    done = [k for k, o in enumerate(rows["outcome"]) if o not in ("crashed", "missing")]
    done.sort(key=lambda k: (math.inf if math.isnan(rows["fid"][k]) else rows["fid"][k], rows["seed"][k]))
    if not done:
        return []
    median = ("median", done[(len(done) - 1) // 2])
    return [median] if len(done) == 1 else [median, ("worst", done[-1])]


def grids(loaded: Results, arms: Sequence[Rows]) -> list[list[Grid]]:
    """Grids of each arm's median and worst seed, as far as the page's budget of bytes goes.

    The budget goes to the arms in the order given; an arm's two grids come together or not at all, so that no one picks
    the pretty one. The first that does not fit ends it: what is shown must not depend on how well it compresses.
    """
    found: list[list[Grid]] = []
    spent, full = 0, False
    for rows in arms:
        own = [] if full else _grids(loaded, rows)
        spent += sum(len(g.uri) for g in own)
        full = full or spent > BUDGET
        found.append([] if full else own)
    return found


def _grids(loaded: Results, rows: Rows) -> list[Grid]:
    found = []
    for which, k in chosen(rows):
        run_id = str(rows["run_id"][k])
        record = loaded.records.get(run_id, {})
        shown = picture(loaded.files / "runs" / run_id, grid_name(record), str(rows["dataset"][k]))
        if shown:
            fid, seed = float(rows["fid"][k]), int(rows["seed"][k])
            found.append(Grid(str(rows["arm"][k]), which, seed, fid, run_id, *shown))
    return found


def uri(picture: bytes) -> str:
    """A data URI of a WebP."""
    return "data:image/webp;base64," + base64.b64encode(picture).decode()


def grid_name(record: Mapping[str, Any]) -> str:
    """Where in its folder a run says that its grid lies."""
    return str(record.get("sample_grid", "samples/final.png"))


def picture(folder: Path, name: str, dataset: str) -> tuple[bytes, tuple[int, int]] | None:
    """(WebP, its pixels) of a run's grid, as pages show it; `None` where it has none. name: `grid_name`'s."""
    path = _inside(folder, name)
    return _drawn(path, whole=dataset in TOYS) if path else _ready(folder / PAGE_PICTURE)


def _inside(folder: Path, name: str) -> Path | None:
    """The file of that name in a run's folder; `None` where there is none, it leads out, or none can be called so."""
    try:
        path, home = (folder / name).resolve(), folder.resolve()
        return path if path.is_relative_to(home) and path.is_file() else None
    except (OSError, ValueError, RuntimeError):  # too long, a NUL in it, links in a ring
        return None


def _drawn(path: Path, whole: bool) -> tuple[bytes, tuple[int, int]] | None:
    """(WebP, its pixels) of a grid; `None` where the file is no picture.

    A grid gives its first half, so that more arms fit, at half its size: small images were enlarged in it. A scatter of
    points is kept whole.
    """
    try:
        with Image.open(path) as file:
            if max(file.size) > MOST_PIXELS:
                return None
            image = file.convert("RGB")
        image = image if whole else image.crop((0, 0, image.width, max(1, image.height // 2)))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):  # Pillow's ways to refuse a file
        return None
    image = image.reduce(max(1, round(max(image.size) / LARGEST)))
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=50, method=2)
    return buffer.getvalue(), image.size


def _ready(path: Path) -> tuple[bytes, tuple[int, int]] | None:
    """A picture that lies ready, as it is; `None` where there is none, or none that could be ours."""
    try:
        data = read_regular(path, MOST_BYTES)
        with Image.open(io.BytesIO(data), formats=["WEBP"]) as file:
            if max(file.size) > 2 * LARGEST or getattr(file, "n_frames", 1) > 1:
                return None
            file.load()
            return data, file.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
