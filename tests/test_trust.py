"""Names in strangers' files: nothing is imported or called that the user did not name himself."""

import json
import os
import pickle
import sys
from pathlib import Path

import fake_runs
import pytest
import torch
from torch import nn

from gan_ablate import trust
from gan_ablate.cli import main
from gan_ablate.errors import InputError
from gan_ablate.evaluate.extractors import custom_extractor
from gan_ablate.recipe import Evaluation, Recipe
from gan_ablate.run.measure import open_checkpoint
from gan_ablate.store.store import Store
from gan_ablate.study.study import from_dict
from gan_ablate.sweep import slurm
from gan_ablate.sweep.display import Display
from gan_ablate.sweep.pool import sweep
from gan_ablate.sweep.slurm_job import Share
from gan_ablate.sweep.way import Way
from gan_ablate.trick import build

MODULE = """
from dataclasses import dataclass
from pathlib import Path
from gan_ablate.trick import Trick
Path("imported").touch()

@dataclass(frozen=True)
class Louder(Trick):
    gain: float = 2.0
    def g_loss(self, loss, step, state):
        return self.gain * loss
"""
STUDY = """
name: downloaded
base: {width: 4, batch_size: 8, steps: 4, evaluation: {samples: 16, points: 1}}
models: [dcgan]
arms: ["strangers_module.Louder:gain=3"]
seeds: 1
"""
calls = []


def function():
    calls.append("function")
    return nn.Identity()


class NoModule:
    def __init__(self):
        calls.append("class")


@pytest.fixture
def downloaded(tmp_path, monkeypatch):
    """A folder as somebody sent it: a module, studies and a root that name it, and a checkpoint; one is in it."""
    (tmp_path / "strangers_module.py").write_text(MODULE)
    (tmp_path / "study.yaml").write_text(STUDY)
    (tmp_path / "measures.yaml").write_text(STUDY.replace("samples: 16", 'extractor: "strangers_module:Encoder"'))
    (tmp_path / "measures.yaml").write_text((tmp_path / "measures.yaml").read_text().split("arms:")[0] + "seeds: 1\n")
    own = Recipe(tricks=("strangers_module.Louder",), width=4, steps=4, arm="louder")
    measured = Recipe(evaluation=Evaluation(extractor="strangers_module:Encoder"), width=4, steps=4)
    store = Store.create(tmp_path / "root", name="n", source={}, recipes=[own, measured])
    for recipe in (own, measured):
        with store.claim(recipe.run_id) as claim:
            claim.prepare(recipe)
            claim.publish_result({"recipe": recipe.to_dict(), "outcome": "ok", "metrics": {"fid": 1.0}, "labels": {}})
            place = claim.folder / "checkpoints" / "last.ckpt"
            place.parent.mkdir()
            torch.save({"gan_ablate": {"recipe": recipe.to_dict()}, "state_dict": {}}, place)
        torch.save({"gan_ablate": {"recipe": recipe.to_dict()}, "state_dict": {}}, tmp_path / f"{recipe.arm}.ckpt")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("strangers_module", None)


def refused(capsys, *argv):
    """The one line of a command that ends with exit code 2."""
    capsys.readouterr()
    assert main([str(a) for a in argv]) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    return said.err


@pytest.mark.parametrize(
    "command",
    [
        "sweep study.yaml --dry-run",
        "sweep study.yaml",
        "sweep study.yaml --arms strangers_*",
        "sweep measures.yaml",
        "export-wandb study.yaml",
        'trial study.yaml {"cell":{"run":"dcgan/base","seed":0}}',
        "sample louder.ckpt",
        "evaluate louder.ckpt",
    ],
)
def test_a_name_in_a_file_is_no_permission(downloaded, capsys, command):
    before = sorted(downloaded.iterdir())
    line = refused(capsys, *command.split())
    assert "the module strangers_module is imported only with your permission: --trust strangers_module" in line
    assert sorted(downloaded.iterdir()) == before  # nothing was imported, nothing written


def test_reading_commands_import_nothing(downloaded, capsys):
    run_id = Store.open("root").cells[0].run_id
    commands = ["status root", f"show {run_id} --root root", "gc root", "report root", "claims root",
                "merge root --out joined", "sweep measures.yaml --dry-run", "tricks"]  # fmt: skip
    for command in commands:
        assert main(command.split()) == 0, command
    assert "--trust strangers_module" in capsys.readouterr().out  # of `show`: what it cannot say without
    assert not Path("imported").exists()


def test_what_was_typed_is_permitted_and_forgotten_afterwards(downloaded, capsys):
    louder = "strangers_module.Louder"
    for command in (
        "sweep study.yaml --dry-run --trust strangers_module",
        f"sweep study.yaml --dry-run --arms {louder}:gain=3",
        f"show {Store.open('root').cells[0].run_id} --root root --trust strangers_module",
        f"tricks {louder}",
    ):
        sys.modules.pop("strangers_module", None)
        assert main(command.split()) == 0, command
        assert trust.trusted() == ()
        Path("imported").unlink()
    assert "hook: g_loss" in capsys.readouterr().out
    sys.modules.pop("strangers_module", None)
    assert "unknown parameter 'gian'" in refused(capsys, "train", "--trick", f"{louder}:gian=1")
    sys.modules.pop("strangers_module", None)
    assert "unknown parameter 'gian'" in refused(capsys, "sweep", "study.yaml", "--arms", f"{louder}:gian=1")
    assert "needs the name of a module" in refused(capsys, "sweep", "study.yaml", "--trust", "./strangers_module.py")


def test_agents_are_given_the_permission(downloaded):
    assert main("export-wandb study.yaml --out sweep.yaml --trust strangers_module".split()) == 0
    assert "- --trust\n- strangers_module\n" in Path("sweep.yaml").read_text()


def test_workers_and_jobs_are_given_the_permission(downloaded, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    study = from_dict({"name": "n", "models": ["dcgan"], "base": {"steps": 1}, "seeds": 1})
    way = {"run": f"{fake_runs.__name__}:imports_by_name", "workers": 1, "display": Display()}
    with pytest.raises(InputError, match="--trust strangers_module"):
        sweep(study, "without", **way)
    assert not Path("imported").exists()
    with trust.for_a_while():
        trust.trust("strangers_module")
        setup = Way().setup(Path("root"), Way(workers=1).places(), ())
        assert setup.trusted == ("strangers_module",)
        assert sweep(study, "with", **way).done == 1
        share = Share(str(downloaded / "share"), (Recipe(steps=1),), Way(workers=1, run=way["run"]), tuple(sys.path),
                      trust.trusted())  # fmt: skip
    Path("imported").unlink()
    with trust.for_a_while():  # another process, which was told nothing
        assert pickle.loads(pickle.dumps(share))()["done"] == 1
    assert Path("imported").exists()


@pytest.mark.parametrize("name", ["function", "NoModule", "calls", "nothing"])
def test_no_extractor_is_called_that_is_no_module(name):
    calls.clear()
    with pytest.raises(InputError, match=r"neither a torch\.nn\.Module|cannot import"):
        custom_extractor(f"{__name__}:{name}")
    assert calls == []


def test_names_that_are_none():
    for name in ("os:", ":x", "a b:c", "a..b:c", "os:1", "a\0b:c"):
        with pytest.raises(InputError, match=r"no import path|printable"):
            custom_extractor(name)
    for name in ("os.abort", f"{__name__}.NoModule", "gan_ablate.recipe.Recipe"):
        with pytest.raises(InputError, match="not a subclass of"):
            build(Recipe(tricks=(name,)).tricks[0])
    with trust.for_a_while():
        trust.trust("package.inner")
        for path, allowed in {
            "package.inner:X": 1,
            "package.inner.m:X": 1,
            "package:X": 0,
            "package.inner2:X": 0,
        }.items():
            if allowed:
                trust.require(path, "x")
            else:
                with pytest.raises(InputError):
                    trust.require(path, "x")


def test_a_module_that_breaks_is_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("broken_module.py").write_text("1 +\n")
    with trust.for_a_while():
        trust.trust("broken_module")
        with pytest.raises(InputError, match="cannot import X from broken_module: SyntaxError"):
            trust.load("broken_module:X", "trick")


def test_a_checkpoint_that_is_none(tmp_path):
    for content in ({}, {"gan_ablate": {"recipe": {"model": "biggan"}}}, {"gan_ablate": {"recipe": {"width": "x"}}},
                    {"gan_ablate": {"recipe": {"width": 4, "size": 16}}, "state_dict": {"x": 1}}):  # fmt: skip
        torch.save(content, tmp_path / "x.ckpt")
        with pytest.raises(InputError, match=r"x\.ckpt: not a checkpoint of gan_ablate"):
            open_checkpoint(tmp_path / "x.ckpt")


class Bomb:
    """Its unpickling leaves a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_results_of_slurm_jobs_are_not_unpickled(tmp_path):
    recipe = Recipe(steps=1)
    (tmp_path / "slurm").mkdir()
    for name in ("17_3_0_result.pkl", "17_3_result.pkl"):
        (tmp_path / "slurm" / name).write_bytes(pickle.dumps(("success", Bomb(tmp_path / "boom"))))
    task = slurm._Task("17_3", (recipe.run_id,))
    watch = slurm._Watch(Store(tmp_path), {recipe.run_id: recipe}, [task], Display(), slurm.TimeLeft())
    assert watch._refusal(task) == ""
    assert not (tmp_path / "boom").exists()


def test_a_job_leaves_the_line_that_ended_it(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "17")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    recipe = Recipe(steps=1)
    (tmp_path / "slurm").mkdir()
    Share(str(tmp_path), (recipe,), Way(workers=1, run="fake_runs:refuses"), tuple(sys.path))()
    task = slurm._Task("17_3", (recipe.run_id,))
    watch = slurm._Watch(Store(tmp_path), {recipe.run_id: recipe}, [task], Display(), slurm.TimeLeft())
    assert "no weights at /nowhere: give --weights" in watch._refusal(task)
    (tmp_path / "slurm" / "17_3_refused.txt").write_text(json.dumps({"no": "text"}))
    assert watch._refusal(task) == ""


def test_a_studys_name_is_no_line_of_the_batch_script():
    script = pytest.importorskip("submitit.slurm.slurm")
    name = "x\n#SBATCH --wrap='touch /tmp/boom'\ntouch /tmp/boom; $(boom) " + "y" * 300
    text = script._make_sbatch_string("python x", "/logs", map_count=2, **slurm.SlurmOptions().parameters(name))
    plain = script._make_sbatch_string("python x", "/logs", map_count=2, **slurm.SlurmOptions().parameters("plain"))
    assert len(text.splitlines()) == len(plain.splitlines())
    (line,) = [line for line in text.splitlines() if "job-name" in line]
    assert line.startswith("#SBATCH --job-name=x-SBATCH---wrap-touch-tmp-boom")
    assert len(line) < 100
