"""The fuzz of benchmarks/fuzz.py at small size: real runs, competing sweepers, kill -9 at random moments."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import fuzz
from gan_ablate.recipe import Recipe
from gan_ablate.store.store import Store


@pytest.mark.slow
def test_killed_at_random_every_run_ends_once_and_as_if_undisturbed(tmp_path: Path) -> None:
    found = fuzz.fuzz(tmp_path / "f", runs=12, kills=6, sweepers=2, seed=0, seconds=300)
    assert found["problems"] == []
    assert found["runs"] >= 12
    assert sum(found["kills"].values()) >= 6
    assert found["attempts"] >= found["runs"]
    assert found["exit_codes"] == {"undisturbed": 0, "last": 0}


def test_what_the_fuzz_calls_a_problem(tmp_path: Path) -> None:
    """Each kind of damage is found: the fuzz that finds none has looked."""
    recipes = [Recipe(seed=seed) for seed in range(5)]
    for name in ("one", "two"):
        store = Store.create(tmp_path / name, name="fuzz", source={}, recipes=recipes)
        for recipe in recipes:
            with store.claim(recipe.run_id) as claim:
                assert claim is not None
                claim.prepare(recipe)
                claim.publish_result(
                    {"recipe": recipe.to_dict(), "outcome": "ok", "metrics": {"fid": 1.0}, "seconds": 1}
                )
    one = Store(tmp_path / "one")
    assert fuzz.problems(tmp_path / "one", tmp_path / "two") == []
    folders = [one.folder(recipe.run_id) for recipe in recipes]
    (folders[0] / "result.json").unlink()
    record = json.loads((folders[1] / "result.json").read_bytes())
    (folders[1] / "result.json").write_text(json.dumps({**record, "seconds": 9, "metrics": {"fid": 1.0000001}}))
    with one.claim(recipes[2].run_id) as claim:
        assert claim is not None
        claim.prepare(recipes[2])  # tried again although it was finished
    (folders[3] / "result.json.corrupt").touch()
    one.folder("stray").mkdir()
    wrong = fuzz.problems(tmp_path / "one", tmp_path / "two")
    said = ("no result", "differs in metrics", "then tried again", "a damaged result", "nobody asked")
    assert len(wrong) == len(said)
    assert all(part in line for part, line in zip(said, wrong, strict=True)), wrong


def test_the_study_has_enough_runs_of_all_models(tmp_path: Path) -> None:
    from gan_ablate.study.study import expand, load_study

    for runs in (12, 300):
        recipes = expand(load_study(fuzz.study(tmp_path, runs))).recipes
        assert runs <= len(recipes) < runs + 15
        assert {r.model for r in recipes} == {"dcgan", "nsgan", "wgan_gp"}
        assert all(r.precision == "fp32" for r in recipes)
