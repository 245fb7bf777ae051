"""W&B: sweeps that mean the study's own cells, uploads that are whole, and servers that cannot harm a run."""

import itertools
import json
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml
from fake_runs import carry_out as fake
from wandb_server import Standin

import gan_ablate.sweep.pool
from gan_ablate.cli import main, parser
from gan_ablate.commands import run_options
from gan_ablate.errors import InputError
from gan_ablate.outcomes import MEASURED
from gan_ablate.recipe import Evaluation, Recipe
from gan_ablate.run.carry_out import carry_out
from gan_ablate.store.store import Store
from gan_ablate.study.study import expand, from_dict, load_study
from gan_ablate.sweep import wandb_sweep
from gan_ablate.tricks import complete
from gan_ablate.uplink import child, client, payload
from gan_ablate.uplink import logger as uplink_logger

wandb = pytest.importorskip("wandb")
from wandb import wandb_agent  # noqa: E402
from wandb.proto import wandb_internal_pb2 as pb  # noqa: E402
from wandb.sdk.launch.sweeps import utils as sweep_utils  # noqa: E402

SMALL = """
name: small
models: [dcgan, wgan_gp]
base: {width: 4, batch_size: 8, steps: 4, precision: fp32, evaluation: {samples: 16, points: 2}}
arms: [label_smoothing, "instance_noise:std=1e-05"]
seeds: [0, 3]
"""
LIMITS = {"GAN_ABLATE_WANDB_INIT_SECONDS": "3", "GAN_ABLATE_WANDB_FINISH_SECONDS": "3"}


@pytest.fixture
def outside(monkeypatch, tmp_path):
    """The environment of a process that may use W&B, with short time limits; put back after the test."""
    for name in [n for n in os.environ if n.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    for name in client.OF_AN_AGENT:  # an agent sets them in its own process
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    for name, value in {**LIMITS, "HOME": str(home)}.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def use(environment, standin):
    for name, value in standin.environment().items():
        environment.setenv(name, value)


def tiny(**fields):
    plan = Evaluation(samples=16, points=2)
    return complete(
        Recipe(**{"steps": 4, "width": 4, "batch_size": 8, "precision": "fp32", "evaluation": plan, **fields})
    )


# -- the sweep file and its cells --------------------------------------------------------------------------------------


def grid(text):
    """What W&B's grid search asks for: every combination of the values of `cell`."""
    parameters = yaml.safe_load(text)["parameters"]["cell"]["parameters"]
    for values in itertools.product(*(p["values"] for p in parameters.values())):
        yield {"cell": dict(zip(parameters, values))}


def rendered(parameters):
    """The agent's `${args_json}`, by wandb's own function."""
    args = {name: {"value": value} for name, value in parameters.items()}
    (text,) = sweep_utils.create_sweep_command_args({"args": args})["args_json"]
    return text


@pytest.mark.parametrize("name", ["smoke", "ablation"])
def test_the_kept_sweep_files_are_those_of_their_studies(name):
    study = load_study(f"sweeps/{name}.yaml")
    text = wandb_sweep.sweep_file(study, expand(study), path=f"sweeps/{name}.yaml")
    assert Path(f"sweeps/wandb/{name}.yaml").read_text() == text, f"run: gan-ablate export-wandb sweeps/{name}.yaml"


def test_exporting_imports_neither_torch_nor_wandb(tmp_path):
    argv = ["export-wandb", "sweeps/smoke.yaml", "--out", str(tmp_path / "s.yaml")]
    code = (
        f"import sys; from gan_ablate.cli import main; main({argv!r}); print({{'torch', 'wandb'}} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"
    assert (tmp_path / "s.yaml").read_text() == Path("sweeps/wandb/smoke.yaml").read_text()


STRANGE = {
    "name": "strange",
    "models": ["dcgan"],
    "arms": [
        "instance_noise:std=1e-05",
        {"arm": "[*] a 'b' \"c\", ${args} – {d}/e", "width": 20},
        {"arm": "null", "width": 12},
        {"arm": "1e-05", "lr": 1e-05},
    ],
    "seeds": 2,
}


@pytest.mark.parametrize("name", ["ablation", "strange", "two datasets"])
def test_the_grid_is_the_study_run_for_run(name):
    data = {**STRANGE, "datasets": ["shapes", "/data/my shapes"]} if name == "two datasets" else STRANGE
    study = load_study("sweeps/ablation.yaml") if name == "ablation" else from_dict(data, "sweeps/strange.yaml")
    expansion = expand(study)
    text = wandb_sweep.sweep_file(study, expansion, path=study.path)
    cells = [wandb_sweep.read_trial(rendered(p)) for p in grid(text)]
    known = wandb_sweep.named(expansion)
    assert len(set(cells)) == len(cells)
    assert len(known) == len(expansion.recipes) > 9
    assert known.keys() <= set(cells)
    assert all(wandb_sweep.recipe_of(c, study, expansion).run_id == known[c].run_id for c in [*known][::97])
    # of an adaptive study the grid has base's seeds for every arm: those beyond an arm's last look train nothing
    beyond = [c for c in cells if c not in known]
    assert bool(beyond) == (study.seed_plan is not None)
    assert all("at most 16 seeds" in wandb_sweep.recipe_of(c, study, expansion) for c in beyond[::97])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{'cell': 1}", "not JSON"),
        ("[]", "needs a mapping `cell`"),
        ('{"cell": {"arm": "x"}}', "unknown key 'arm'"),
        ('{"cell": {"run": "base", "seed": 0}}', "needs model/arm"),
        ('{"cell": {"run": "dcgan/base", "seed": true}}', "needs a whole number"),
        ('{"cell": {"run": "dcgan/base", "seed": 99}}', "seeds are 0, 1"),
        ('{"cell": {"run": "dcgan/projecton", "seed": 0}}', "did you mean"),
    ],
)
def test_a_cell_that_does_not_exist(capsys, tmp_path, text, message):
    assert main(["trial", "sweeps/smoke.yaml", text, "--root", str(tmp_path / "r")]) == 2
    line = capsys.readouterr().err
    assert message in line
    assert line.count("\n") == 1
    assert not (tmp_path / "r").exists()


# -- an agent's trials -------------------------------------------------------------------------------------------------


class Agent(wandb_agent.Agent):
    """wandb's own agent without its server: it renders the command, writes its files and starts the process."""

    def __init__(self, path):
        super().__init__(api=None, queue=None)
        self.config = yaml.safe_load(Path(path).read_text())

    def command(self, monkeypatch, parameters, name="trial1"):
        """The command line of one trial, as the agent would start it."""
        started = []

        def start(env=None, command=None, **_):
            started.append(command)
            return type("Process", (), {})()

        with monkeypatch.context() as patch:
            patch.setattr(wandb_agent, "AgentProcess", start)
            self._sweep_command = list(self.config["command"])
            (Path(os.environ["WANDB_DIR"]) / "wandb" / f"sweep-{os.environ['WANDB_SWEEP_ID']}").mkdir(
                parents=True, exist_ok=True
            )
            args = {k: {"value": v} for k, v in parameters.items()}
            self._command_run({"run_id": name, "program": self.config["program"], "args": args})
        return started[0]


@pytest.fixture
def small(tmp_path, outside, capsys):
    """A small study, its exported file and its root."""
    study, out, root = tmp_path / "small.yaml", tmp_path / "sweep.yaml", tmp_path / "r"
    study.write_text(SMALL)
    argv = ["export-wandb", str(study), "--root", str(root), "--out", str(out), "--wandb", "offline"]
    assert main(argv) == 0
    outside.setenv("WANDB_DIR", str(tmp_path))
    outside.setenv("WANDB_SWEEP_ID", "sweep1")
    return study, out, root


def test_every_cell_as_an_agent_runs_it(small, tmp_path, outside, capsys):
    study, out, root = small
    swept = gan_ablate.sweep.pool.sweep
    outside.setattr(gan_ablate.sweep.pool, "sweep", partial(swept, run=f"{fake.__module__}:carry_out"))
    agent = Agent(out)
    trials = list(grid(out.read_text()))
    commands = [agent.command(outside, parameters) for parameters in trials]
    assert len(commands) == len({tuple(c) for c in commands}) == 10
    for command in commands:
        assert command[:2] == ["/usr/bin/env", "gan-ablate"]
        assert main(command[2:]) == 0
    capsys.readouterr()
    swept(load_study(study), tmp_path / "other", run=f"{fake.__module__}:carry_out", workers=1)
    ours, others = Store.open(root), Store.open(tmp_path / "other")
    assert ours.cells == others.cells
    assert ours.study.not_applicable == others.study.not_applicable
    assert {p.name for p in (root / "runs").iterdir()} == {c.run_id for c in others.cells}
    assert all(ours.glance(cell.run_id)[0] == "done" for cell in ours.cells)
    capsys.readouterr()
    for command in commands:  # again: nothing is trained twice
        assert main(command[2:]) == 0
        assert "already done" in capsys.readouterr().out
    assert all((ours.folder(c.run_id) / "starts").read_text().count("\n") == 1 for c in ours.cells)
    parameters = {"cell": {"run": "wgan_gp/label_smoothing", "seed": 0}}
    assert main(agent.command(outside, parameters)[2:]) == 0
    assert "not applicable: label_smoothing would change nothing on wgan_gp" in capsys.readouterr().out
    run_id = ours.cells[0].run_id
    (ours.folder(run_id) / "result.json").unlink()
    with ours.claim(run_id):
        assert main(commands[0][2:]) == 0
    assert "being trained by another process" in capsys.readouterr().out


@pytest.mark.slow
def test_a_trial_trains_what_a_sweep_trains(small, tmp_path, outside):
    """One cell for real: a process that wandb's agent starts, with W&B offline, against `gan-ablate sweep`."""
    study, out, root = small
    command = Agent(out).command(outside, {"cell": {"run": "dcgan/instance_noise:std=1e-05", "seed": 3}})
    outside.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    process = wandb_agent.AgentProcess(env=dict(os.environ), command=command)
    assert process.wait(timeout=300) == 0
    (cell,) = [c for c in Store.open(root).cells if c.arm.startswith("instance") and c.seed == 3 and c.model == "dcgan"]
    result = Store.open(root).finished(cell.run_id)
    assert result["outcome"] in MEASURED
    (kept,) = (Store.open(root).folder(cell.run_id) / "wandb").glob("offline-run-*/run-*.wandb")
    assert kept.name == "run-trial1.wandb"  # the id that the sweep gave it
    for name in client.OF_AN_AGENT:
        outside.delenv(name, raising=False)
    only = ["dcgan/instance_noise:std=1e-05/3"]
    swept = gan_ablate.sweep.pool.sweep(load_study(study), tmp_path / "other", only=only, workers=1)
    assert swept.done == 1
    other = Store.open(tmp_path / "other").finished(cell.run_id)
    assert (other["metrics"], other["g_steps"]) == (result["metrics"], result["g_steps"])


# -- what W&B gets -----------------------------------------------------------------------------------------------------


def test_a_group_is_a_recipe_without_its_seed():
    same = {payload.group(tiny(tricks=("label_smoothing",), seed=s)) for s in range(3)}
    others = {payload.group(r) for r in (tiny(), tiny(lr=1e-5), tiny(steps=5), tiny(tricks=("instance_noise",)))}
    assert len(same) == 1
    assert len(others) == 4
    assert not same & others
    named = payload.tags(tiny(tricks=("instance_noise:std=0.2,until=0.5",), dataset="/data/photos.zip"))
    assert {"dcgan", "photos.zip", "instance_noise", "instance_noise:std=0.2,until=0.5"} == set(named)
    assert max(len(tag) for tag in payload.tags(tiny(arm="x" * 200))) == payload.TAG


def files_of(standin, run_id):
    """The files of a run that came to the server, by name."""
    put = f"/put/{run_id}/"
    return {name.removeprefix(put): body for name, body in standin.asked if name.startswith(put)}


def uploaded(standin):
    """What of a run came to the server: id, group, tags, config, rows, table and summary."""
    first = standin.of("UpsertBucket")[0]
    config = {k: v["value"] for k, v in json.loads(first["config"]).items()}
    files = files_of(standin, first["name"])
    (table,) = [json.loads(b) for n, b in files.items() if n.startswith("media/table/")]
    grids = [n for n in files if n.startswith("media/images/eval/samples")]
    rows = [r for r in standin.history() if "step" in r]
    return first, config, rows, table, grids, json.loads(files["wandb-summary.json"])


def check(standin, recipe, result):
    """All of a run is there: nothing is missing, nothing twice."""
    first, config, rows, table, grids, summary = uploaded(standin)
    assert first["name"] == recipe.run_id
    assert first["groupName"] == payload.group(recipe)
    assert set(first["tags"]) == set(payload.tags(recipe))
    assert config["run_id"] == recipe.run_id
    assert Recipe.from_dict({k: v for k, v in config.items() if k not in ("run_id", "_wandb")}).run_id == recipe.run_id
    curve = [(p["step"], p["fid"]) for p in result["curve"]]
    assert [(r["step"], r["eval/fid"]) for r in rows if "eval/fid" in r] == curve
    assert any("train/d_loss" in r for r in rows)
    assert all(
        key.startswith(("train/", "eval/", "_")) or key in ("step", "evaluations", "verdicts")
        for r in rows
        for key in r
    )
    assert summary["eval/fid"] == {"min": min(fid for _, fid in curve)}
    assert summary["eval/coverage"] == {"max": max(p["coverage"] for p in result["curve"])}
    assert len(grids) == len(curve)
    assert [row[table["columns"].index("fid")] for row in table["data"]] == [fid for _, fid in curve]
    return summary


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A run without W&B: its recipe, folder and result."""
    recipe, folder = tiny(steps=50, tricks=("instance_noise",)), tmp_path_factory.mktemp("plain")
    return recipe, folder, carry_out(recipe, folder, threads=1)


def test_a_run_online_is_all_there(plain, outside, tmp_path):
    recipe, _, result = plain
    outside.setenv("GAN_ABLATE_WANDB_FINISH_SECONDS", "60")
    outside.setenv("GAN_ABLATE_WANDB_INIT_SECONDS", "60")
    store = Store.create(tmp_path, name="s", source={}, recipes=[recipe])
    with Standin() as standin:
        use(outside, standin)
        with store.claim(recipe.run_id) as claim:
            folder = claim.prepare(recipe)
            ours = carry_out(recipe, folder, threads=1, wandb="online", group="s")
            claim.publish_result(ours)
        assert check(standin, recipe, ours)["outcome"] == ours["outcome"]
        assert ours["metrics"] == result["metrics"]
        asked = len(standin.asked)
        assert main(["sync-wandb", str(tmp_path)]) == 0  # it is there: not uploaded again
        assert len(standin.asked) == asked


def test_a_run_offline_is_all_there(plain, outside, tmp_path):
    """`wandb sync` finds everything in the folder of a run that was carried out offline."""
    recipe, _, _ = plain
    result = carry_out(recipe, tmp_path / "run", threads=1, wandb="offline", group="s")
    (kept,) = (tmp_path / "run" / "wandb").glob("offline-run-*")
    with Standin() as standin:
        use(outside, standin)
        argv = [sys.executable, "-m", "wandb", "sync", str(kept)]
        subprocess.run(argv, cwd=tmp_path, timeout=120, check=True, capture_output=True, stdin=subprocess.DEVNULL)
        assert check(standin, recipe, result)["outcome"] == result["outcome"]


# -- a run that is kept offline is whole ---------------------------------------------------------------------------------

SERVICE = """
import os, pathlib, tempfile, types
__path__ = [*__path__, os.environ["REAL_WANDB"]]  # for wandb.proto
tempfile.mkdtemp()  # as wandb does when it is imported
file = None
class Settings:
    def __init__(self, **_): pass
class Run:
    id = "abc"
    summary = {}
    def define_metric(self, *_, **__): pass
    def log(self, row): pass
    def finish(self, exit_code): pass
def init(dir, **_):
    global file
    file = pathlib.Path(dir, "wandb", "offline-run-1", "run-abc.wandb")
    file.parent.mkdir()
    file.write_bytes(b":W&B\\xe1\\xbe\\x00")
    run = Run()
    run.settings = types.SimpleNamespace(sync_file=str(file))
    return run
def teardown(exit_code=None):
    file.write_bytes(pathlib.Path(os.environ["AT_THE_END"]).read_bytes())
"""


def kept(*records, size=32768):
    """The bytes of an offline run's file: a LevelDB log of wandb's records, written apart from what reads it."""
    data = b":W&B\xe1\xbe\x00"
    for record in records:
        body, part = record.SerializeToString(), 0
        while body or not part:
            if (room := size - len(data) % size) < 7:
                data += b"\0" * room
                continue
            now, body = body[: room - 7], body[room - 7 :]
            part = {(0, 0): 1, (0, 1): 2, (1, 1): 3, (1, 0): 4}[part > 0, bool(body)]
            data += struct.pack("<IHB", zlib.crc32(bytes([part]) + now), len(now), part) + now
    return data


def records(rows=3, long=0):
    lines = [pb.Record(num=k, history=pb.HistoryRecord(item=[pb.HistoryItem(key="x" * long)])) for k in range(rows)]
    return [pb.Record(run=pb.RunRecord(run_id="abc")), *lines, pb.Record(exit=pb.RunExitRecord(exit_code=0))]


@pytest.mark.parametrize("flushed", [True, False])
def test_an_offline_run_is_complete_once_its_file_is_whole(outside, tmp_path, flushed):
    """A service that writes at its end only, as wandb's does on a busy machine."""
    (tmp_path / "fake" / "wandb").mkdir(parents=True)
    (tmp_path / "fake" / "wandb" / "__init__.py").write_text(SERVICE)
    (tmp_path / "whole").write_bytes(kept(*records()) if flushed else kept())
    (tmp_path / "temporary").mkdir()
    for name, value in {"PYTHONPATH": tmp_path / "fake", "REAL_WANDB": Path(wandb.__file__).parent,
                        "AT_THE_END": tmp_path / "whole", "TMPDIR": tmp_path / "temporary"}.items():  # fmt: skip
        outside.setenv(name, str(value))
    outside.setattr("tempfile.tempdir", None)
    ended = client.Link(tmp_path, {"project": "p", "id": "abc"}, mode="offline").finish()
    (file,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    assert ended.complete == flushed == (len(file.read_bytes()) > 7)
    assert ended.error == ("" if flushed else "run-abc.wandb ends before the run does (7 bytes)")
    assert not list((tmp_path / "temporary").iterdir())


def test_a_file_of_wandb_that_is_not_whole(tmp_path):
    file, whole = tmp_path / "run-abc.wandb", kept(*records(rows=40, long=5000))  # over several blocks
    file.write_bytes(whole)
    child.check(file)
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 4
    for data in (b"", b":W&B", whole[:7], kept(*records()[:-1]), whole[:-1], whole[: len(whole) // 2], bytes(flipped)):
        file.write_bytes(data)
        with pytest.raises(ValueError, match=r"cut short|damaged|ends before|no file of"):
            child.check(file)


# -- servers that cannot harm a run ------------------------------------------------------------------------------------


def speaking_with(url):
    """Living processes that W&B was told of this server by."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            mine = int(path.parent.name) == os.getpid()
            if not mine and url.encode() in path.read_bytes() and state(path.parent) != "Z":
                found.append((path.parent / "cmdline").read_text())
        except (OSError, ValueError):
            continue
    return found


def state(process):
    return (process / "stat").read_text().rpartition(")")[2].split()[0]


def weights(folder):
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


@pytest.mark.parametrize(
    ("behaviour", "after", "said"),
    [
        ("refuse", 0, "kept offline"),
        ("hang", 0, "kept offline"),
        ("drop", 4, "the run goes on without it"),
        ("hang", 8, "the run goes on without it"),
        ("nonsense", 2, "the run goes on without it"),
    ],
)
def test_no_server_fails_or_holds_up_a_run(plain, outside, tmp_path, capfd, behaviour, after, said):
    recipe, folder, result = plain
    outside.setattr(client, "GRACE", 6.0)
    with Standin(behaviour, after) as standin:
        use(outside, standin)
        began = time.monotonic()
        ours = carry_out(recipe, tmp_path, threads=1, wandb="online")
        waited = time.monotonic() - began
        assert not speaking_with(standin.environment()["WANDB_BASE_URL"])
    assert waited < result["seconds"] * 4 + 3 + 3 + 6 + 5
    errors = capfd.readouterr().err
    assert "W&B online" in errors
    assert said in errors
    for key in ("metrics", "outcome", "g_steps", "d_steps"):
        assert ours[key] == result[key]
    assert all(torch.equal(value, weights(folder)[key]) for key, value in weights(tmp_path).items())
    assert not (tmp_path / payload.MARKER).exists()  # so that `sync-wandb` uploads it
    if said == "kept offline":
        assert list((tmp_path / "wandb").glob("offline-run-*/run-*.wandb"))


def test_nothing_is_left_of_a_run_that_was_killed(outside, tmp_path):
    code = (
        "import os, sys, time; from pathlib import Path; from gan_ablate.uplink.client import Link\n"
        f"Link(Path({str(tmp_path)!r}), {{'project': 'p', 'id': 'abc'}}, mode='online').tell('log', row={{'step': 1}})\n"
        "print('up', flush=True); time.sleep(60)"
    )
    with Standin("hang") as standin:
        use(outside, standin)
        url = standin.environment()["WANDB_BASE_URL"]
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        assert process.stdout.readline() == b"up\n"
        limit = time.monotonic() + 60
        while not standin.asked and time.monotonic() < limit:
            time.sleep(0.05)
        assert len(speaking_with(url)) == 3  # the run, its child, wandb's service
        process.send_signal(signal.SIGKILL)
        process.communicate()
        while speaking_with(url) and time.monotonic() < limit:
            time.sleep(0.05)
        assert not speaking_with(url)


def test_a_monitor_whose_service_died_ends_with_the_link(outside, tmp_path):
    """It has another parent by then and a session of its own; what it has of the link is the environment."""
    link = client.Link(tmp_path, {"project": "p"}, mode="offline")
    orphan = "import subprocess as s; print(s.Popen(['sleep', '60'], stdout=s.DEVNULL, start_new_session=True).pid)"
    given = os.environ | {"TMPDIR": link._temporary}
    found = subprocess.run([sys.executable, "-c", orphan], env=given, stdout=subprocess.PIPE, check=True)
    process = Path("/proc") / found.stdout.decode().strip()
    assert state(process) in "RS"
    link._kill()
    assert not process.exists() or state(process) == "Z"


@pytest.mark.parametrize("value", ["soon", "0", "-1", "inf"])
def test_a_time_limit_that_is_none(outside, tmp_path, value):
    outside.setenv("GAN_ABLATE_WANDB_INIT_SECONDS", value)
    with pytest.raises(InputError, match="GAN_ABLATE_WANDB_INIT_SECONDS"):
        carry_out(tiny(), tmp_path, threads=1, wandb="offline")


# -- uploading a store afterwards --------------------------------------------------------------------------------------


@pytest.fixture
def stored(plain, tmp_path, outside):
    """A root with one finished run, one failed and one that is not done."""
    recipe, folder, result = plain
    failed, left = tiny(seed=1), tiny(seed=2)
    store = Store.create(tmp_path / "r", name="study", source={}, recipes=[recipe, failed, left])
    with store.claim(recipe.run_id) as claim:
        target = claim.prepare(recipe)
        (target / "metrics.jsonl").write_bytes((folder / "metrics.jsonl").read_bytes())
        (target / "samples").mkdir()
        for path in (folder / "samples").glob("*.png"):
            (target / "samples" / path.name).write_bytes(path.read_bytes())
        claim.publish_result(result)
    with store.claim(failed.run_id) as claim:
        claim.prepare(failed)
        claim.publish_failed(failed, "ZeroDivisionError: a bug", "lines", 2)
    outside.setenv("GAN_ABLATE_WANDB_INIT_SECONDS", "60")
    outside.setenv("GAN_ABLATE_WANDB_FINISH_SECONDS", "60")
    return store


def test_a_store_is_uploaded_once(stored, plain, outside, capsys):
    recipe, _, result = plain
    (stored.folder(stored.cells[1].run_id) / payload.MARKER).write_text("damaged")
    with Standin() as standin:
        use(outside, standin)
        assert main(["sync-wandb", str(stored.root)]) == 0
        assert "2 uploaded, 0 before, 1 not finished" in capsys.readouterr().out
        runs = {a["name"]: a for a in reversed(standin.of("UpsertBucket"))}
        study = next(name for name in runs if name.startswith("study-"))
        assert sorted(runs) == sorted([study, *(c.run_id for c in stored.cells[:2])])
        (table,) = [json.loads(b) for n, b in files_of(standin, study).items() if n.startswith("media/table/verdicts")]
        rows = [dict(zip(table["columns"], row)) for row in table["data"]]
        assert main(["verdicts", str(stored.root), "--json"]) == 0
        assert rows == json.loads(capsys.readouterr().out)["arms"] != []
        assert {a["project"] for a in runs.values()} == {"study"}
        asked = len(standin.asked)
        assert main(["sync-wandb", str(stored.root)]) == 0
        assert "0 uploaded, 2 before" in capsys.readouterr().out
        assert len(standin.asked) == asked
    with Standin() as standin:  # another server is another target, which is told to have the failed run
        use(outside, standin)
        payload.mark(stored.folder(stored.cells[1].run_id), payload.target("online", "study"), -1, client.Ended())
        assert main(["sync-wandb", str(stored.root)]) == 0
        summary = check(standin, recipe, result)
        assert not standin.of("RunResumeStatus")  # what W&B has of a run is replaced, not added to
    assert summary["outcome"] == result["outcome"]
    assert summary["final/fid"] == result["metrics"]["fid"]
    assert summary["g_steps"] == 50


def test_a_dead_server_ends_the_upload_and_marks_nothing(stored, outside, capsys):
    outside.setenv("GAN_ABLATE_WANDB_INIT_SECONDS", "2")
    with Standin("refuse") as standin:
        use(outside, standin)
        began = time.monotonic()
        assert main(["sync-wandb", str(stored.root)]) == 1
        assert time.monotonic() - began < 20
    line = capsys.readouterr().err.strip()
    assert "0 uploaded" in line
    assert "the same command goes on from there" in line
    assert "\n" not in line
    assert not list(stored.root.rglob(payload.MARKER))


def test_a_store_is_written_offline(stored, capsys):
    for said in ("2 uploaded, 0 before", "0 uploaded, 2 before"):
        assert main(["sync-wandb", str(stored.root), "--mode", "offline"]) == 0
        assert said in capsys.readouterr().out
    names = {p.name for p in stored.root.glob("runs/*/wandb/offline-run-*/run-*.wandb")}
    assert names == {f"run-{c.run_id}.wandb" for c in stored.cells[:2]}
    assert len(list(stored.root.glob("wandb/offline-run-*/run-study-*.wandb"))) == 1
    assert main(["sync-wandb", str(stored.root), "--mode", "ofline"]) == 2
    assert "did you mean 'offline'" in capsys.readouterr().err


def artifacts_in(path):
    """Artifacts in a file of an offline run: {name: (type, names of its files, where they lie)}."""
    found = {}
    for body in child._payloads(path.read_bytes()):
        record = pb.Record()
        record.ParseFromString(body)
        if record.HasField("artifact") and record.artifact.type != "run_table":
            files = record.artifact.manifest.contents
            found[record.artifact.name] = record.artifact.type, {f.path for f in files}, {f.local_path for f in files}
    return found


def test_artifacts_are_the_checkpoint_the_grids_and_the_report_where_they_lie(stored, plain):
    recipe, folder, _ = plain
    place = stored.folder(recipe.run_id)
    (place / "checkpoints").mkdir()
    (place / "checkpoints" / "last.ckpt").write_bytes((folder / "checkpoints" / "last.ckpt").read_bytes())
    assert main(["report", str(stored.root), "--partial"]) == 0
    assert main(["sync-wandb", str(stored.root), "--mode", "offline", "--artifacts", "all"]) == 0
    (file,) = place.glob("wandb/offline-run-*/run-*.wandb")
    grids = {p.name for p in (place / "samples").iterdir()}
    assert {name: held[:2] for name, held in artifacts_in(file).items()} == {
        f"model-{recipe.run_id}": ("model", {"last.ckpt"}),
        f"samples-{recipe.run_id}": ("samples", grids),
    }
    assert artifacts_in(file)[f"model-{recipe.run_id}"][2] == {str(place / "checkpoints" / "last.ckpt")}  # no copy
    (file,) = stored.root.glob("wandb/offline-run-*/run-study-*.wandb")
    (report,) = artifacts_in(file).values()
    assert {"report.html", "report.md"} <= report[1]


def test_a_run_hands_its_artifacts_over_only_if_asked(plain, outside):
    class Told:
        over = False

        def __init__(self, *_, **__):
            self.told = []

        def tell(self, do, **message):
            self.told.append((do, message.get("name", "")))

        def finish(self, exit_code):
            return client.Ended()

    recipe, folder, result = plain
    outside.setattr(uplink_logger, "Link", Told)
    for artifacts in (False, True):
        log = uplink_logger.WandbLog(recipe, folder, "offline", "p", 1.0, artifacts)
        log.conclude(result)
        names = [name for do, name in log.link.told if do == "artifact"]
        assert names == [f"model-{recipe.run_id}", f"samples-{recipe.run_id}"] * artifacts


@pytest.mark.parametrize(
    ("argv", "environment", "mode"),
    [
        ("train", "", "disabled"),
        ("train", "offline", "offline"),
        ("train", "dryrun", "offline"),
        ("train --wandb disabled", "online", "disabled"),
        ("sweep sweeps/smoke.yaml", "online", "online"),
        ("trial sweeps/smoke.yaml {}", "", "online"),
        ("trial sweeps/smoke.yaml {}", "disabled", "disabled"),
    ],
)
def test_wandb_mode_counts_where_no_option_says_otherwise(outside, argv, environment, mode):
    outside.setenv("WANDB_MODE", environment)
    args = parser().parse_args(argv.split())
    usual = "online" if args.command == "trial" else "disabled"
    assert run_options(args[args.command], usual)["wandb"] == mode


def test_words_that_are_no_mode(outside, capsys, tmp_path):
    outside.setenv("WANDB_MODE", "ofline")
    for argv, said in ((["train"], "unknown WANDB_MODE 'ofline': did you mean 'offline'"),
                       (["sync-wandb", str(tmp_path)], "unknown WANDB_MODE 'ofline'"),
                       (["train", "--wandb", "on"], "unknown --wandb 'on'"),
                       (["train", "--wandb", "online", "--wandb-artifacts", "al"], "unknown --wandb-artifacts 'al'")):  # fmt: skip
        assert main(argv) == 2
        assert said in capsys.readouterr().err
