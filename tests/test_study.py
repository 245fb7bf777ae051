"""A study in YAML expands to exactly the recipes it says; whatever is wrong with it is one clear line."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from gan_ablate import tricks
from gan_ablate.errors import InputError, unknown
from gan_ablate.recipe import Recipe
from gan_ablate.study import study as studies

NAMES = ["label_smoothing", "n_critic", "instance_noise"]


def complete(recipe: Recipe) -> Recipe:
    """A stand-in for `gan_ablate.tricks.complete` over three known tricks."""
    for trick in recipe.tricks:
        if trick.name not in NAMES:
            raise unknown("trick", trick.name, NAMES)
    return recipe.validate()


def not_applicable(recipe: Recipe) -> str | None:
    smooths = any(t.name == "label_smoothing" for t in recipe.tricks)
    return "no targets to smooth" if recipe.model == "wgan_gp" and smooths else None


def expand(study: studies.Study) -> studies.Expansion:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tricks, "complete", complete)
        patch.setattr(tricks, "not_applicable", not_applicable)
        patch.setattr(tricks, "trick_names", lambda: NAMES)
        return studies.expand(study)


def read(tmp_path: Path, text: str | bytes) -> studies.Study:
    path = tmp_path / "s.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return studies.load_study(path)


FULL = """
name: full
design: one_at_a_time
base: {dataset: mnist, size: 28, channels: 1, lr: 1e-4, evaluation: {samples: 100, points: 2}}
models:
  dcgan: {}
  wgan_gp: {steps: 300, evaluation: {points: 1}}
arms:
  - label_smoothing
  - n_critic:n=5
  - instance_noise: {std: 0.2}
  - {arm: wide, width: 32}
  - {arm: both, tricks: [label_smoothing, "n_critic:n=2"], beta1: 0.9}
seeds: 3
"""


def test_expands_to_the_product_less_what_is_not_applicable(tmp_path: Path) -> None:
    out = expand(read(tmp_path, FULL))
    assert len(out.recipes) == 3 * (6 + 4)
    assert {(n.model, n.arm) for n in out.not_applicable} == {("wgan_gp", "label_smoothing"), ("wgan_gp", "both")}
    assert all(n.dataset == "mnist" and n.reason == "no targets to smooth" for n in out.not_applicable)
    assert len({r.run_id for r in out.recipes}) == len(out.recipes)
    assert Counter(r.seed for r in out.recipes) == {0: 10, 1: 10, 2: 10}
    assert [r.seed for r in out.recipes] == sorted(r.seed for r in out.recipes)  # all arms at seed 0 first
    assert out.recipes[0].arm == "base"
    by = {(r.model, r.arm, r.seed): r for r in out.recipes}
    assert by["dcgan", "base", 0].lr == 1e-4  # YAML 1.1 would read a text
    assert by["wgan_gp", "base", 0].steps == 300
    assert by["wgan_gp", "base", 0].evaluation.samples == 100  # merged field by field
    assert by["wgan_gp", "base", 0].evaluation.points == 1
    assert by["dcgan", "wide", 2].width == 32
    assert by["dcgan", "n_critic:n=5", 1].tricks[0].params == {"n": 5}
    assert by["dcgan", "instance_noise:std=0.2", 1].tricks[0].params == {"std": 0.2}
    assert [t.name for t in by["dcgan", "both", 0].tricks] == ["label_smoothing", "n_critic"]
    assert by["dcgan", "both", 0].beta1 == 0.9


def test_all_is_every_trick_and_a_written_one_is_not_repeated(tmp_path: Path) -> None:
    arms = {r.arm for r in expand(read(tmp_path, "models: [dcgan]\narms: all\nseeds: 1")).recipes}
    assert arms == {"base", *NAMES}
    text = "models: [dcgan]\narms: [all, {arm: n_critic, tricks: ['n_critic:n=3']}]\nseeds: 1"
    recipes = {r.arm: r for r in expand(read(tmp_path, text)).recipes}
    assert set(recipes) == {"base", *NAMES}
    assert recipes["n_critic"].tricks[0].params == {"n": 3}


def test_adding_seeds_and_arms_keeps_the_other_run_ids(tmp_path: Path) -> None:
    small = expand(read(tmp_path, "arms: [n_critic]\nseeds: 2"))
    large = expand(read(tmp_path, "arms: [instance_noise, n_critic]\nseeds: [7, 1, 0]"))
    assert {r.run_id for r in small.recipes} < {r.run_id for r in large.recipes}


def test_an_arm_that_equals_base_is_not_applicable_there_and_an_error_everywhere(tmp_path: Path) -> None:
    out = expand(read(tmp_path, "models: [dcgan, nsgan]\narms: [{arm: slow, beta1: 0.9}]\nseeds: 1"))
    assert [(n.model, n.arm, n.reason) for n in out.not_applicable] == [("nsgan", "slow", "the same recipe as base")]
    with pytest.raises(InputError, match="'slow' is the same run as base on every model"):
        expand(read(tmp_path, "models: [nsgan]\narms: [{arm: slow, beta1: 0.9}]\nseeds: 1"))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name: [a\nseeds: 5: 6", r"s\.yaml, line 2, column \d+: broken YAML"),
        ("a: b: c", r"line 1, column \d+: broken YAML"),
        ("- a\n- b", "a study is a mapping"),
        ("", "a study is a mapping"),
        (b"name: \xff\xfe", "not UTF-8"),
        ("name: \x00", "broken YAML"),
        ("name: a\nname: b", "line 2, column 1: key 'name' is given twice"),
        ("base: &a {steps: 1}\narms: [*a]", "anchors"),
        ("[" * 500, "nested more than"),
        ("seed: 3", "unknown key 'seed': did you mean 'seeds'"),
        ("design: one_at_time", "did you mean 'one_at_a_time'"),
        ("models: [dcgn]", "did you mean 'dcgan'"),
        ("models: {}", "models: expected"),
        ("seeds: []", "seeds="),
        ("seeds: 0", "seeds=0"),
        ("seeds: -1", "seeds=-1"),
        ("seeds: [1, 1]", "given twice"),
        ("seeds: [1, -2]", "seeds="),
        ("seeds: true", "seeds=True"),
        ("base: {step: 10}", "unknown recipe field 'step': did you mean 'steps'"),
        ("base: {seed: 10}", "use the study's key 'seeds'"),
        ("base: [1]", "expected recipe fields"),
        ("base: {evaluation: {sample: 5}}", "did you mean 'samples'"),
        ("base: {evaluation: 5}", "evaluation: expected"),
        ("base: {steps: -5}", "steps=-5"),
        ("base: {lr: .nan}", "lr=nan"),
        ("base: {steps: lots}", "steps='lots'"),
        ("arms: [label_smothing]", "dcgan/label_smothing: unknown trick .* did you mean 'label_smoothing'"),
        ("arms: [{width: 3}]", "need a label"),
        ("arms: [{widht: 3}]", "write name"),
        ("arms: [{tricks: [n_critic], width: 3}]", "needs a label"),
        ("arms: [7]", "write trick"),
        ("arms: {a: 1}", "arms: expected a list"),
        ("arms: [n_critic, n_critic]", "two arms are called 'n_critic'"),
        ("arms: [n_critic, {arm: other, tricks: [n_critic]}]", "'n_critic' and 'other' are the same run"),
    ],
)
def test_wrong_studies_are_one_line(tmp_path: Path, text: str | bytes, line: str) -> None:
    with pytest.raises(InputError, match=line) as caught:
        expand(read(tmp_path, text))
    assert "\n" not in str(caught.value)
    assert "s.yaml" in str(caught.value)


def test_files_that_are_missing_or_too_large(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        studies.load_study(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="at most"):
        read(tmp_path, "#" * 1_000_001)


def test_override_scales_down_and_leaves_the_arms_factors_alone(tmp_path: Path) -> None:
    study = read(tmp_path, FULL)
    small = studies.override(study, seeds=1, steps=10, samples=8, models=["wgan_gp"], arms=["wid*", "n_critic:n=7"])
    recipes = expand(small).recipes
    assert [(r.model, r.arm, r.steps, r.evaluation.samples, r.evaluation.points) for r in recipes] == [
        ("wgan_gp", "base", 10, 8, 1),
        ("wgan_gp", "wide", 10, 8, 1),
        ("wgan_gp", "n_critic:n=7", 10, 8, 1),
    ]
    assert {r.width for r in expand(studies.override(study, width=8)).recipes if r.arm == "wide"} == {32}
    assert studies.override(study, steps=None) == study
    with pytest.raises(InputError, match="unknown recipe field 'stps'"):
        studies.override(study, stps=3)


@pytest.mark.parametrize(
    ("pattern", "runs"), [("dcgan/*", 18), ("wide", 6), ("*/base/0", 2), ("wgan_gp", 12), (["wide", "base"], 12)]
)
def test_select_by_run_arm_or_model(tmp_path: Path, pattern: str | list[str], runs: int) -> None:
    recipes = expand(read(tmp_path, FULL)).recipes
    assert len(studies.select_runs(recipes, pattern)) == runs
    with pytest.raises(InputError, match=r"matches no run.*arms: base, label_smoothing"):
        studies.select_runs(recipes, "wid")


def test_no_torch_in_the_light_rooms() -> None:
    code = (
        "import sys, gan_ablate.sweep.pool, gan_ablate.study.study, gan_ablate.store.store;"
        "print([m for m in ('torch', 'lightning', 'pandas') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


@pytest.mark.parametrize("path", sorted((Path(__file__).parent.parent / "sweeps").glob("*.yaml")), ids=lambda p: p.stem)
def test_the_sweeps_that_ship_can_be_read(path: Path) -> None:
    study = studies.load_study(path)
    assert study.name == path.stem
    assert studies.expand(study).recipes
    assert path.read_text().startswith("#")


DOZEN = """
design: leave_one_out
base: {tricks: [label_flipping, generator_ema]}
models:
  dcgan: {}
  nsgan: {tricks: [batch_norm]}
seeds: 1
"""


def test_leave_one_out_takes_each_trick_of_the_base_away(tmp_path: Path) -> None:
    found = studies.expand(read(tmp_path, DOZEN))
    held = {(r.model, r.arm): {t.name for t in r.tricks} for r in found.recipes}
    assert held == {
        ("dcgan", "base"): {"label_flipping", "generator_ema"},
        ("dcgan", "without label_flipping"): {"generator_ema"},
        ("dcgan", "without generator_ema"): {"label_flipping"},
        ("nsgan", "base"): {"label_flipping", "generator_ema", "batch_norm"},
        ("nsgan", "without label_flipping"): {"generator_ema", "batch_norm"},
        ("nsgan", "without generator_ema"): {"label_flipping", "batch_norm"},
        ("nsgan", "without batch_norm"): {"label_flipping", "generator_ema"},
    }
    assert [(n.model, n.arm) for n in found.not_applicable] == [("dcgan", "without batch_norm")]


def test_leave_one_out_of_some_only_and_its_mistakes(tmp_path: Path) -> None:
    some = studies.expand(read(tmp_path, DOZEN + "arms: [generator_ema]\n"))
    assert {r.arm for r in some.recipes} == {"base", "without generator_ema"}
    with pytest.raises(InputError, match=r"s.yaml: .*'generater_ema'.*generator_ema"):
        studies.expand(read(tmp_path, DOZEN + "arms: [generater_ema]\n"))
    with pytest.raises(InputError, match=r"leave_one_out needs tricks in the base"):
        studies.expand(read(tmp_path, "design: leave_one_out\n"))


def test_a_base_that_means_nothing_on_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"wgan_gp/base: label_smoothing would change nothing.*under models:"):
        studies.expand(read(tmp_path, "base: {tricks: [label_smoothing]}\narms: [r1]\n"))


def test_arms_stay_in_the_catalogues_scope_unless_asked(tmp_path: Path) -> None:
    text = "models: [dcgan, nsgan]\narms: [kernel_5]\nseeds: 1\n"
    found = studies.expand(read(tmp_path, text))
    assert [r.model for r in found.recipes if r.arm == "kernel_5"] == ["dcgan"]
    assert "the catalogue tests kernel_5 on dcgan only" in found.not_applicable[0].reason
    wide = studies.expand(read(tmp_path, text + "beyond_catalogue: true\n"))
    assert [r.model for r in wide.recipes if r.arm == "kernel_5"] == ["dcgan", "nsgan"]
    with pytest.raises(InputError, match="beyond_catalogue='maybe'"):
        read(tmp_path, text + "beyond_catalogue: maybe\n")
