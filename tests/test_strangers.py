"""Studies, roots and logs that somebody wrote to do harm: one line, exit code 2, and nothing outside the root."""

import json
import os
import time

import pytest

from gan_ablate.cli import main
from gan_ablate.errors import InputError
from gan_ablate.recipe import SCHEMA, Recipe
from gan_ablate.store.store import Store
from gan_ablate.study.strict_yaml import read_yaml
from gan_ablate.uplink import payload

RECIPE = Recipe(steps=4, width=4)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A root with one finished run, and a folder beside it that is none of its business."""
    monkeypatch.chdir(tmp_path)
    store = Store.create(tmp_path / "root", name="n", source={}, recipes=[RECIPE])
    with store.claim(RECIPE.run_id) as claim:
        claim.prepare(RECIPE)
        claim.publish_result({"recipe": RECIPE.to_dict(), "outcome": "ok", "metrics": {"fid": 1.0}, "labels": {}})
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / ".mine.png").write_text("mine")
    return store


def line(capsys, *argv):
    """The one line with which a command refuses, at once."""
    capsys.readouterr()
    began = time.process_time()
    assert main([str(a) for a in argv]) == 2
    assert time.process_time() - began < 3
    said = capsys.readouterr()
    assert (said.err.count("\n"), said.out) == (1, "")
    assert len(said.err) < 700
    assert said.err.rstrip("\n").isprintable()
    return said.err


# -- studies -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seeds: 1000000000", "seeds=1000000000: at most 10,000"),
        (f"seeds: [{'9' * 400}]", "needs a whole number"),
        (f"seeds: {'9' * 5000}", "digits"),
        (
            f"seeds: 10000\narms: [{', '.join(f'{{arm: a{k}, width: {k + 20}}}' for k in range(10))}]",
            "over 100,000 runs",
        ),
        ("base: {dataset: {a: 1}}", "dataset=\"{'a': 1}\": needs a text, got dict"),
        ("base: {dataset: [shapes]}", "dataset=\"['shapes']\": needs a text, got list"),
        ("base: {dataset: 1}", "needs a text, got int"),
        ('base: {dataset: "a\\0b"}', "needs printable text"),
        (f"base: {{dataset: {'d' * 300}}}", "at most 255 bytes"),
        ("base: {channels: [3]}", "channels=[3]: choose one of 1, 3"),
        ("base: {channels: true}", "channels=True: choose one of 1, 3"),
        ("base: {model: {a: 1}}", "use the study's key 'models'"),
        ("base: {tricks: [{name: r1, params: [1]}]}", "write name, name:key=value"),
        ("base: {evaluation: {extractor: {a: 1}}}", "needs a text, got dict"),
        ("name: ../../../x", "names the folder of the runs"),
        ("name: /tmp/x", "names the folder of the runs"),
        ("name: .hidden", "names the folder of the runs"),
        ("name: --root", "names the folder of the runs"),
        ('name: "a\\0b"', "names the folder of the runs"),
        ('name: "a\\e[2Jb"', r"names the folder of the runs"),
        (f"name: {'n' * 300}", "at most 100 printable characters"),
        ('arms: [{arm: "a\\0b", width: 8}]', "at most 1000 printable characters"),
        (f"arms: [{{arm: {'a' * 3000}, width: 8}}]", "at most 1000 printable characters"),
        (f"arms: [{'t' * 300}]", "no trick has such a name"),
        ('arms: ["t\\0.X"]', "no trick has such a name"),
        (f"arms: [{{instance_noise: {{std: {'9' * 400}}}}}]", "the number is too large"),
        ("base: {steps: 1:30}", "steps='1:30': needs a whole number"),
        ("base: {steps: 010}", "steps='010': needs a whole number"),
        ("base: {steps: 1_000}", "steps='1_000': needs a whole number"),
        (f"base: {{steps: {'9' * 400}}}", "steps=too large: needs a whole number"),
        (f"base: {{lr: {'9' * 400}}}", "lr="),
        ("base: {lr: 1:30.5}", "lr='1:30.5': needs a number"),
        ("base: {lr: 01.5}", "lr='01.5': needs a number"),
        (f"base: {{{'k' * 1000}: 1}}", "unknown recipe field"),
    ],
)
def test_a_study_that_cannot_be(tmp_path, monkeypatch, capsys, text, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.yaml").write_text(f"models: [dcgan]\n{text}\n")
    assert said in line(capsys, "sweep", "s.yaml")
    assert [p.name for p in tmp_path.iterdir()] == ["s.yaml"]


def test_numbers_are_those_of_yaml_1_2(tmp_path):
    numbers = {"0": 0, "-7": -7, "+7": 7, "0o17": 15, "0x1F": 31, "1e-4": 1e-4, ".5": 0.5, "2.": 2.0, "-1.5E3": -1500.0,
               "1:30": "1:30", "010": "010", "1_000": "1_000", "0b11": "0b11", "1.2.3": "1.2.3", "1e": "1e"}  # fmt: skip
    (tmp_path / "s.yaml").write_text(f"[{', '.join(numbers)}]")
    assert read_yaml(tmp_path / "s.yaml") == list(numbers.values())
    assert [type(v) for v in read_yaml(tmp_path / "s.yaml")] == [type(v) for v in numbers.values()]


@pytest.mark.parametrize("field", ["dataset", "trick", "arms"])
def test_the_command_line_is_read_as_strictly(tmp_path, monkeypatch, capsys, field):
    monkeypatch.chdir(tmp_path)
    argv = {"dataset": ("train", "--dataset", "x" * 300), "trick": ("train", "--trick", f"instance_noise:std={'9' * 400}"),
            "arms": ("sweep", "s.yaml", "--arms", "a\x1b[2J")}[field]  # fmt: skip
    (tmp_path / "s.yaml").write_text("models: [dcgan]\n")
    line(capsys, *argv)
    assert [p.name for p in tmp_path.iterdir()] == ["s.yaml"]


# -- roots -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["samples", "checkpoints", "log.txt", "attempts.jsonl", "metrics.jsonl", "a/b", "lock"]
)
@pytest.mark.parametrize("kind", ["link", "dangling", "pipe"])
def test_what_leads_out_of_a_runs_folder_is_not_written_to(root, tmp_path, name, kind):
    path = root.folder(RECIPE.run_id) / name
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    (tmp_path / "outside" / "file").write_text("theirs")
    target = {"link": "file" if "." in name or name == "lock" else "", "dangling": "new"}
    os.mkfifo(path) if kind == "pipe" else path.symlink_to(tmp_path / "outside" / target[kind])
    with pytest.raises(InputError, match=r"leads out of the run's folder|neither a file nor|not a regular file"):  # noqa: SIM117
        with root.claim(RECIPE.run_id) as claim:
            claim.prepare(RECIPE)
    assert {p.name: p.read_text() for p in (tmp_path / "outside").iterdir()} == {"file": "theirs", ".mine.png": "mine"}


def test_links_that_stay_inside_are_the_runs_own(root):
    folder = root.folder(RECIPE.run_id)
    (folder / "wandb").mkdir()
    (folder / "wandb" / "latest-run").symlink_to("offline-run-1")
    (folder / "circle").symlink_to("circle")
    with pytest.raises(InputError, match="circle"), root.claim(RECIPE.run_id) as claim:
        claim.prepare(RECIPE)
    (folder / "circle").unlink()
    with root.claim(RECIPE.run_id) as claim:
        assert claim.prepare(RECIPE) == folder


def test_gc_and_merge_follow_no_link(root, tmp_path, capsys):
    folder = root.folder(RECIPE.run_id)
    for name in ("samples", "checkpoints"):
        (folder / name).symlink_to(tmp_path / "outside")
    os.mkfifo(folder / "pipe")
    os.mkfifo(folder / "attempts.jsonl.pipe")
    assert main(["gc", "root", "--yes"]) == 0
    assert main(["merge", "root", "--out", "joined"]) == 0
    assert "1 runs copied" in capsys.readouterr().out
    assert not list((tmp_path / "joined").rglob("*mine*"))
    assert not list((tmp_path / "joined").rglob("*pipe*"))
    (tmp_path / "joined" / "runs").rename(tmp_path / "moved")
    (tmp_path / "joined" / "runs").symlink_to(tmp_path / "outside")
    assert "runs: a link" in line(capsys, "gc", "joined", "--what", "strays", "--yes")
    (tmp_path / "joined" / "runs").unlink()
    (tmp_path / "joined" / "runs").mkdir()
    (tmp_path / "joined" / "runs" / RECIPE.run_id).symlink_to(tmp_path / "outside")
    with pytest.raises(InputError, match="a link"), Store.open("joined").claim(RECIPE.run_id):
        raise AssertionError
    assert [p.name for p in (tmp_path / "outside").iterdir()] == [".mine.png"]


HEAD = f"schema: {SCHEMA}\nname: n\nversion: '1'\nnot_applicable: []\n"
CELL = {"run_id": "x", "model": "m", "dataset": "d", "arm": "a", "seed": 0}
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}]\n" for a, b in zip("abcdefghij", "bcdefghijk")
)
MERGES = "a: &a {x: 1, y: 2}\n" + "".join(
    f"{b}: &{b}\n  <<: [{', '.join([f'*{a}'] * 9)}]\n  {b}: 1\n" for a, b in zip("abcdefgh", "bcdefghi")
)


def pipe(path):
    path.unlink()
    os.mkfifo(path)


def cells(**changed):
    return lambda path: path.write_text(f"{HEAD}cells:\n- {json.dumps({**CELL, **changed})}\n")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (pipe, "not a regular file"),
        (lambda path: os.truncate(path, 30_000_000_000), "over 64,000,000 bytes"),
        (lambda path: (path.unlink(), path.symlink_to("/dev/zero")), "not a regular file"),
        (lambda path: path.write_text(f"{MERGES}{HEAD}cells:\n  []\n"), "merge keys (<<) are not allowed"),
        (lambda path: path.write_text(f"{BOMB}{HEAD}source: {{k: *k}}\ncells:\n  []\n"), "aliases (*) are not allowed"),
        (lambda path: path.write_text(f"{HEAD}source: &a {{k: *a}}\ncells:\n  []\n"), "aliases (*) are not allowed"),
        (lambda path: path.write_text("[" * 100_000), "cannot be read"),
        (lambda path: path.write_bytes(b"\xff\xfe\x00schema"), "cannot be read"),
        (cells(run_id="../x"), "leads out of the root"),
        (cells(run_id="a\0b"), "no name of a folder"),
        (cells(run_id="x" * 300), "no name of a folder"),
        (cells(run_id=["x"]), "not a study's file"),
        (cells(seed="0"), "not a study's file"),
        (cells(more=1), "not a study's file"),
        (cells(arm="\ud800"), "not a study's file"),
    ],
)
def test_a_study_file_that_would_hang_or_mislead_its_readers(root, capsys, spoil, said):
    spoil(root.root / "study.yaml")
    for command in (("status", "root"), ("merge", "root", "--out", "joined")):  # `show` and `gc` open it alike
        assert said in line(capsys, *command)


@pytest.mark.parametrize("spoil", [pipe, lambda path: os.truncate(path, 30_000_000_000),
                                   lambda path: path.write_text("[" * 100_000)])  # fmt: skip
@pytest.mark.parametrize("name", ["result.json", "recipe.json", "attempts.jsonl", "lock"])
def test_files_of_a_run_that_would_hang_their_readers(root, capsys, name, spoil):
    spoil(root.folder(RECIPE.run_id) / name)
    assert main(["status", "root"]) == 0
    assert main(["gc", "root"]) == 0
    shown = main(["show", RECIPE.run_id, "--root", "root"])
    assert shown == (2 if name == "recipe.json" else 0)


def test_a_result_of_other_kinds_is_none(root, capsys):
    record = {"schema": SCHEMA, "run_id": RECIPE.run_id, "outcome": "ok", "recipe": RECIPE.to_dict()}
    fid = {"metrics": {"fid": 1.0}}
    for more in ({"metrics": [1]}, {"labels": 3, **fid}, {"signs": "x"}, {"curve": 7}, {"seconds": "x", **fid}):
        (root.folder(RECIPE.run_id) / "result.json").write_text(json.dumps({**record, **more}))
        assert main(["show", RECIPE.run_id, "--root", "root"]) == 0
        assert capsys.readouterr().out.splitlines()[0].endswith(": left")


# -- what is printed, and logs -----------------------------------------------------------------------------------------


def test_no_control_character_reaches_the_terminal(root, capsys):
    nasty = "\x1b[2J\x07\x9b1m\u202e\r"
    cells = [{**CELL, "arm": f"arm{nasty}", "model": nasty, "run_id": RECIPE.run_id}]
    (root.root / "study.yaml").write_text(f"{HEAD}cells:\n- {json.dumps(cells[0])}\n")
    record = {"schema": SCHEMA, "run_id": RECIPE.run_id, "outcome": nasty, "note": nasty, "traceback": f"a\n{nasty}"}
    (root.folder(RECIPE.run_id) / "result.json").write_text(json.dumps({**record, "recipe": RECIPE.to_dict()}))
    for command in (["status", "root"], ["show", RECIPE.run_id, "--root", "root"], ["gc", "root"], ["show", nasty],
                    ["merge", "root", "--out", "joined"], ["status", f"no{nasty}"]):  # fmt: skip
        main(command)
        said = capsys.readouterr()
        assert all(text.replace("\n", "").isprintable() for text in (said.out, said.err)), command
        assert "\\x1b[2J" in said.out + said.err or command[0] in ("gc", "merge")


def test_a_log_that_is_not_utf_8(tmp_path):
    good = [json.dumps({"step": k, "d_loss": 1.0}).encode() for k in range(3)]
    bad = [b'{"step": 1, "d_loss": "\xff\xfe"}', b"\xff\xfe{\x00}\x00", b"[1]", b"\x00" * 9]
    (tmp_path / "metrics.jsonl").write_bytes(b"\n".join([good[0], *bad, *good[1:]]))
    assert [row["step"] for row in payload.history(tmp_path)] == [0, 1, 2]
