"""Sample grids of the median and the worst seed, by final FID: never hand-picked."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from gan_ablate.findings.summaries import Rows
from gan_ablate.recipe import TOYS
from gan_ablate.results.frames import Results

BUDGET = 2_700_000  # bytes of pictures in one page
LARGEST = 200  # pixels of a picture's longer side in the page, about
MOST_PIXELS = 8192  # a side longer than this is no grid of ours


class Grid(NamedTuple):
    """One picture: what it shows and a data URI."""

    arm: str
    which: str  # median | worst
    seed: int
    fid: float
    uri: str
    width: int  # pixels
    height: int


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
        path = _inside(loaded.root / "runs" / run_id, str(record.get("sample_grid", "samples/final.png")))
        if path is None:
            continue
        uri, width, height = _uri(path, whole=rows["dataset"][k] in TOYS)
        if uri:
            fid, seed = float(rows["fid"][k]), int(rows["seed"][k])
            found.append(Grid(str(rows["arm"][k]), which, seed, fid, uri, width, height))
    return found


def _inside(folder: Path, name: str) -> Path | None:
    """The file of that name in a run's folder; `None` where there is none, it leads out, or none can be called so."""
    try:
        path, home = (folder / name).resolve(), folder.resolve()
        return path if path.is_relative_to(home) and path.is_file() else None
    except (OSError, ValueError, RuntimeError):  # too long, a NUL in it, links in a ring
        return None


def _uri(path: Path, whole: bool) -> tuple[str, int, int]:
    """(data URI, width, height to show it at); empty where the file is no picture.

    A grid gives its first half, so that more arms fit, at half its size: small images were enlarged in it. A scatter of
    points is kept whole.
    """
    try:
        with Image.open(path) as file:
            if max(file.size) > MOST_PIXELS:
                return "", 0, 0
            image = file.convert("RGB")
        image = image if whole else image.crop((0, 0, image.width, max(1, image.height // 2)))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):  # Pillow's ways to refuse a file
        return "", 0, 0
    width, height = image.size
    image = image.reduce(max(1, round(max(width, height) / LARGEST)))
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=50, method=2)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode(), width, height
