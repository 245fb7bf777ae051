"""The store: whole files or none, locks that die with their holder, and damage that is noticed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from gan_ablate.errors import InputError
from gan_ablate.publishing import publish, to_json
from gan_ablate.recipe import SCHEMA, Recipe, TrickSpec
from gan_ablate.store.claim import RunClaim
from gan_ablate.store.status import Status, overview
from gan_ablate.store.store import Store
from gan_ablate.study.cells import ties
from gan_ablate.study.study import NotApplicable

RECIPES = [
    Recipe(arm=arm, tricks=tricks, seed=seed) for seed in (0, 1) for arm, tricks in (("base", ()), ("n", ("n",)))
]


def create(root: Path, recipes: list[Recipe] = RECIPES, name: str = "one") -> Store:
    skipped = [NotApplicable("wgan_gp", "shapes", "n", "no targets")]
    return Store.create(root, name=name, source={"seeds": 2}, recipes=recipes, not_applicable=skipped)


def result(recipe: Recipe, **more: object) -> dict:
    return {"recipe": recipe.to_dict(), "outcome": "ok", "metrics": {"fid": 1.5}, "seconds": 2.0, **more}


def finish(store: Store, recipe: Recipe, **more: object) -> None:
    with store.claim(recipe.run_id) as claim:
        assert claim is not None
        claim.prepare(recipe)
        claim.publish_result(result(recipe, **more))


def test_study_file_round_trip_and_growth(tmp_path: Path) -> None:
    create(tmp_path, RECIPES[:2])
    finish(Store.open(tmp_path), RECIPES[0])
    grown = create(tmp_path)
    assert Store.open(tmp_path) == grown
    assert [c.run_id for c in grown.cells] == [r.run_id for r in RECIPES]
    assert len(list(grown.results())) == 1
    data = yaml.safe_load((tmp_path / "study.yaml").read_text())
    assert data["schema"] == SCHEMA
    assert data["source"] == {"seeds": 2}
    assert data["not_applicable"][0]["reason"] == "no targets"


def test_arms_that_share_something_with_base_by_construction_are_written_with_their_cells(tmp_path: Path) -> None:
    arms = {
        "base": (), "flipped": ("flipped_generator_labels",), "lerp": ("interpolation:path=lerp",),
        "both": ("flipped_generator_labels", "interpolation"), "faster": ("flipped_generator_labels",),
        "r1": ("r1",), "flipped r1": ("flipped_generator_labels", "r1"), "own": ("my.own.Trick",),
    }  # fmt: skip
    recipes = [
        Recipe(model=m, arm=a, tricks=t, seed=s, lr=1e-3 if a == "faster" else 2e-4)
        for m in ("dcgan", "wgan_gp") for a, t in arms.items() for s in (0, 1)
    ]  # fmt: skip
    create(tmp_path, recipes)
    cells = Store.open(tmp_path).cells
    tied = {(c.model, c.arm): (bool(c.same_as_base), c.shares_weights) for c in cells}
    expected = {("dcgan", "flipped"): (True, True), ("dcgan", "both"): (False, True)}
    expected |= {(m, "lerp"): (False, True) for m in ("dcgan", "wgan_gp")}
    assert {k: v for k, v in tied.items() if v != (False, False)} == expected
    assert (tmp_path / "study.yaml").read_text().count("shares_weights") == 2 * len(expected)  # said where it is so
    with_r1 = [replace(r, tricks=(*r.tricks, TrickSpec("r1"))) for r in recipes if r.arm in ("base", "lerp")]
    assert len(ties(with_r1)) == 4  # base's own tricks are in each arm


def test_root_of_another_study_schema_or_nothing(tmp_path: Path) -> None:
    create(tmp_path)
    before = (tmp_path / "study.yaml").read_bytes()
    with pytest.raises(InputError, match="belongs to study 'one', not 'two'"):
        create(tmp_path, name="two")
    assert (tmp_path / "study.yaml").read_bytes() == before
    for text, line in (("schema: 99\nname: one", "schema 99"), ("- 1", "schema None")):
        (tmp_path / "study.yaml").write_text(text)
        with pytest.raises(InputError, match=line):
            create(tmp_path)
        assert (tmp_path / "study.yaml").read_text() == text
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no study here"):
        Store.open(tmp_path / "empty")
    with pytest.raises(InputError, match="cannot be written"):
        create(tmp_path / "study.yaml" / "below_a_file")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "is empty"),
        ("{", "cannot be read"),
        ("\0" * 9, "cannot be read"),
        (f"schema: {SCHEMA}\nname: one", "not a study's"),
    ],
)
def test_a_damaged_study_file_strands_no_results(tmp_path: Path, text: str, line: str) -> None:
    store = create(tmp_path)
    whole = (tmp_path / "study.yaml").read_bytes()
    finish(store, RECIPES[0])
    (tmp_path / "study.yaml").write_text(text)
    with pytest.raises(InputError, match=f"{line}.*sweep the study again with this root") as caught:
        Store.open(tmp_path)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="none of the 1 runs there is of study 'two'"):
        create(tmp_path, [replace(RECIPES[0], seed=99)], name="two")
    with pytest.raises(InputError, match="the next train collects"):
        Store.add(tmp_path, "train", RECIPES[1])
    assert (tmp_path / "study.yaml").read_text() == text
    again = create(tmp_path)
    assert (tmp_path / "study.yaml").read_bytes() == whole
    assert (tmp_path / "study.yaml.corrupt").read_text() == text
    assert [r["run_id"] for r in again.results()] == [RECIPES[0].run_id]


def test_single_runs_are_collected_where_their_study_file_is_gone(tmp_path: Path) -> None:
    for recipe in RECIPES[:2]:
        Store.add(tmp_path, "train", recipe)
        finish(Store(tmp_path), recipe)
    (tmp_path / "study.yaml").unlink()
    (tmp_path / "runs" / "foreign").mkdir()
    (tmp_path / "runs" / "foreign" / "recipe.json").write_text(json.dumps({"recipe": RECIPES[0].to_dict()}))
    Store.add(tmp_path, "train", RECIPES[2])
    assert {c.run_id for c in Store.open(tmp_path).cells} == {r.run_id for r in RECIPES[:3]}


def test_a_root_of_another_schema_says_what_to_do_and_is_not_changed(tmp_path: Path) -> None:
    create(tmp_path)
    path = tmp_path / "study.yaml"
    whole = path.read_text()
    for schema, which in ((SCHEMA - 1, "an older"), (SCHEMA + 1, "a newer")):
        text = whole.replace(f"schema: {SCHEMA}", f"schema: {schema}")
        path.write_text(text)
        with pytest.raises(
            InputError, match=rf"schema {schema}, written by {which} version .*give another root, or use"
        ):
            create(tmp_path)
        assert path.read_text() == text


def test_the_study_file_is_yaml_and_reads_the_same_either_way(tmp_path: Path) -> None:
    """Written with a JSON object per cell; by hand, in any YAML; with names that need quoting."""
    odd = [
        replace(RECIPES[0], arm=arm, seed=k) for k, arm in enumerate(("a: b", "é \u20ac", '"q"', "- x", "no", "1e3"))
    ]
    design, factors = {"name": "factorial", "factors": ["x"]}, {"a: b": {"x": 1.5, "y": "low"}}
    store = Store.create(tmp_path, name="one", source={}, recipes=odd, design=design, factors=factors)
    held = Store.open(tmp_path)
    assert (held, held.study.design, held.study.factors) == (store, design, factors)
    data = yaml.safe_load((tmp_path / "study.yaml").read_text())
    assert [cell["arm"] for cell in data["cells"]] == [r.arm for r in odd]
    for style in (None, True, False):
        (tmp_path / "study.yaml").write_text(yaml.safe_dump(data, default_flow_style=style, sort_keys=True))
        again = Store.open(tmp_path)
        assert (again, again.study.design, again.study.factors) == (store, design, factors)
    old = {k: v for k, v in data.items() if k not in ("design", "factors")}  # a root of before there were designs
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(old))
    assert (Store.open(tmp_path).cells, Store.open(tmp_path).study.design) == (store.cells, {})
    empty = Store.create(tmp_path / "e", name="one", source={}, recipes=[])
    assert Store.open(tmp_path / "e") == empty


@pytest.mark.parametrize("run_id", ["../../etc", "a/b", ".", "..", "", ".hidden"])
def test_a_run_id_that_leads_out_of_the_root_is_refused(tmp_path: Path, run_id: str) -> None:
    create(tmp_path)
    path = tmp_path / "study.yaml"
    path.write_text(path.read_text().replace(RECIPES[0].run_id, run_id))
    with pytest.raises(InputError, match="leads out of the root"):
        Store.open(tmp_path)


def test_json_is_strict_and_takes_what_runs_return() -> None:
    data = {
        "nan": float("nan"),
        "inf": [np.float64("inf")],
        "n": np.int64(3),
        "path": Path("a/b"),
        "t": (1, True, None),
    }
    read = json.loads(to_json(data))
    assert read == {"nan": None, "inf": [None], "n": 3, "path": "a/b", "t": [1, True, None]}


def test_publish_leaves_old_or_new_when_a_step_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "result.json"
    publish(target, b"old")
    for step in ("fsync", "rename"):
        with monkeypatch.context() as patch:

            def fail(*_: object) -> None:
                raise OSError(28, "No space left on device")

            patch.setattr(os, step, fail)
            with pytest.raises(OSError, match="No space"):
                publish(target, b"new")
        assert target.read_bytes() == b"old"
        assert os.listdir(tmp_path) == ["result.json"]
    publish(target, b"new")
    assert target.read_bytes() == b"new"


HOLD = """
import sys, time
from gan_ablate.store.store import Store
with Store(sys.argv[1]).claim(sys.argv[2]) as claim:
    print(claim is not None, flush=True)
    time.sleep(60)
"""


def test_a_claim_excludes_others_and_dies_with_its_process(tmp_path: Path) -> None:
    store = create(tmp_path)
    run_id = RECIPES[0].run_id
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path), run_id], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline().strip() == "True"
    start = time.monotonic()
    with store.claim(run_id) as claim:
        assert claim is None
    assert time.monotonic() - start < 1  # never waits
    assert store.is_running(run_id)
    assert overview(store).rows[0] == Status("dcgan", "shapes", "base", running=1, left=1)
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert not store.is_running(run_id)
    with store.claim(run_id) as claim:
        assert isinstance(claim, RunClaim)


def test_status_and_results(tmp_path: Path) -> None:
    store = create(tmp_path)
    finish(store, RECIPES[0])
    with store.claim(RECIPES[1].run_id) as claim:
        assert claim is not None
        claim.prepare(RECIPES[1])
        claim.publish_failed(RECIPES[1], "Boom: it broke", "Traceback ..", 2)
    assert overview(store).rows == (
        Status("dcgan", "shapes", "base", done=1, left=1),
        Status("dcgan", "shapes", "n", crashed=1, left=1),
    )
    good, bad = store.results()
    assert good["schema"] == SCHEMA
    assert good["run_id"] == RECIPES[0].run_id
    assert (bad["error"], bad["attempts"]) == ("Boom: it broke", 2)
    finish(store, RECIPES[1])  # a later success replaces the failure
    assert [r.get("error") for r in store.results()] == [None, None]
    # the study's label, not the one the run was trained under
    renamed = create(tmp_path, [replace(r, arm="plain") for r in RECIPES[:1]])
    assert [r["recipe"]["arm"] for r in renamed.results()] == ["plain"]


@pytest.mark.parametrize(
    "damage", [b"", b'{"schema": 1, "run', b"[]", b"\xff\x00", b'{"run_id": "other", "outcome": "ok"}']
)
def test_a_damaged_result_counts_as_not_done(tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture) -> None:
    store = create(tmp_path)
    finish(store, RECIPES[0])
    path = store.folder(RECIPES[0].run_id) / "result.json"
    path.write_bytes(damage)
    assert list(store.results()) == []
    assert "the run counts as not done" in caplog.text
    assert path.read_bytes() == damage  # a reader changes nothing
    assert store.glance(RECIPES[0].run_id)[0] == "left"
    with store.claim(RECIPES[0].run_id) as claim:
        assert claim is not None
        assert claim.finished() is None
    assert path.with_name("result.json.corrupt").read_bytes() == damage
    finish(store, RECIPES[0])
    assert len(list(store.results())) == 1


def test_a_folder_of_another_recipe_is_refused(tmp_path: Path) -> None:
    store = create(tmp_path)
    run_id = RECIPES[0].run_id
    with store.claim(run_id) as claim:
        assert claim is not None
        folder = claim.prepare(RECIPES[0])
        (folder / ".result.json.1-ab.tmp").write_text("left by kill -9")
        claim.prepare(replace(RECIPES[0], arm="another label"))  # the label is not part of the identity
        assert sorted(p.name for p in folder.iterdir()) == ["attempts.jsonl", "lock", "recipe.json"]
        with pytest.raises(InputError, match="holds another recipe"):
            claim.prepare(RECIPES[1])
        (folder / "recipe.json").write_text("{")  # damaged: written anew, the folder's name is the hash
        claim.prepare(RECIPES[0])
        assert json.loads((folder / "recipe.json").read_text())["run_id"] == run_id


def test_single_runs_are_added_one_by_one_also_by_two_processes_at_a_time(tmp_path: Path) -> None:
    code = (
        "import sys; from gan_ablate.recipe import Recipe; from gan_ablate.store.store import Store\n"
        "for k in range(20): Store.add(sys.argv[1], 'train', Recipe(seed=2 * k + int(sys.argv[2])))"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(odd)]) for odd in (0, 1)]
    assert [w.wait(120) for w in writers] == [0, 0]
    assert sorted(cell.seed for cell in Store.open(tmp_path).cells) == list(range(40))
    Store.add(tmp_path, "train", Recipe(seed=7))  # known already
    assert len(Store.open(tmp_path).cells) == 40
    with pytest.raises(InputError, match="belongs to study 'train', not 'other'"):
        Store.add(tmp_path, "other", Recipe())


def test_a_root_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file: is a file; a root is a folder"):
        Store(tmp_path / "file")
