"""`train --config`: options from a file, typed, overridden, printed and read back; a stranger's file runs nothing."""

import re

import pytest
import yaml
from PIL import Image

from gan_ablate.cli import main


@pytest.fixture
def config(tmp_path):
    def write(text):
        (tmp_path / "run.yaml").write_text(text)
        return ["train", "--config", str(tmp_path / "run.yaml")]

    return write


def printed(capsys, *argv):
    """The options that a command line comes to."""
    with pytest.raises(SystemExit) as left:
        main([*argv, "--print_config"])
    assert left.value.code == 0
    return capsys.readouterr().out


def test_the_command_line_wins_and_what_is_printed_is_read_back(capsys, config):
    argv = config("lr: 1e-3\nbatch-size: 32\nmodel: nsgan\ntrick: [label_smoothing]\n")
    text = printed(capsys, *argv, "--lr", "0.5", "--trick", "instance_noise:std=0.2")
    found = yaml.safe_load(text)
    assert (found["lr"], found["batch_size"], found["model"], found["steps"]) == (0.5, 32, "nsgan", 1000)
    assert found["trick"] == ["label_smoothing", "instance_noise:std=0.2"]
    assert printed(capsys, *config(text)) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stps: 3\n", "run.yaml: unknown option 'stps': did you mean 'steps'"),
        ("steps: 2.5\n", "--steps 2.5: needs a whole number"),
        ("lr: many\n", "--lr many: needs a number"),
        ("root: [a]\n", "--root"),
        ("lr: 1\nlr: 2\n", "run.yaml, line 2, column 1: key 'lr' is given twice"),
        ("batch-size: 3\nbatch_size: 4\n", "batch_size stands twice"),
        ("- 1\n", "run.yaml: a config is a mapping of options to values"),
        ("trust: [strangers]\n", "--trust on the command line"),
        ("config: other.yaml\n", "unknown option 'config'"),
        ("trick: label_smothing\n", "did you mean 'label_smoothing'"),
    ],
)
def test_a_wrong_file_is_one_line(capsys, config, text, said):
    assert main(config(text)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_a_file_names_no_module_that_the_command_line_does_not_trust(capsys, config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GAN_ABLATE_CACHE", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "strangers.py").write_text("raise SystemExit('it ran')\n")
    (tmp_path / "images").mkdir()
    Image.new("RGB", (16, 16)).save(tmp_path / "images" / "a.png")
    for text in ("trick: [strangers.Trick]\n", "dataset: images\nextractor: strangers:Net\n"):
        assert main(config(text)) == 2
        assert "--trust strangers" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="it ran"):
        main([*config("trick: [strangers.Trick]\n"), "--trust", "strangers"])


def test_help_says_no_types_and_no_empty_defaults(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert not re.search(r"type: |null|\[\]\)", said)
    assert "generator steps (default: 1000)" in said
    assert "of everything random (default: 0)" in said
