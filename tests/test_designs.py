"""Designs: matrices are what the textbooks promise, and studies expand to exactly the cells of their design."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from scipy.linalg import hadamard as sylvester

from gan_ablate.errors import InputError
from gan_ablate.recipe import Recipe
from gan_ablate.store.store import Store
from gan_ablate.study import planning
from gan_ablate.study import study as studies
from gan_ablate.study.two_level import (
    MINIMUM_ABERRATION,
    Fraction,
    alias_chains,
    fraction,
    hadamard,
    overlap,
    plackett_burman,
)
from gan_ablate.sweep import display

SWEEPS = Path(__file__).parent.parent / "sweeps"
FRACTIONS = [(k, 4) for k in range(2, 33)] + [(k, 5) for k in range(2, 19)]
BURMAN = [(n, fold) for n in range(4, 49, 4) for fold in (False, True)]


def words(found: Fraction) -> list[frozenset[int]]:
    """The defining relation without I, each word as the set of its factors: all products of the generators' words."""
    basic = [i for i, word in enumerate(found.words) if len(word) == 1]
    relation = [frozenset()]
    for i, word in enumerate(found.words):
        if len(word) > 1:
            own = frozenset([i, *(basic[b] for b in word)])
            relation += [w ^ own for w in relation]
    return relation[1:]


def orthogonal(matrix: np.ndarray) -> bool:
    """Each column as often high as low, each pair with its four combinations equally often; two levels."""
    runs, k = matrix.shape
    return bool(
        (np.abs(matrix) == 1).all()
        and (matrix.sum(axis=0) == 0).all()
        and (matrix.T @ matrix == runs * np.eye(k)).all()
    )


@pytest.mark.parametrize(("k", "resolution"), FRACTIONS)
def test_fractions_are_orthogonal_hold_the_control_and_have_distinct_cells(k: int, resolution: int) -> None:
    found = fraction(k, resolution)
    matrix = found.matrix()
    assert matrix.shape == (found.runs, k)
    assert orthogonal(matrix)
    assert (matrix[0] == -1).all()
    assert len(np.unique(matrix, axis=0)) == found.runs
    # strength = resolution - 1 (Rao): any three (four) columns hold all their combinations equally often
    strength = min(resolution - 1, k)
    for columns in itertools.islice(itertools.combinations(range(k), strength), 2000):
        counts = Counter(map(tuple, matrix[:, columns].tolist()))
        assert set(counts.values()) == {found.runs >> strength}
        assert len(counts) == 1 << strength


@pytest.mark.parametrize(("k", "resolution"), [pair for pair in FRACTIONS if pair[0] <= 17])
def test_no_word_of_the_defining_relation_is_shorter_than_claimed(k: int, resolution: int) -> None:
    found = fraction(k, resolution)
    relation = words(found)
    assert len(relation) == (1 << k) // found.runs - 1
    assert found.resolution == (min(map(len, relation)) if relation else None)
    assert found.resolution is None or found.resolution >= resolution


def pattern(k: int, columns: list[int]) -> tuple[int, ...]:
    """Words of each length from 1 to k in the defining relation of k columns given as sets of bits."""
    relation = [(0, 0)]
    for column in columns:
        relation += [(w ^ column, n + 1) for w, n in relation]
    counts = Counter(n + w.bit_count() for w, n in relation[1:])
    return tuple(counts.get(length, 0) for length in range(1, k + 1))


@pytest.mark.parametrize(
    ("k", "m"), [(k, m) for k, m in MINIMUM_ABERRATION if math.comb((1 << m) - m - 1, k - m) < 30_000]
)
def test_the_tables_have_minimum_aberration(k: int, m: int) -> None:
    """Against all choices of generators: none has fewer short words (Fries & Hunter 1980)."""
    table = [sum(1 << (int(d) - 1) for d in w) for w in MINIMUM_ABERRATION[k, m].split()]
    products = [c for c in range(1, 1 << m) if c.bit_count() > 1]
    best = min(pattern(k, list(chosen)) for chosen in itertools.combinations(products, k - m))
    assert pattern(k, table) == best


def test_word_length_patterns_are_those_of_chen_sun_and_wu() -> None:
    """Words of four letters, of five (Chen, Sun & Wu 1993, tables of 32 and 64 runs)."""
    published = {(7, 5): (1, 2), (8, 5): (3, 4), (9, 5): (6, 8), (10, 5): (10, 16), (11, 5): (25, 0), (12, 5): (38, 0)}
    published |= {(13, 5): (55, 0), (14, 5): (77, 0), (15, 5): (105, 0), (16, 5): (140, 0)}
    published |= {(8, 6): (0, 2), (9, 6): (1, 4), (10, 6): (2, 8), (11, 6): (4, 14)}
    for (k, m), short in published.items():
        table = [sum(1 << (int(d) - 1) for d in w) for w in MINIMUM_ABERRATION[k, m].split()]
        assert pattern(k, table)[:3] == (0, 0, 0)
        assert pattern(k, table)[3:5] == short


def test_sizes_are_the_smallest_known() -> None:
    """Factors that fit: resolution IV half the runs, resolution V 5, 6, 8, 11, 17 in 16, 32, 64, 128, 256 runs."""
    assert [max(k for k, r in FRACTIONS if r == 4 and fraction(k, 4).runs <= n) for n in (8, 16, 32, 64)] == [
        4,
        8,
        16,
        32,
    ]
    largest = [max(k for k, r in FRACTIONS if r == 5 and fraction(k, 5).runs <= n) for n in (16, 32, 64, 128, 256)]
    assert largest == [5, 6, 8, 11, 17]


@pytest.mark.parametrize(
    ("k", "resolution"), [(4, 4), (5, 4), (6, 4), (8, 4), (10, 4), (12, 4), (5, 5), (7, 5), (8, 5)]
)
def test_the_alias_table_is_the_one_of_the_defining_relation(k: int, resolution: int) -> None:
    found = fraction(k, resolution)
    names = [chr(ord("a") + i) for i in range(k)]
    table = {
        frozenset(term.removeprefix("-").split(" * ")): (n, term.startswith("-"))
        for n, chain in enumerate(alias_chains(found.matrix(), names))
        for term in chain
    }
    effects = [frozenset(c) for n in (1, 2) for c in itertools.combinations(names, n)]
    assert set(table) == set(effects)
    relation = {frozenset(names[i] for i in word) for word in words(found)}
    for a, b in itertools.combinations(effects, 2):
        assert (table[a][0] == table[b][0]) == (a ^ b in relation)


def test_signs_of_aliases_are_those_of_the_columns() -> None:
    """I = -ABCD turned round: with an odd word the row of all lows needs the minus."""
    matrix = np.array([[-1, -1, -1], [1, -1, 1], [-1, 1, 1], [1, 1, -1]])  # c = -a * b
    assert alias_chains(matrix, ["a", "b", "c"]) == [["a", "-b * c"], ["b", "-a * c"], ["c", "-a * b"]]
    for chain in alias_chains(plackett_burman(7), list("abcdefg")):
        columns = []
        for term in chain:
            columns.append(np.prod([plackett_burman(7)[:, ord(t) - 97] for t in term.strip("-").split(" * ")], axis=0))
        for term, column in zip(chain, columns):
            assert (column * (-1) ** term.startswith("-") == columns[0]).all()


@pytest.mark.parametrize("n", range(4, 49, 4))
def test_hadamard(n: int) -> None:
    square = hadamard(n)
    assert (np.abs(square) == 1).all()
    assert (square @ square.T == n * np.eye(n)).all()
    # the determinant bound that only Hadamard matrices reach; scipy has the powers of two
    assert np.linalg.slogdet(square)[1] == pytest.approx(n / 2 * math.log(n))
    if n & (n - 1) == 0:
        assert np.linalg.slogdet(square)[1] == pytest.approx(np.linalg.slogdet(sylvester(n))[1])


@pytest.mark.parametrize(("n", "fold"), BURMAN)
def test_plackett_burman(n: int, fold: bool) -> None:
    matrix = plackett_burman(n - 1, fold_over=fold)
    assert matrix.shape == (n * (1 + fold), n - 1)
    assert orthogonal(matrix)
    assert (matrix[0] == -1).all()
    mains, _ = overlap(matrix)
    assert (mains == 0) == fold  # folded over, main effects are free of two-way interactions


def test_plackett_burman_of_12_runs_is_the_published_one() -> None:
    """Cyclic shifts of ++-+++---+- and a row of minuses: up to order and signs, the only one (Plackett & Burman 1946).

    Each main effect shares a third of its column with every interaction of two others.
    """
    first = [1 if c == "+" else -1 for c in "++-+++---+-"]
    published = np.array([np.roll(first, i) for i in range(11)] + [[-1] * 11])
    for matrix in (published, plackett_burman(11)):
        for i in range(11):
            shares = {
                abs(int(matrix[:, i] @ (matrix[:, a] * matrix[:, b])))
                for a, b in itertools.combinations(set(range(11)) - {i}, 2)
            }
            assert shares == {4}
    assert overlap(plackett_burman(11))[0] == pytest.approx(1 / 3)


def test_the_smallest_plackett_burman_repeats_no_cell() -> None:
    for k in range(2, 48):
        matrix = plackett_burman(k)
        assert len(matrix) == 4 * (k // 4 + 1)
        assert len(np.unique(matrix, axis=0)) == len(matrix)
    with pytest.raises(InputError, match="would repeat cells"):
        plackett_burman(3, runs=24)


def study(text: str) -> studies.Study:
    import yaml

    return studies.from_dict(yaml.safe_load(text), "s.yaml")


def expand(text: str) -> studies.Expansion:
    return studies.expand(study(text))


TWO = "factors: [label_smoothing, instance_noise]\nmodels: [dcgan]\nseeds: 1\n"


def test_a_factorial_holds_each_combination_once_under_a_readable_label() -> None:
    out = expand(
        "design: factorial\nfactors: [{lr: [0.0002, 0.001]}, label_smoothing, instance_noise]\nmodels: [dcgan]\nseeds: 2\n"
    )
    assert len(out.recipes) == 2 * 8
    assert out.recipes[0].arm == "base"
    assert {"label_smoothing+instance_noise", "lr=0.001+label_smoothing"} <= set(out.factors)
    for recipe in out.recipes:
        levels = out.factors[recipe.arm]
        assert levels["lr"] == recipe.lr
        assert [n for n in ("label_smoothing", "instance_noise") if levels[n]] == [t.name for t in recipe.tricks]
    assert len({tuple(v.values()) for v in out.factors.values()}) == 8
    assert out.design["factors"] == {
        "lr": [0.0002, 0.001],
        "label_smoothing": [False, True],
        "instance_noise": [False, True],
    }


def test_mixed_levels_named_levels_and_parameters() -> None:
    text = """
    design: grid
    models: [dcgan]
    seeds: 1
    factors:
      - batch_size: [32, 8, 128]
      - norm: [{arm: batch}, layer_norm, {arm: wide, tricks: [group_norm], width: 32}]
      - "lecam:weight": [0.1, 1]
    """
    out = expand(text)
    assert len(out.recipes) == 18
    by = {r.arm: r for r in out.recipes}
    assert by["base"].batch_size == 32
    assert by["base"].tricks[0].params["weight"] == 0.1
    wide = by["batch_size=8+norm=wide+lecam:weight=1"]
    assert (wide.batch_size, wide.width, [t.name for t in wide.tricks]) == (8, 32, ["group_norm", "lecam"])
    assert out.factors[wide.arm] == {"batch_size": 8, "norm": "wide", "lecam:weight": 1}
    assert out.design["factors"]["norm"] == ["batch", "layer_norm", "wide"]


def test_levels_of_the_store_rebuild_the_matrix(tmp_path: Path) -> None:
    """Main effects and interactions can be had from `study.yaml` alone: no label is parsed."""
    asked = studies.load_study(SWEEPS / "screening.yaml")
    made = studies.expand(asked)
    Store.create(
        tmp_path,
        name=asked.name,
        source=asked.source,
        recipes=made.recipes,
        not_applicable=made.not_applicable,
        design=made.design,
        factors=made.factors,
    )
    out = Store.open(tmp_path)
    assert (out.study.design, out.study.factors) == (made.design, made.factors)
    names = list(out.study.design["factors"])
    arms = [c.arm for c in out.cells if c.model == "dcgan" and c.seed == 0]
    matrix = np.array([[1 if out.study.factors[a][n] else -1 for n in names] for a in arms])
    assert orthogonal(matrix)
    assert (matrix == fraction(12, 4).matrix()).all()
    assert out.study.design["aliases"] == alias_chains(matrix, names)
    assert out.study.design["models"]["nsgan"]["resolution"] == 4


def test_a_factor_that_means_nothing_on_a_model_leaves_its_design_and_that_stays_orthogonal() -> None:
    tricks = "label_smoothing, instance_noise, minibatch_stddev, lecam, gradient_clipping"
    out = expand(f"design: fractional\nfactors: [{tricks}]\nmodels: [dcgan, wgan_gp]\nseeds: 1\n")
    assert [(n.model, n.arm) for n in out.not_applicable] == [("wgan_gp", "label_smoothing")]
    assert "no factor of this model's design: label_smoothing would change nothing" in out.not_applicable[0].reason
    for model, k, runs in (("dcgan", 5, 16), ("wgan_gp", 4, 8)):
        arms = [r.arm for r in out.recipes if r.model == model]
        names = out.design["models"][model]["factors"]
        assert (len(arms), len(names)) == (runs, k)
        assert orthogonal(np.array([[1 if out.factors[a][n] else -1 for n in names] for a in arms]))
    assert not any(out.factors[r.arm]["label_smoothing"] for r in out.recipes if r.model == "wgan_gp")
    assert out.design["models"]["dcgan"]["generators"] == [
        "gradient_clipping = -label_smoothing * instance_noise * minibatch_stddev * lecam"
    ]


def test_levels_that_are_so_already_are_the_models_own_and_combinations_without_meaning_are_listed() -> None:
    text = """
    design: factorial
    models: [dcgan, nsgan]
    beyond_catalogue: true
    seeds: 1
    factors:
      - norm: [{arm: none, tricks: no_batch_norm}, {arm: batch, tricks: batch_norm}, layer_norm]
      - joint_batches
    """
    out = expand(text)
    by = {(r.model, r.arm): r for r in out.recipes}
    assert by["nsgan", "base"].tricks == ()  # nsgan has no norm to take away
    assert by["dcgan", "norm=batch"].tricks == ()
    assert [t.name for t in by["nsgan", "norm=batch"].tricks] == ["batch_norm"]
    assert {("dcgan", "joint_batches"), ("dcgan", "norm=layer_norm+joint_batches")} <= {
        (n.model, n.arm) for n in out.not_applicable
    }
    assert all("batch norm in D" in n.reason for n in out.not_applicable if n.model == "dcgan")


def test_a_level_that_equals_another_on_a_model_leaves_its_design() -> None:
    text = "design: factorial\nmodels: [dcgan]\nseeds: 1\nbeyond_catalogue: true\n"
    out = expand(text + "factors: [{norm: [base, batch_norm, layer_norm]}, instance_noise]\n")
    assert {r.arm for r in out.recipes} == {
        "base",
        "instance_noise",
        "norm=layer_norm",
        "norm=layer_norm+instance_noise",
    }
    assert [(n.arm, "the same here as norm=base" in n.reason) for n in out.not_applicable] == [
        ("norm=batch_norm", True)
    ]


def ids(out: studies.Expansion) -> set[str]:
    return {r.run_id for r in out.recipes}


def test_enlarging_keeps_all_that_is_done() -> None:
    small = "design: factorial\nmodels: [dcgan]\nfactors: [label_smoothing, instance_noise]\nseeds: 2\n"
    one = ids(expand(small.replace("factorial", "one_at_a_time").replace("factors", "arms")))
    base = ids(expand(small))
    assert one < base
    larger = small.replace("instance_noise]", "instance_noise, lecam]").replace("seeds: 2", "seeds: 3")
    assert base < ids(expand(larger))
    assert base < ids(expand(small.replace("instance_noise]", "instance_noise, {batch_size: [128, 64]}]")))
    assert base < ids(expand(small.replace("[dcgan]", "[nsgan, dcgan]")))
    points = "design: {name: random, points: 6, seed: 3}\nmodels: [dcgan]\nfactors: [{lr: {low: 0.0001, high: 0.01, log: true}}]\nseeds: 1\n"
    assert ids(expand(points)) < ids(expand(points.replace("6", "9")))


RANDOM = """
design: {name: random, points: 400, seed: 5}
models: [dcgan, nsgan, wgan_gp]
beyond_catalogue: true
seeds: 1
factors:
  - lr: {low: 0.0001, high: 0.01, log: true}
  - beta1: {low: 0, high: 0.9}
  - width: {low: 8, high: 32, log: true}
  - batch_size: {low: 16, high: 31}
  - norm: {choices: [base, layer_norm, instance_norm]}
  - instance_noise
"""


def test_random_points_follow_their_ranges_and_are_the_same_for_each_model() -> None:
    out = expand(RANDOM)
    values = {n: [out.factors[f"point-{i + 1}"][n] for i in range(400)] for n in out.design["factors"]}
    lr, beta1 = np.array(values["lr"]), np.array(values["beta1"])
    assert stats.kstest(np.log(lr), stats.uniform(math.log(1e-4), math.log(100)).cdf).pvalue > 0.01
    assert stats.kstest(lr, stats.uniform(1e-4, 1e-2).cdf).pvalue < 1e-6  # so the test above could fail
    assert stats.kstest(beta1, stats.uniform(0, 0.9).cdf).pvalue > 0.01
    assert min(lr) >= 1e-4
    assert max(lr) <= 1e-2
    widths = Counter(values["width"])
    assert set(widths) <= set(range(8, 33))
    expected = np.diff(np.log(np.arange(8, 34))) / math.log(33 / 8) * 400
    assert stats.chisquare([widths[w] for w in range(8, 33)], expected).pvalue > 0.01
    assert stats.chisquare([Counter(values["batch_size"])[b] for b in range(16, 32)]).pvalue > 0.01
    assert stats.chisquare(list(Counter(values["norm"]).values())).pvalue > 0.01
    assert 150 < sum(values["instance_noise"]) < 250
    assert abs(stats.spearmanr(lr, beta1).statistic) < 0.15  # factors are drawn apart from each other
    assert {len([r for r in out.recipes if r.model == m]) for m in ("dcgan", "nsgan", "wgan_gp")} == {400}
    for recipe in out.recipes:
        levels = out.factors[recipe.arm]
        assert (recipe.lr, recipe.beta1, recipe.width, recipe.batch_size) == tuple(
            levels[n] for n in ("lr", "beta1", "width", "batch_size")
        )


def test_random_is_seeded_and_factors_do_not_move_each_other() -> None:
    small = RANDOM.replace("400", "20").replace("[dcgan, nsgan, wgan_gp]", "[dcgan]")
    out = expand(small)
    assert out == expand(small)
    assert expand(small.replace("seed: 5", "seed: 6")).factors != out.factors
    fewer = expand("\n".join(line for line in small.splitlines() if "beta1" not in line))
    for arm, levels in fewer.factors.items():
        assert levels == {k: v for k, v in out.factors[arm].items() if k != "beta1"}


def test_a_random_point_that_means_nothing_on_a_model_is_listed_there() -> None:
    text = "design: {name: random, points: 8}\nmodels: [dcgan, wgan_gp]\nseeds: 1\nfactors: [label_smoothing, {lr: {low: 0.0001, high: 0.01}}]\n"
    out = expand(text)
    smooth = {arm for arm, levels in out.factors.items() if levels["label_smoothing"]}
    assert {n.arm for n in out.not_applicable} == smooth
    assert 0 < len(smooth) < 8
    assert {n.model for n in out.not_applicable} == {"wgan_gp"}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("design: factorail\n" + TWO, "unknown design 'factorail': did you mean 'factorial'"),
        ("design: [factorial]\n" + TWO, "unknown design"),
        ("design: {name: fractional, resolutoin: 4}\n" + TWO, "did you mean 'resolution'"),
        ("design: {name: fractional, resolution: 3}\n" + TWO, "resolution=3: choose 4 or 5"),
        ("design: {name: fractional, resolution: true}\n" + TWO, "resolution=True: choose 4 or 5"),
        ("design: {name: fractional, runs: 12}\n" + TWO, "runs=12: needs a power of two from 4 to 4, all"),
        ("design: {name: fractional, resolution: 5, runs: 8}\nfactors: [lecam, r1, instance_noise, minibatch_stddev]\nmodels: [dcgan]", "resolution 5 cannot be had for 4 factors in 8 runs; 16 runs do"),
        ("design: {name: fractional, runs: 8}\n" + TWO, "runs=8: needs a power of two from 4 to 4, all"),
        ("design: {name: factorial, runs: 8}\n" + TWO, "takes no options"),
        ("design: {name: plackett_burman, runs: 10}\n" + TWO, "runs=10: plackett_burman has a multiple of 4"),
        ("design: {name: plackett_burman, runs: 48}\n" + TWO, "would repeat cells"),
        ("design: {name: plackett_burman, fold_over: yes please}\n" + TWO, "needs true or false"),
        ("design: random\n" + TWO, "points=0: needs a whole number from 1"),
        ("design: {name: random, points: 0}\n" + TWO, "points=0"),
        ("design: {name: random, points: 1.5}\n" + TWO, "points=1.5"),
        ("design: {name: random, points: 4, seed: -1}\n" + TWO, "seed=-1"),
        ("design: {name: random, points: 4, point: 3}\n" + TWO, "did you mean 'points'"),
        ("design: factorial\n", "factorial needs factors"),
        ("design: factorial\nfactors: []\n", "factorial needs factors"),
        ("design: factorial\nfactors: r1\n", "factors: expected a list"),
        ("design: factorial\nfactors: [r1]\n", "needs at least two factors"),
        ("design: factorial\nfactors: [r1, r1]\n", "'r1' is given twice"),
        ("design: factorial\nfactors: [r1, lable_smoothing]\n", "did you mean 'label_smoothing'"),
        ("design: factorial\nfactors: [r1, lr]\n", "lr is a recipe field: give it levels or a range"),
        ("design: factorial\nfactors: [r1, {lr: [0.1]}]\n", "has 1 level: a factor needs at least two"),
        ("design: factorial\nfactors: [r1, {lr: []}]\n", "has 0 levels"),
        ("design: factorial\nfactors: [r1, {lr: [0.1, 0.1]}]\n", "level 'lr=0.1' is given twice"),
        ("design: factorial\nfactors: [r1, {lr: [0.1, -1]}]\n", "lr=-1: needs a number over 0"),
        ("design: factorial\nfactors: [r1, {lr: [0.1, [1]]}]\n", "needs a number, a word"),
        ("design: factorial\nfactors: [r1, {lr: 0.1}]\n", "expected a list of levels"),
        ("design: factorial\nfactors: [r1, {lrr: [0.1, 0.2]}]\n", "lrr: 0.1: write trick"),
        ("design: factorial\nfactors: [r1, {dataset: [shapes, mnist]}]\n", "use? ?.*'datasets'|under the study's key 'datasets'"),
        ("design: factorial\nfactors: [r1, {seed: [1, 2]}]\n", "use the study's key 'seeds'"),
        ("design: factorial\nfactors: [r1, {evaluation: [1, 2]}]\n", "cannot be compared"),
        ("design: factorial\nfactors: [r1, {lr: {low: 0.1, high: 1}}]\n", "lr has a range: that is for random"),
        ("design: factorial\nfactors: [{lr: [0.1, 0.2]}, {n: [base, {arm: a, lr: 0.3}]}]\n", "'lr' and 'n' both set lr"),
        ("design: fractional\nfactors: [r1, {lr: [0.1, 0.2, 0.3]}]\n", "two levels of each factor, and lr has 3"),
        ("design: factorial\narms: [r1]\n" + TWO, "makes its arms from factors"),
        ("arms: [r1]\n" + TWO, "takes arms, not factors"),
        ("design: {name: random, points: 4}\nfactors: [{lr: {high: 1}}]\n", "low=None: a range needs two numbers"),
        ("design: {name: random, points: 4}\nfactors: [{lr: {low: 1, hihg: 1}}]\n", "did you mean 'high'"),
        ("design: {name: random, points: 4}\nfactors: [{lr: {low: 2, high: 1}}]\n", "low=2 is not under high=1"),
        ("design: {name: random, points: 4}\nfactors: [{lr: {low: 1, high: 1}}]\n", "low=1 is not under high=1"),
        ("design: {name: random, points: 4}\nfactors: [{beta1: {low: 0, high: 0.9, log: true}}]\n", "needs a low over 0"),
        ("design: {name: random, points: 4}\nfactors: [{lr: {low: 0.1, high: 1, log: 2}}]\n", "log=2: needs true or false"),
        ("design: {name: random, points: 4}\nfactors: [{lr: {choices: [1, 2], low: 1}}]\n", "choices stand alone"),
        ("design: {name: random, points: 4}\nfactors: [lr]\n", "give it levels or a range"),
        ("design: factorial\nmodels: [dcgan]\nfactors: [layer_norm, group_norm]\n", "'layer_norm' and 'group_norm' cannot be combined: .*both set d_norm"),
        ("design: plackett_burman\nmodels: [dcgan]\nfactors: [diff_augment, r1, ada]\n", "'diff_augment' and 'ada' cannot be combined"),
        ("design: {name: random, points: 2}\nmodels: [dcgan]\nfactors: [{n: [base, layer_norm]}, group_norm]\n", "cannot be combined"),
        ("design: fractional\nmodels: [dcgan]\nfactors: [no_batch_norm, joint_batches]\n", "cannot be combined: joint_batches needs batch norm in D"),
        ("design: factorial\nmodels: [wgan_gp]\nfactors: [label_smoothing, label_flipping]\n", "wgan_gp: no factor can be varied here"),
        ("design: factorial\nmodels: [wgan_gp]\nfactors: [label_smoothing, r1, lecam]\n", "'label_smoothing' can be varied on none of the models"),
        (f"design: factorial\nmodels: [dcgan]\nfactors: [{{lr: {[i / 100 + 0.01 for i in range(70)]}}}, {{width: {list(range(8, 78))}}}]\n", "4,900 cells, at most 4,096"),
    ],
)  # fmt: skip
def test_wrong_designs_are_one_line(text: str, line: str) -> None:
    with pytest.raises(InputError, match=line) as caught:
        expand(text)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("s.yaml")


def test_the_arms_option_is_refused_where_factors_make_the_arms() -> None:
    with pytest.raises(InputError, match="choose by --only"):
        studies.override(study("design: factorial\n" + TWO), arms=["label_smoothing"])


DATASETS = """
models: {dcgan: {}, wgan_gp: {lr: 0.001}}
datasets: [shapes, {dataset: mnist, size: 28, channels: 1, steps: 300}, {dataset: ../data/x.zip, size: 32}]
base: {steps: 200}
arms: [instance_noise, label_smoothing]
seeds: 2
"""


def test_every_model_on_every_dataset() -> None:
    out = expand(DATASETS)
    assert len(out.recipes) == 2 * 3 * (3 + 2)
    assert {(r.dataset, r.size, r.channels, r.steps) for r in out.recipes} == {
        ("shapes", 16, 3, 200),
        ("mnist", 28, 1, 300),
        ("../data/x.zip", 32, 3, 200),
    }
    assert {(n.model, n.dataset) for n in out.not_applicable} == {
        ("wgan_gp", d) for d in ("shapes", "mnist", "../data/x.zip")
    }
    assert ids(expand(DATASETS.replace("datasets: [shapes, ", "datasets: ["))) < ids(out)
    for pattern_, runs in (
        ("dcgan", 18),
        ("dcgan@mnist", 6),
        ("*@x.zip/base/0", 2),
        ("dcgan@../data/x.zip/*", 6),
        ("dcgan/base/1", 3),
    ):
        assert len(studies.select_runs(out.recipes, pattern_)) == runs, pattern_


def test_one_dataset_in_the_list_is_the_bases_and_its_run_ids() -> None:
    text = "models: [dcgan]\narms: [instance_noise]\nseeds: 1\n"
    assert ids(expand(text + "datasets: [mnist]\nbase: {size: 28}")) == ids(
        expand(text + "base: {dataset: mnist, size: 28}")
    )
    assert {r.run_id for r in expand(text).recipes if r.arm == "base"} == {Recipe().run_id}


def test_a_smaller_size_wins_over_that_of_the_datasets() -> None:
    out = studies.expand(studies.override(study(DATASETS), size=16, steps=5))
    assert {(r.size, r.steps) for r in out.recipes} == {(16, 5)}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("datasets: []", "datasets: expected a list"),
        ("datasets: 3", "datasets: expected a list"),
        ("datasets: [shapes, shapes]", "'shapes' is given twice"),
        ("datasets: [{size: 28}]", "needs a name"),
        ("datasets: [{dataset: mnist, sise: 28}]", "did you mean 'size'"),
        ("datasets: [shapes, 3]", "datasets: expected recipe fields"),
        ("datasets: [mnist]\nbase: {dataset: shapes}", "dataset stands in the base and under datasets"),
        ("datasets: [{dataset: mnist, steps: 4}]\nmodels: {dcgan: {steps: 5}}", "dcgan: steps is set under models and under datasets"),
        ("datasets: [{dataset: mnist, evaluation: {points: 1}}]\nmodels: {dcgan: {evaluation: {points: 2}}}", "evaluation.points is set under"),
    ],
)  # fmt: skip
def test_wrong_datasets_are_one_line(text: str, line: str) -> None:
    with pytest.raises(InputError, match=line) as caught:
        expand(text)
    assert "\n" not in str(caught.value)


def test_a_factor_design_on_two_datasets_is_made_for_each() -> None:
    """Conditioning needs classes, which a folder of images without sub-folders has not."""
    text = "design: factorial\nmodels: [dcgan]\ndatasets: [shapes, {dataset: x.zip, classes: 0}]\nseeds: 1\n"
    out = expand(text + "factors: [instance_noise, conditional, lecam]\n")
    assert {name: found["factors"] for name, found in out.design["models"].items()} == {
        "dcgan@shapes": ["instance_noise", "conditional", "lecam"],
        "dcgan@x.zip": ["instance_noise", "lecam"],
    }
    assert Counter(r.dataset for r in out.recipes) == {"shapes": 8, "x.zip": 4}


def test_the_plan_shows_datasets_and_what_is_confounded(tmp_path: Path) -> None:
    text = "design: fractional\nmodels: [dcgan, wgan_gp]\ndatasets: [shapes, {dataset: ring, size: 1, channels: 2}]\nseeds: 3\n"
    text += "factors: [instance_noise, gradient_clipping, lecam, r1, label_smoothing, spherical_latents]\n"
    out = expand(text)
    shown = display.matrix(out, tmp_path, workers=2)
    head = shown.splitlines()[0].split()
    assert head[2:] == ["dcgan@shapes", "wgan_gp@shapes", "dcgan@ring", "wgan_gp@ring"]
    assert "dcgan@shapes, dcgan@ring: fractional, 16 of 64 combinations of 6 factors, resolution IV" in shown
    assert "generators: E = ABC, F = ABD" in shown
    assert "AB = CE = DF" in shown
    assert "wgan_gp@ring: fractional, 16 of 32 combinations of 5 factors, resolution V" in shown
    assert "wgan_gp@ring/label_smoothing: no factor of this model's design" in shown
    assert f"{3 * 2 * (16 + 16)} runs, 0 finished" in shown
    assert len(planning.describe_design(expand("design: {name: random, points: 3}\n" + TWO).design)) == 1


@pytest.mark.parametrize(
    ("name", "runs", "cells"),
    [("screening", 192, 64), ("interactions", 128, 64), ("norms", 60, 12), ("robustness", 96, 96)],
)
def test_the_designs_that_ship(name: str, runs: int, cells: int) -> None:
    path = SWEEPS / f"{name}.yaml"
    out = studies.expand(studies.load_study(path))
    assert len(out.recipes) == runs == len(ids(out))
    assert len({(r.model, r.arm) for r in out.recipes}) == cells
    assert f"{runs} runs" in path.read_text()
    assert not out.not_applicable
    recipes = studies.expand(studies.load_study(SWEEPS / "ablation.yaml")).recipes
    ablation, steps = recipes[0], {r.model: r.steps for r in recipes if r.arm == "base"}
    for recipe in out.recipes:
        assert (recipe.size, recipe.dataset, recipe.evaluation) == (
            ablation.size,
            ablation.dataset,
            ablation.evaluation,
        )
        times = 4 if name == "robustness" else 1  # its points had not settled at the steps of ablation.yaml
        assert recipe.steps == times * steps[recipe.model]


def test_the_examples_of_the_documentation_expand() -> None:
    text = (SWEEPS.parent / "docs" / "designs.md").read_text()
    examples = text.split("```yaml\n")[1:]
    assert len(examples) >= 6
    for example in examples:
        block = example.split("```")[0]
        assert expand("models: [dcgan]\n" * ("models:" not in block) + block).recipes, block


def test_robustness_draws_one_design_for_the_three_models() -> None:
    out = studies.expand(studies.load_study(SWEEPS / "robustness.yaml"))
    points: dict[str, set[tuple[object, ...]]] = {}
    for recipe in out.recipes:
        norm = out.factors[recipe.arm]["norm"]
        points.setdefault(recipe.model, set()).add((recipe.arm, recipe.lr, recipe.beta1, recipe.width, norm))
        assert len(recipe.tricks) == (norm != {"dcgan": "batch", "nsgan": "none"}.get(recipe.model, ""))
    assert points["dcgan"] == points["nsgan"] == points["wgan_gp"]


def test_interactions_are_free_of_each_other() -> None:
    out = studies.expand(studies.load_study(SWEEPS / "interactions.yaml"))
    assert all(len(chain) == 1 for chain in out.design["aliases"])
    assert "norm * batch_size" in [chain[0] for chain in out.design["aliases"]]
