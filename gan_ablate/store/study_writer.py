"""study.yaml, written: YAML, with one JSON object per cell. `results.study_file` reads it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import yaml

from gan_ablate import __version__
from gan_ablate.publishing import plain
from gan_ablate.recipe import SCHEMA
from gan_ablate.results.study_file import CELLS, Cell, StudyFile

_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def study_bytes(study: StudyFile) -> bytes:
    """The file's bytes. The version written is this one's."""
    head: dict[str, Any] = {"schema": SCHEMA, "name": study.name, "version": __version__, "source": plain(study.source)}
    head |= {key: plain(value) for key in ("design", "factors") if (value := getattr(study, key))}
    head["not_applicable"] = [asdict(n) for n in study.not_applicable]
    text = yaml.dump(head, Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=200, allow_unicode=True)
    lines = "".join(f"- {json.dumps(_told(cell), ensure_ascii=False)}\n" for cell in study.cells)
    return (text + CELLS + (lines or "  []\n")).encode(errors="backslashreplace")


def _told(cell: Cell) -> dict[str, Any]:
    return {k: v for k, v in vars(cell).items() if v or k not in ("same_as_base", "shares_weights")}
