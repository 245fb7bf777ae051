"""Sample grids of the median and the worst seed, by final FID: never hand-picked."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from PIL import Image

from gan_ablate.report.frames import Loaded

BUDGET = 3_600_000  # bytes of pictures in one page


@dataclass(frozen=True)
class Grid:
    """One picture: what it shows and a data URI."""

    arm: str
    which: str  # median | worst
    seed: int
    fid: float
    uri: str


def chosen(rows: pd.DataFrame) -> list[tuple[str, pd.Series]]:
    """The runs whose samples stand for an arm; failed runs without a score rank worst."""
    done = rows[rows["outcome"].isin(["ok", "collapsed", "diverged"])]
    done = done.assign(rank=done["fid"].fillna(math.inf)).sort_values(["rank", "seed"])
    if done.empty:
        return []
    median, worst = done.iloc[(len(done) - 1) // 2], done.iloc[-1]
    return [("median", median)] if len(done) == 1 else [("median", median), ("worst", worst)]


def grids(loaded: Loaded, rows: pd.DataFrame, spent: int) -> list[Grid]:
    """Grids of one arm's median and worst seed, as far as the page's budget of bytes goes."""
    found = []
    for which, run in chosen(rows):
        record = loaded.records.get(run["run_id"], {})
        folder = (loaded.root / "runs" / str(run["run_id"])).resolve()
        path = (folder / str(record.get("sample_grid", "samples/final.png"))).resolve()
        if not path.is_relative_to(folder) or not path.is_file():
            continue
        uri = _uri(path)
        if uri is not None:
            found.append(Grid(str(run["arm"]), which, int(run["seed"]), float(run["fid"]), uri))
    # the median never without the worst: both fit, or neither is shown
    return found if spent + sum(len(g.uri) for g in found) <= BUDGET else []


def _uri(path: Path) -> str | None:
    try:
        image = Image.open(path).convert("RGB")
        image = image.crop((0, 0, image.width, image.height // 2))  # the first half of the z: 78 grids in 5 MB
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):  # Pillow's ways to refuse a file
        return None
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", lossless=True, quality=60, method=3)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
