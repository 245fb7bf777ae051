"""Whoever reads a root gives the same answer to whether a run is done."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from planted_runs import result

from gan_ablate.cli import main
from gan_ablate.recipe import SCHEMA, Recipe, TrickSpec
from gan_ablate.results.frames import load, run_tables
from gan_ablate.store.gc import find_waste
from gan_ablate.store.store import Store
from gan_ablate.uplink import sync

DONE = {"valid": "ok", "not_finite": "diverged"}  # case -> the outcome that a report says
OPEN = ("other_schema", "other_run_id", "other_recipe", "other_kind", "truncated", "no_outcome", "missing")
CASES = (*DONE, *OPEN)


def recipe(case: str) -> Recipe:
    tricks = (TrickSpec("label_smoothing", {"real": 0.5 + CASES.index(case) / 100}),)
    return Recipe(arm=case, tricks=tricks, latent_dim=8)


def text(case: str) -> str:
    """The result.json of a case."""
    own = recipe(case)
    whole = {**result("dcgan", "base", 0, 30.0), "run_id": own.run_id, "recipe": own.to_dict()}
    if case == "other_schema":
        whole["schema"] = SCHEMA + 1
    if case == "other_run_id":
        whole["run_id"] = recipe("valid").run_id
    if case == "other_recipe":
        whole["recipe"] = replace(own, steps=own.steps + 1).to_dict()
    if case == "other_kind":
        whole["curve"] = [3]
    if case == "no_outcome":
        del whole["outcome"]
    if case == "not_finite":
        whole["metrics"]["fid"] = float("nan")
    told = json.dumps(whole)
    return told[: len(told) // 2] if case == "truncated" else told


@pytest.fixture
def root(tmp_path: Path) -> Path:
    store = Store.create(tmp_path / "root", name="planted", source={}, recipes=[recipe(c) for c in CASES])
    for case in CASES:
        own = recipe(case)
        (store.folder(own.run_id) / "checkpoints").mkdir(parents=True)
        (store.folder(own.run_id) / "checkpoints" / "last.ckpt").write_bytes(b"x")
        held = {"schema": SCHEMA, "run_id": own.run_id, "recipe": own.to_dict()}
        (store.folder(own.run_id) / "recipe.json").write_text(json.dumps(held))
        if case != "missing":
            (store.folder(own.run_id) / "result.json").write_text(text(case))
    return store.root


def status(root: Path, capsys: pytest.CaptureFixture[str], **_: object) -> set[str]:
    assert main(["status", str(root), "--json"]) == 0
    arms = json.loads(capsys.readouterr().out)["arms"]
    assert all(row["done"] + row["left"] == 1 for row in arms)
    return {row["arm"] for row in arms if row["done"]}


def show(root: Path, capsys: pytest.CaptureFixture[str], **_: object) -> set[str]:
    done = set()
    for case in CASES:
        assert main(["show", f"dcgan/{case}/0", "--root", str(root)]) == 0
        said = capsys.readouterr().out.splitlines()[0]
        done |= set() if said.endswith(": left") else {case}
    return done


def report(root: Path, tmp_path: Path, **_: object) -> set[str]:
    assert main(["report", str(root), "--out", str(tmp_path / "report")]) == 0
    with open(tmp_path / "report" / "tables" / "runs.csv") as file:
        outcomes = {row["arm"]: row["outcome"] for row in csv.DictReader(file)}
    assert {case: outcomes[case] for case in DONE} == DONE
    return {arm for arm, outcome in outcomes.items() if outcome != "missing"}


def claims(root: Path, capsys: pytest.CaptureFixture[str], **_: object) -> set[str]:
    assert main(["claims", str(root)]) == 0
    capsys.readouterr()
    return {arm for table in run_tables([load(root)]) for arm in table.arms["dcgan"] if table.side("dcgan", arm)}


def gc(root: Path, **_: object) -> set[str]:
    names = {recipe(case).run_id: case for case in CASES}
    return {names[waste.run_id] for waste in find_waste(Store.open(root), ["checkpoints"])}


def merge(root: Path, tmp_path: Path, **_: object) -> set[str]:
    assert main(["merge", str(root), "--out", str(tmp_path / "joined")]) == 0
    return {case for case in CASES if (tmp_path / "joined" / "runs" / recipe(case).run_id / "result.json").exists()}


def sync_wandb(root: Path, monkeypatch: pytest.MonkeyPatch, **_: object) -> set[str]:
    uploaded = []
    monkeypatch.setattr(sync, "_upload", lambda cell, *_: uploaded.append(cell.arm) or "")
    assert sync.sync(root, mode="offline").unfinished == len(OPEN)
    return set(uploaded)


@pytest.mark.parametrize("ask", [status, show, report, claims, gc, merge, sync_wandb])
def test_all_who_read_a_root_agree_on_what_is_done(ask, root, tmp_path, capsys, monkeypatch):
    assert ask(root=root, tmp_path=tmp_path, capsys=capsys, monkeypatch=monkeypatch) == set(DONE)
