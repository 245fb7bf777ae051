"""The registry of claims, and the verdicts of simulated roots whose truth is known."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from gan_ablate.claims import VERDICTS, find_claim, judge, registry
from gan_ablate.claims.catalogue import CLAIMS, check
from gan_ablate.claims.claim import RULES, Claim, Contrast
from gan_ablate.claims.comparisons import seeds_correlate
from gan_ablate.claims.measures import MEASURES
from gan_ablate.claims.planned_tests import HELD, DesignMeasure, means
from gan_ablate.claims.verdict import Evidence, combine
from gan_ablate.cli import main
from gan_ablate.errors import InputError
from gan_ablate.formatting import number
from gan_ablate.recipe import MODEL_OF, SCHEMA, Recipe, TrickSpec, run_id_of
from gan_ablate.results.frames import run_tables
from gan_ablate.results.runs import Run
from gan_ablate.stats.parts import MARGIN, Runs
from gan_ablate.stats.two_part import weigh
from gan_ablate.study.cells import Tie
from gan_ablate.study.study import expand, load_study

HERE = Path(__file__).parent
IDS = """
arch.strided arch.avgpool arch.no_fc arch.conv arch.bn arch.bn_placement arch.bn_collapse arch.relu_g arch.leaky_g
arch.leaky_d arch.tanh arch.init arch.kernel arch.upsampling arch.big_d arch.residual norm.small_batch norm.critic
norm.virtual opt.lr opt.beta1 opt.beta_wgan opt.batch opt.sgd_d opt.slow_d opt.few_d opt.clip opt.weight_norm opt.history
label.one_sided label.two_sided label.soft label.flip label.noise_beats_smoothing loss.ns loss.flip_equals_ns
loss.negative_control loss.wgan_stable loss.wgan_modes loss.wgan_gradient loss.wgan_robust loss.wgan_slow loss.gp_clip
loss.feature_matching loss.f_gan loss.hybrid loss.auxiliary noise.instance noise.decay noise.g_layers noise.dropout_g
noise.dropout_d latent.gaussian latent.slerp batch.separate batch.minibatch_disc batch.replay schedule.more_d
schedule.critic5 schedule.balancing label_use.any label_use.embedding label_use.cbn sample.eval_mode sign.d_zero
sign.grad_100 sign.d_variance sign.g_falling sign.loss_blind sign.half
""".split()
MODERN = """
lazy.r1 penalty.zero_centred penalty.gradient_norm consistency.balanced consistency.latent loss.relativistic_average
loss.boundary loss.repulsive batch.top_k batch.packing label_use.contrast arch.self_supervision arch.infomax arch.unet arch.quantised
opt.extragradient opt.optimistic opt.negative_momentum opt.alternating opt.lookahead opt.consensus opt.unrolled
sample.truncation sample.rejection latent.optimisation arch.attention arch.style arch.growing
""".split()  # claims of the papers alone


class Root:
    """A simulated root: what `results.frames.load` gives, with health records and measured figures on disk."""

    def __init__(self, root, name="planted"):
        self.root, self.name, self.rows, self.records, self.not_applicable = Path(root), name, [], {}, []
        self.files, self.ties, self.source = self.root, {}, None
        self.rng = np.random.default_rng(7)

    @property
    def each(self):
        return [
            Run(
                self.root / "runs" / id_,
                model,
                arm,
                seed,
                outcome,
                fid,
                self.records.get(id_) or {},
                dataset,
                id_,
                protocol=protocol,
            )
            for id_, model, dataset, arm, seed, outcome, protocol, fid in self.rows
        ]

    def add(
        self, model, arm, seed, fid, outcome="ok", dataset="shapes", tricks=None, measured=None, health=None, **more
    ):
        """One run. `more`: recipe fields by `recipe=`, parts of the record by their names."""
        run_id = re.sub(r"\W", "", f"{model}{dataset}{arm}{seed}")
        specs = [TrickSpec.parse(arm)] if tricks is None and arm not in ("base", "failing") else (tricks or [])
        recipe = {
            "model": model,
            "steps": 100,
            "batch_size": 32,
            "tricks": [{"name": t.name, "params": dict(t.params)} for t in specs],
        }
        record = {
            "recipe": recipe | more.pop("recipe", {}),
            "outcome": outcome,
            "g_steps": 100,
            "train_seconds": 10.0,
            "signs": {},
        }
        record["metrics"] = {"fid": fid, "modes": more.pop("modes", None)}
        stability = ("volatility", "largest_d_gradient", "largest_g_gradient", "early_g_gradient")
        record["stability"] = {k: more.pop(k) for k in stability if k in more}
        lost = outcome == "missing"
        self.rows.append(
            [run_id, model, dataset, arm, seed, outcome, "" if lost else "P", math.nan if fid is None else fid]
        )
        if not lost:
            self.records[run_id] = record | more
        folder = self.root / "runs" / run_id
        if measured or health:
            folder.mkdir(parents=True)
        if measured:
            (folder / "measured.json").write_text(json.dumps({"metrics": measured}))
        if health:
            (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in health))
        return self

    def arm(self, model, arm, effect=0.0, seeds=10, noise=0.03, **more):
        """An arm with this true effect on log FID; `more` may hold functions of the seed."""
        for seed in range(seeds):
            given = {k: v(seed) if callable(v) else v for k, v in more.items()}
            fid = given.pop("fid", float(30 * np.exp(effect + 0.02 * seed + self.rng.normal(0, noise))))
            self.add(model, arm, seed, fid, **given)
        return self


def verdicts(*roots):
    found = judge(roots)
    assert [v.id for v in found] == list(registry())
    assert {v.verdict for v in found} <= set(VERDICTS)
    return {v.id: v for v in found}


# -- the registry --------------------------------------------------------------------------------------------------


def test_every_row_of_the_catalogue_is_an_entry():
    assert sorted(registry()) == sorted(IDS + MODERN)
    for claim in registry().values():
        assert claim.source == "P" if claim.id in MODERN else re.match(r"S\d", claim.source)
        assert claim.paper
        assert claim.rule in RULES


def test_statements_and_sources_are_those_of_the_catalogue():
    path = HERE.parents[1] / "shared" / "claims.md"
    if not path.exists():
        pytest.skip("shared/claims.md is not on this machine; the ids are held above")
    rows = [
        [c.strip() for c in line.strip("|\n ").split("|")]
        for line in path.read_text().splitlines()
        if re.match(r"\| [a-z_]+\.", line)
    ]
    assert len(rows) == len(IDS)
    for name, statement, contrast, source in rows:
        claim = registry()[name]
        assert (claim.statement, claim.source) == (statement, source)
        for arm in re.findall(r"`([a-z_]+)", contrast):  # every arm that the row names is in the entry
            named = " ".join(a for c in claim.contrasts for a in (c.treatment, c.control, c.measure, c.label))
            assert arm in named or any(a.startswith(arm) for a in named.split()), (name, arm)


BAD = {
    "twice": (CLAIMS[0], CLAIMS[0]),
    "did you mean 'max_pooling'": (Claim("a.b", "s", "S0", "p", (Contrast("D", "base", "max_poling", "lower"),)),),
    "measure": (Claim("a.b", "s", "S0", "p", (Contrast("D", "base", "max_pooling", "lower", "fidd"),)),),
    "means nothing on wgan_gp": (Claim("a.b", "s", "S0", "p", (Contrast("W", "label_smoothing", "base", "lower"),)),),
    "margin": (Claim("a.b", "s", "S0", "p", (Contrast("D", "max_pooling", "base", "equivalent", margin=0.8),)),),
    "model letter": (Claim("a.b", "s", "S0", "p", (Contrast("X", "base", "max_pooling", "lower"),)),),
    "needs a statement": (Claim("a.b", "", "S0", "p", (Contrast("D", "base", "max_pooling", "lower"),)),),
}  # fmt: skip


@pytest.mark.parametrize("message", BAD)
def test_a_broken_registry_is_refused_by_name(message):
    with pytest.raises(InputError, match=re.escape(message)):
        check(BAD[message])


def test_every_arm_of_a_claim_is_in_a_shipped_sweep():
    """Or is base there, where base's own recipe has the number that the arm would set."""
    cells = {}
    for path in sorted(HERE.parent.glob("sweeps/*.yaml")):
        recipes = expand(load_study(path)).recipes
        cells[f"sweeps/{path.name}"] = {(r.model, r.arm) for r in recipes}
        cells[f"sweeps/{path.name} tricks"] = {(r.model, t.name) for r in recipes for t in r.tricks}
        for trick, (parameter, place) in HELD.items():
            bases = {(r.model, f"{trick}:{parameter}={getattr(r, place)}") for r in recipes if r.arm == "base"}
            cells[f"sweeps/{path.name}"] |= bases
    for claim in registry().values():
        for c in (c for c in claim.contrasts if not c.fallback):
            for letters, arm in ((c.models, c.treatment), (c.against or c.models, c.control)):
                for model in (MODEL_OF[letter] for letter in letters):
                    held = cells[claim.study]
                    if c.measure == "norm_at_small_batch" and arm != "base":
                        assert (model, arm) in cells[f"{claim.study} tricks"], (claim.id, arm)
                    elif isinstance(MEASURES[c.measure], DesignMeasure):
                        assert (model, "point-1") in held
                    elif arm == "*":
                        assert any(m == model for m, _ in held), (claim.id, model)
                    else:
                        assert any(m == model and (a == arm or means(a, arm)) for m, a in held), (claim.id, model, arm)


def test_arms_are_known_by_trick_and_parameters_and_no_module_of_a_root_is_imported(tmp_path, monkeypatch):
    assert means("wgan_clip:lr=0.0005", "wgan_clip")
    assert means("n_critic:n=2", "n_critic:n=2,equal=steps")
    assert not means("n_critic:n=5,equal=compute", "n_critic:n=5,equal=steps")
    assert not means("norm=layer+batch_size=8", "layer_norm")
    (tmp_path / "evilmodule.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    for hostile in ("evilmodule.Trick", "wgan_clip:c", "<script>", "", "x:y=z,", "adam_lr:lr=NaN", "adam_lr:no=1"):
        assert not means(hostile, "wgan_clip")


# -- planted truths ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    root = Root(tmp_path_factory.mktemp("planted"))
    root.arm("dcgan", "base", modes=60, volatility=lambda s: 0.1 + 0.003 * s, early_g_gradient=lambda s: 5.0 + s / 10)
    for arm, effect in {
        "max_pooling": 0.8, "adam_lr:lr=0.001": -0.7, "adam_lr:lr=0.0002": 0.0, "leaky_relu_generator": 0.5, "sgd_discriminator": 0.9,
        "average_pooling": 0.0, "label_smoothing": 0.0, "n_critic:n=2": 0.6, "n_critic:n=5,equal=compute": -0.5,
        "batch_size:size=16": 0.4, "batch_size:size=128": 0.0, "batch_size:size=64": 0.0, "batch_size:size=512": 1.0,
        "wide_discriminator": -0.6, "fully_connected": 1.0,
    }.items():  # fmt: skip
        root.arm("dcgan", arm, effect)
    root.arm("dcgan", "uniform_latents", 0.05, noise=0.4)
    root.arm("dcgan", "saturating", 0.5, early_g_gradient=lambda s: 0.5 + s / 50)
    root.arm("dcgan", "no_batch_norm", 1.2, modes=lambda s: 4 + s % 3, outcome="collapsed")
    root.arm("dcgan", "batch_norm_everywhere", 0.3, volatility=lambda s: 1.0 + 0.02 * s)
    root.arm("dcgan", "residual", -0.1, volatility=lambda s: 0.1 + 0.003 * ((s + 5) % 10))
    root.arm("dcgan", "relu_discriminator", fid=None, outcome="diverged")
    root.arm("dcgan", "joint_batches", -0.9, outcome=lambda s: "collapsed" if s < 6 else "ok")
    root.arm("dcgan", "inverted_generator_loss", 1.5, outcome="collapsed")
    for seed in range(10):
        fid = next(r[-1] for r in root.rows if r[1:5] == ["dcgan", "shapes", "base", seed])
        root.add("dcgan", "flipped_generator_labels", seed, fid)
    # base of nsgan fails always; wgan_gp never, is less volatile, covers more, and takes longer
    common = {
        "train_seconds": lambda s: 20 + s / 10,
        "curve": lambda s: [{"step": 50, "fid": 60.0}, {"step": 100, "fid": 31.0}],
    }
    root.arm(
        "nsgan",
        "base",
        1.0,
        noise=0.5,
        outcome="collapsed",
        modes=lambda s: 10 + s % 2,
        volatility=lambda s: 0.8 + s / 50,
        **common,
    )
    root.arm("nsgan", "wide_discriminator", 1.9, noise=0.02)
    root.arm("nsgan", "gradient_clipping", 0.0)
    root.arm("nsgan", "weight_norm", 0.0, largest_d_gradient=lambda s: 2.0 + s / 10, largest_g_gradient=1.0)
    root.arm(
        "wgan_gp",
        "base",
        0.2,
        noise=0.02,
        modes=lambda s: 50 + s % 2,
        volatility=lambda s: 0.1 + s / 500,
        **common | {"train_seconds": lambda s: 90 + s / 10},
    )
    root.arm("wgan_gp", "wgan_clip:lr=0.0005", 1.0)
    return root, verdicts(root)


EXPECTED = {
    "arch.strided": "supported", "opt.lr": "contradicted", "arch.relu_g": "supported", "arch.leaky_g": "contradicted",
    "arch.avgpool": "supported", "opt.sgd_d": "contradicted", "label.one_sided": "no difference",
    "latent.gaussian": "inconclusive", "arch.bn_collapse": "supported", "arch.bn": "supported",
    "arch.bn_placement": "supported", "arch.leaky_d": "supported", "arch.no_fc": "supported",
    "batch.separate": "supported",  # joint batches score lower, but most of them failed
    "loss.negative_control": "supported", "loss.flip_equals_ns": "supported", "loss.ns": "supported",
    "schedule.more_d": "supported", "arch.big_d": "supported", "opt.clip": "supported",
    "loss.wgan_stable": "supported", "loss.wgan_modes": "supported", "loss.wgan_slow": "supported",
    "loss.gp_clip": "supported", "opt.batch": "supported",
    "opt.weight_norm": "not tested",  # base has no gradient on record
    "arch.residual": "inconclusive", "label.soft": "not tested", "norm.small_batch": "not tested", "sign.half": "not tested",
    "loss.wgan_gradient": "not tested", "loss.wgan_robust": "not tested", "arch.kernel": "not tested",
}  # fmt: skip


@pytest.mark.parametrize("name", EXPECTED)
def test_planted_truths_get_their_verdicts(planted, name):
    verdict = planted[1][name]
    assert verdict.verdict == EXPECTED[name], verdict.summary
    assert verdict.summary.count("\n") == 0
    assert verdict.summary.endswith(".")


def test_numbers_of_the_evidence_are_those_of_the_statistics(planted):
    root, found = planted
    arms = {}
    for _, model, _, arm, _, outcome, _, fid in root.rows:
        if model == "dcgan":
            arms.setdefault(arm, []).append(math.log(fid) if outcome == "ok" else None)
    arms = {arm: Runs.of(values) for arm, values in arms.items()}
    (e,) = found["arch.strided"].evidence
    expected = weigh(arms, arms.pop("base"))["max_pooling"]
    assert e.p == pytest.approx(expected.p)
    assert e.effect == pytest.approx([1 / expected.ratio[k] for k in (0, 2, 1)])
    assert (e.model, e.dataset, e.contrast, e.n) == ("dcgan", "shapes", "base v max_pooling", (10, 10))
    assert e.failures[0].point == 0
    assert e.coverage[0] == 60
    assert e.volatility[0] == pytest.approx(0.1135)


def test_both_corrections_are_over_all_distinct_tests_of_the_registry(planted):
    found = planted[1]
    rows = {(e.p, e.q, e.p_holm) for v in found.values() for e in v.evidence if not math.isnan(e.p)}
    shared = [v.evidence[0] for v in (found["arch.relu_g"], found["arch.leaky_g"])]
    assert shared[0].p == pytest.approx(shared[1].p)
    assert shared[0].effect.point == pytest.approx(1 / shared[1].effect.point)
    tests = next(iter(found.values())).tests
    all_p = [e.p for v in found.values() for e in v.evidence if not math.isnan(e.p)]
    assert tests == len(all_p) - 1  # the two claims about G's activation are one test
    p = list(all_p)
    p.remove(shared[1].p)
    adjusted = dict(zip(p, zip(*(multipletests(p, method=name)[1] for name in ("fdr_bh", "holm")))))
    for raw, *corrected in rows:
        nearest = min(adjusted, key=lambda x: abs(x - raw))
        assert corrected == pytest.approx(adjusted[nearest])
    for v in found.values():
        for e in v.evidence:
            if e.says in ("supports", "contradicts") and not math.isnan(e.p):
                assert e.q < 0.05
                assert e.certain == (e.p_holm < 0.05)


def test_a_failed_arm_is_the_worst_and_stands_beside_the_verdict(planted):
    (e,) = planted[1]["arch.leaky_d"].evidence
    assert e.failures[1].point == 1
    assert "0 of 10 against 10 of 10 runs failed" in planted[1]["arch.leaky_d"].summary
    assert "10 of 10" in planted[1]["loss.negative_control"].summary


def test_of_an_arm_that_fails_more_a_better_figure_says_nothing(planted, tmp_path):
    verdict = planted[1]["batch.separate"]
    (e,) = verdict.evidence
    assert (e.says, e.certain) == ("supports", False)  # by the failures, although base's FID is the higher one
    assert e.effect.low > 2
    assert "0 of 10 against 6 of 10 runs failed" in verdict.summary
    root = Root(tmp_path).arm("dcgan", "base", outcome=lambda s: "collapsed" if s < 6 else "ok")
    (e,) = verdicts(root.arm("dcgan", "max_pooling", 0.8, outcome=lambda s: "ok" if s else "collapsed"))[
        "arch.strided"
    ].evidence
    assert e.q < 0.05  # by FID: base is lower, but it fails in over a fifth of its runs, and more often
    assert (e.says, e.settles) == ("open", "not more seeds: the better side fails more")
    assert "more runs failed" in e.note


def test_inconclusive_names_what_could_have_been_missed(planted):
    verdict = planted[1]["latent.gaussian"]
    (e,) = verdict.evidence
    assert verdict.smallest_missed == e.smallest_missed > 1.2
    assert f"the data still allow a ratio of {number(e.smallest_missed)}" in verdict.summary
    # that many until the two are called the same; a difference would take over 200
    assert verdict.settles == "about 6 more seeds of uniform_latents on dcgan (study planted)"


def test_two_models_that_disagree_are_called_mixed(tmp_path):
    root = Root(tmp_path)
    root.arm("dcgan", "base").arm("dcgan", "soft_labels", -0.5).arm("nsgan", "base").arm("nsgan", "soft_labels", 0.5)
    verdict = verdicts(root)["label.soft"]
    assert verdict.verdict == "mixed"
    assert verdict.summary.startswith("Supported on dcgan, contradicted on nsgan: ")


SAYS = {"+": "supports", "-": "contradicts", "=": "same", "o": "open", ".": "not tested"}


@pytest.mark.parametrize(
    ("rule", "parts", "verdict"),
    [
        ("any", ["+o"], "supported"), ("any", ["-o"], "contradicted"), ("any", ["+-"], "mixed"), ("any", ["+", "-"], "mixed"),
        ("any", ["o."], "inconclusive"), ("any", [".."], "not tested"), ("all", ["+", "+o"], "supported"),
        ("all", ["+", "o"], "inconclusive"), ("all", ["+", "."], "inconclusive"), ("all", ["+", "-o"], "contradicted"),
        ("all", ["+", "+-"], "mixed"), ("all", ["."], "not tested"), ("some", ["+--"], "supported"),
        ("some", ["--"], "contradicted"), ("some", ["-o"], "inconclusive"), ("some", ["."], "not tested"),
        ("any", ["=="], "no difference"), ("any", ["=."], "no difference"), ("any", ["=o"], "inconclusive"),
        ("any", ["=+"], "supported"), ("any", ["-="], "contradicted"), ("all", ["=", "="], "no difference"),
        ("all", ["=", "+"], "mixed"), ("all", ["=", "-"], "contradicted"), ("all", ["=", "o"], "inconclusive"),
        ("some", ["=-"], "no difference"), ("some", ["=+"], "supported"), ("some", ["=o"], "inconclusive"),
    ],
)  # fmt: skip
def test_the_rules_of_combination(rule, parts, verdict):
    claim = Claim("a.b", "s", "S0", "p", (), rule)
    evidence = [
        Evidence("dcgan", "shapes", f"part {k}", "FID", "lower", SAYS[s]) for k, part in enumerate(parts) for s in part
    ]
    assert combine(claim, evidence) == verdict


# -- other kinds of measure ----------------------------------------------------------------------------------------


def test_equivalence_needs_the_interval_inside_the_margin(tmp_path):
    for k, (effect, noise, verdict) in enumerate([(0.0, 0.02, "supported"), (0.5, 0.02, "contradicted"), (math.log(MARGIN), 0.1, "inconclusive"), (0.0, 0.9, "inconclusive"), (-0.6, 0.02, "contradicted")]):  # fmt: skip
        root = (
            Root(tmp_path / str(k))
            .arm("dcgan", "base", noise=noise)
            .arm("dcgan", "average_pooling", effect, noise=noise)
        )
        found = verdicts(root)["arch.avgpool"]
        assert found.verdict == verdict, found.summary
        (e,) = found.evidence
        inside = e.effect.low > 1 / MARGIN and e.effect.high < MARGIN
        assert inside == (found.verdict == "supported")
    root = Root(tmp_path / "sgd").arm("dcgan", "base").arm("dcgan", "sgd_discriminator", -0.6)
    assert verdicts(root)["opt.sgd_d"].verdict == "supported"  # better is not worse
    root.add("dcgan", "sgd_discriminator", 10, None, "diverged").add("dcgan", "base", 10, 30.0)
    assert verdicts(root)["opt.sgd_d"].verdict == "inconclusive"  # no margin bounds the harm of a failed run


def test_figures_of_checkpoints_are_read_where_they_were_measured(tmp_path):
    root = Root(tmp_path)
    root.arm("dcgan", "base", measured=lambda s: {"checkerboard": 0.01 + s * 1e-4, "fid_slerp": 30.0 + s, "fid_lerp": 40.0 + s, "fid_eval_mode": 30.0, "fid_train_mode": 30.0 - s / 100})  # fmt: skip
    root.arm("dcgan", "kernel_3", measured=lambda s: {"checkerboard": 0.05 + s * 1e-4})
    root.arm("dcgan", "kernel_5")
    found = verdicts(root)
    assert found["arch.kernel"].verdict == "supported"
    left = found["arch.kernel"].evidence[1]
    assert (left.says, left.contrast) == ("not tested", "base v kernel_5")
    assert found["latent.slerp"].verdict == "supported"
    slerp = [e for e in found["latent.slerp"].evidence if e.says == "supports"]
    assert [e.contrast for e in slerp] == ["fid slerp v fid lerp of base"]
    assert found["sample.eval_mode"].verdict == "contradicted"
    root.arm("dcgan", "interpolation:path=slerp", 0.0).arm("dcgan", "interpolation:path=lerp", 0.5)
    found = verdicts(root)["latent.slerp"]  # arms of the study come first; the same runs are not asked twice
    assert [e.contrast for e in found.evidence if e.model == "dcgan"] == [
        "interpolation:path=slerp v interpolation:path=lerp"
    ]


def test_seconds_to_a_given_fid_and_per_step(tmp_path):
    root = Root(tmp_path)
    slow = [{"step": 50, "fid": 80.0}, {"step": 100, "fid": 30.0}]
    quick = [{"step": 50, "fid": 30.0}, {"step": 100, "fid": 30.0}]
    root.arm("wgan_gp", "base", fid=30.0, curve=slow, train_seconds=lambda s: 10 + s / 9)
    root.arm("dcgan", "base", fid=30.0, curve=quick, train_seconds=lambda s: 10 + s / 9)
    found = {e.measure: e for e in verdicts(root)["loss.wgan_slow"].evidence if e.model == "wgan_gp v dcgan"}
    assert found["seconds to a given FID"].effect.point == pytest.approx(2)
    assert found["seconds to a given FID"].says == "supports"
    assert found["seconds per G step"].effect.point == pytest.approx(1)
    assert found["seconds per G step"].says == "open"


def test_arms_of_one_training_are_paired_and_vouch_for_no_correlation(tmp_path):
    root = Root(tmp_path)
    for arm in ("base", "lsgan", "hinge", "r1", "minibatch_discrimination", "ttur:factor=0.25"):
        root.arm("nsgan", arm, noise=0.3, modes=50)
    for seed in range(10):  # shares base's FID, seed by seed
        root.add("nsgan", "interpolation:path=lerp", seed, root.rows[seed][-1] * 1.1)
    (plain,) = run_tables([root])
    apart = seeds_correlate(plain, "nsgan", MEASURES["fid"])
    root.ties = {("nsgan", "shapes", "interpolation:path=lerp"): Tie(shares_weights=True)}
    (table,) = run_tables([root])
    assert table.one_training("nsgan", "base", "interpolation:path=lerp")
    assert not table.one_training("nsgan", "base", "r1")
    assert not plain.one_training("nsgan", "base", "interpolation:path=lerp")
    # the pair that is one by construction tells nothing of others
    assert seeds_correlate(table, "nsgan", MEASURES["fid"]) < apart


def test_bit_equal_runs_and_a_control_that_must_fail(tmp_path):
    root = (
        Root(tmp_path)
        .arm("dcgan", "base", fid=30.0)
        .arm("dcgan", "flipped_generator_labels", fid=lambda s: 30.0 if s else 30.0000001)
    )
    root.arm("dcgan", "inverted_generator_loss", 1.0, outcome=lambda s: "collapsed" if s else "ok")
    found = verdicts(root)
    assert found["loss.flip_equals_ns"].verdict == "contradicted"
    assert "9 of 10 seeds" in found["loss.flip_equals_ns"].summary
    assert found["loss.negative_control"].verdict == "contradicted"
    file, _, test = registry()["loss.flip_equals_ns"].proof.partition("::")
    assert f"def {test}(" in (HERE.parent / file).read_text()
    broken = (
        Root(tmp_path)
        .arm("dcgan", "base", outcome="collapsed")
        .arm("dcgan", "inverted_generator_loss", outcome="collapsed")
    )
    assert verdicts(broken)["loss.negative_control"].verdict == "inconclusive"  # where base fails too it says nothing


@pytest.mark.parametrize(("advantage", "verdict"), [(-0.8, "supported"), (0.8, "contradicted"), (0.0, "inconclusive")])
def test_the_interaction_of_norm_and_batch_size(tmp_path, advantage, verdict):
    root = Root(tmp_path)
    for norm in ("", "instance_norm", "layer_norm", "group_norm"):
        for size in (8, 32, 128):
            effect = (0.5 if norm else 0.0) + (1.0 if size == 8 else 0.0) + (advantage if norm and size == 8 else 0.0)
            label = f"norm={norm or 'batch'}+batch_size={size}"
            root.arm(
                "dcgan", label, effect, seeds=5, tricks=[TrickSpec(norm)] if norm else [], recipe={"batch_size": size}
            )
    found = verdicts(root)["norm.small_batch"]
    assert found.verdict == verdict, found.summary
    for e in found.evidence:
        assert e.effect.low < math.exp(advantage) < e.effect.high
        assert "batch 8 against 128" in e.note


def test_spread_over_a_random_design_counts_failed_points(tmp_path):
    root, rng = Root(tmp_path), np.random.default_rng(0)
    for k in range(32):
        label = f"point-{k + 1}"
        root.add("dcgan", label, 0, float(40 * np.exp(rng.normal(0, 0.8))), tricks=[])
        root.add(
            "nsgan",
            label,
            0,
            None if k < 12 else float(40 * np.exp(rng.normal(0, 0.8))),
            "diverged" if k < 12 else "ok",
            tricks=[],
        )
        root.add("wgan_gp", label, 0, float(40 * np.exp(rng.normal(0, 0.1))), tricks=[])
    found = verdicts(root)["loss.wgan_robust"]
    assert found.verdict == "supported"
    against = {e.model: e for e in found.evidence}
    assert against["wgan_gp v dcgan"].effect.point < 0.3
    assert against["wgan_gp v nsgan"].failures[1].point == 12 / 32
    assert "12 runs without a score" in against["wgan_gp v nsgan"].note


def health(seed, *, bad=False, d=lambda k: 1.0, g=lambda k: 1.0, real=0.5):
    rng = np.random.default_rng(seed)
    return [
        {"step": 5 * k, "d_loss": d(k) + rng.normal(0, 0.01), "g_loss": g(k) + rng.normal(0, 0.01),
         "d_gradient": 500.0 + seed if bad else 5.0 + seed, "g_gradient": None if bad and k == 3 else 1.0,
         "d_of_real": real + rng.normal(0, 0.01), "d_of_fake": 0.5 + rng.normal(0, 0.01)}
        for k in range(1, 21)
    ]  # fmt: skip


def test_signs_that_announce_failure_and_one_that_does_not(tmp_path):
    root = Root(tmp_path)
    for k in range(24):
        bad, arm = k % 2 == 1, "base" if k == 0 else f"leaky_slope:slope=0.{k:02d}"
        low = (lambda i: 0.01) if bad else (lambda i: 1.0)
        rows = health(k, bad=bad, d=low, g=(lambda i: 3 - 0.1 * i) if bad else (lambda i: 1.0))
        for seed in range(2):
            root.add("dcgan", arm, seed, 200.0 if bad else 30.0, "collapsed" if bad and seed else "ok", health=rows, signs={"d_loss_near_zero": 20 if bad else None})  # fmt: skip
    found = verdicts(root)
    for name in ("sign.d_zero", "sign.grad_100", "sign.d_variance", "sign.g_falling"):
        assert found[name].verdict == "supported", found[name].summary
        (e,) = [e for e in found[name].evidence if e.says != "not tested"]
        assert e.effect.point > 0.9
        assert e.n == (24, 0)  # arms, not runs
        assert "12 of 24 arms ended bad" in e.note  # also the runs that ended over twice base's FID without failing
    critic = Root(tmp_path / "w")
    for k in range(24):  # without the sign in the record D's answers are no probabilities: nothing is asked of them
        critic.add(
            "dcgan", "base" if k == 0 else f"leaky_slope:slope=0.{k:02d}", 0, 30.0 + 100 * (k % 2), health=health(k)
        )
    found = verdicts(critic)
    assert found["sign.d_zero"].verdict == "not tested"
    assert found["sign.d_variance"].verdict == "inconclusive"


def test_rank_correlation_is_scipys():
    from scipy.stats import spearmanr

    from gan_ablate.stats.ranks import rank_correlation

    rng = np.random.default_rng(0)
    for n in (3, 8, 20):
        x, y = rng.integers(0, 6, n).tolist(), rng.normal(size=n).tolist()
        assert rank_correlation(x, y) == pytest.approx(spearmanr(x, y).statistic)
    assert rank_correlation([1, 1, 1], [1, 2, 3]) is None


def test_losses_that_follow_fid_and_losses_that_do_not(tmp_path):
    root, rng = Root(tmp_path), np.random.default_rng(3)
    steps, curve = range(10, 101, 10), [{"step": s, "fid": 300.0 - s} for s in range(10, 101, 10)]
    assert len(list(steps)) == 10
    for k in range(60):
        arm = "base" if k == 0 else f"ttur:factor={1 + k / 100}"
        blind = [float(v) for v in rng.normal(1, 0.2, 21)]
        other = [float(v) for v in rng.normal(1, 0.2, 21)]
        for model in ("dcgan", "nsgan"):
            root.add(
                model,
                arm,
                0,
                200.0,
                curve=curve,
                health=health(k, d=lambda i, v=blind: v[i], g=lambda i, v=other: v[i]),
            )
        critic = [-10 + i / 2 + float(rng.normal(0, 0.5)) for i in range(21)]
        root.add("wgan_gp", arm, 0, 200.0, curve=curve, health=health(k, d=lambda i, v=critic: v[i]))
    found = verdicts(root)["sign.loss_blind"]
    by = {(e.model, e.measure): e for e in found.evidence}
    critic = by["wgan_gp", "rank correlation of the critic's negative loss with FID"]
    assert critic.says == "supports"
    assert critic.effect.point > 0.95
    near = [e for e in found.evidence if e.expects == "near"]
    assert all(abs(e.effect.point) < 0.15 for e in near)
    assert all((e.effect.low > -0.3 and e.effect.high < 0.3) == (e.says == "supports") or e.p_holm > e.p for e in near)
    assert found.verdict == "supported", found.summary


def test_d_answers_a_half_at_the_optimum(tmp_path):
    root = Root(tmp_path)
    for k in range(8):
        for model, real in (("dcgan", 0.5), ("nsgan", 0.9)):
            arm, signs = "base" if k == 0 else f"ttur:factor={1 + k}", {"d_loss_near_zero": None}
            root.add(model, arm, 0, 1.0, dataset="ring", health=health(k, real=real), signs=signs)
            root.add(model, arm, 0, 1.0, health=health(k, real=0.9), signs=signs)
    found = verdicts(root)["sign.half"]
    assert {(e.model, e.measure): e.says for e in found.evidence} == {
        ("dcgan", "D(x) late"): "supports", ("nsgan", "D(x) late"): "contradicts",
        ("dcgan", "D(G(z)) late"): "supports", ("nsgan", "D(G(z)) late"): "supports",
    }  # fmt: skip
    assert {e.dataset for e in found.evidence} == {"ring"}
    assert found.verdict == "mixed"


# -- what a root may hold ------------------------------------------------------------------------------------------


def test_nothing_one_seed_and_all_failed(tmp_path):
    assert {v.verdict for v in judge([])} == {"not tested"}
    empty = Root(tmp_path)
    assert {v.verdict for v in judge([empty])} == {"not tested"}
    one = Root(tmp_path).arm("dcgan", "base", seeds=1).arm("dcgan", "max_pooling", 1.0, seeds=1)
    verdict = verdicts(one)["arch.strided"]
    assert verdict.verdict == "not tested"
    assert "a test needs 2 a side" in verdict.summary
    dead = Root(tmp_path)
    for arm in ("base", "max_pooling", "residual"):
        dead.arm("dcgan", arm, fid=None, outcome="crashed")
    found = verdicts(dead)
    assert found["arch.strided"].verdict == found["arch.residual"].verdict == "inconclusive"
    missing = Root(tmp_path).arm("dcgan", "base").arm("dcgan", "max_pooling", fid=None, outcome="missing")
    assert "no finished runs of max_pooling" in verdicts(missing)["arch.strided"].summary
    partly = Root(tmp_path).arm("dcgan", "base").arm("dcgan", "max_pooling", 1.0, seeds=6)
    for seed in (6, 7):
        partly.add("dcgan", "max_pooling", seed, None, "missing")
    (e,) = verdicts(partly)["arch.strided"].evidence
    assert e.says == "supports"
    assert e.failures[1].point == 0  # a cell that was not trained yet has not failed


def test_not_tested_says_what_is_missing(tmp_path):
    root = Root(tmp_path).arm("dcgan", "base")
    root.not_applicable.append({"model": "dcgan", "dataset": "shapes", "arm": "fully_connected", "reason": "because"})
    found = verdicts(root)
    assert (
        found["arch.no_fc"].summary == "Not tested: dcgan: fully_connected is not applicable on dcgan there: because."
    )
    assert "no arm max_pooling on dcgan" in found["arch.strided"].summary
    assert "no runs of nsgan" in found["arch.conv"].summary
    assert "no runs of" in found["loss.wgan_gradient"].summary


def test_hostile_records_change_nothing(tmp_path):
    def root(name):
        return Root(tmp_path / name).arm("dcgan", "base", volatility=0.1, modes=60).arm("dcgan", "max_pooling", 0.8)

    clean, dirty = root("clean"), root("dirty")
    for k, record in enumerate(dirty.records.values()):
        record["stability"] = [None, "x", {"volatility": math.inf}, {"volatility": "1"}, 3][k % 5]
        record["curve"] = [None, [None, 3], "x", [{"step": None, "fid": math.nan}], {}][k % 5]
        record["signs"], record["g_steps"] = [[], "x", None, 3, {"a": "b"}][k % 5], [math.nan, None, "9", [], -1][k % 5]
        record["recipe"]["tricks"] = [None, [3], "x", [{"name": None}], {}][k % 5]
    dirty.rows[13][-1] = math.inf  # an infinite FID is no score: this run of max_pooling ranks worst
    dirty.rows[13][5] = "crashed"
    folder = dirty.root / "runs" / dirty.rows[0][0]
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text('{"step": 1, "d_loss": null}\n[3]\n{"step": "x"}\n{"ste')
    (folder / "measured.json").write_text("[" * 100_000)
    dirty.add("dcgan", "<script>alert(1)</script>", 0, 3.0, tricks=[])
    a, b = verdicts(clean)["arch.strided"], verdicts(dirty)["arch.strided"]
    assert a.verdict == b.verdict == "supported"
    assert b.evidence[0].failures[1].point == 0.1
    assert b.evidence[0].n == (10, 10)


def test_measurements_of_two_kinds_never_meet_and_several_roots_add_up(tmp_path):
    root = Root(tmp_path / "a").arm("dcgan", "base").arm("dcgan", "max_pooling", 0.8)
    for row in root.rows:
        row[6] = "P" if row[3] == "base" else "Q"
    assert verdicts(root)["arch.strided"].verdict == "not tested"
    other = Root(tmp_path / "b", "other").arm("dcgan", "base").arm("dcgan", "max_pooling", 0.8)
    found = verdicts(root, other, other)["arch.strided"]
    assert [(e.study, e.says) for e in found.evidence] == [("other", "supports")]  # a root given twice counts once
    third = Root(tmp_path / "c", "third").arm("dcgan", "base").arm("dcgan", "max_pooling", -0.8)
    assert verdicts(other, third)["arch.strided"].verdict == "mixed"


# -- commands ------------------------------------------------------------------------------------------------------


def write(root, path):
    """The simulated root as the store writes it."""
    evaluation = {"extractor": "x", "extractor_digest": "ab" * 32, "samples": 2048, "dataset": "shapes", "split": "train", "real_fingerprint": "cd" * 8, "real_images": 2}  # fmt: skip
    cells = []
    for key, model, dataset, arm, seed, *_ in root.rows:
        held = root.records[key]
        recipe = Recipe(model=model, arm=arm, seed=seed, dataset=dataset).to_dict() | held["recipe"]
        record = held | {
            "schema": SCHEMA,
            "run_id": (run_id := run_id_of(recipe)),
            "recipe": recipe,
            "evaluation": evaluation | {"dataset": dataset},
            "labels": {"fid": "FID@2048 (x)"},
        }
        (path / "runs" / run_id).mkdir(parents=True)
        (path / "runs" / run_id / "result.json").write_text(json.dumps(record))
        cells.append({"run_id": run_id, "model": model, "dataset": dataset, "arm": arm, "seed": seed})
    (path / "study.yaml").write_text(json.dumps({"schema": SCHEMA, "name": root.name, "version": "0", "source": root.source or {}, "cells": cells, "not_applicable": []}))  # fmt: skip
    return path


def test_the_command_lists_shows_and_prints_json(tmp_path, capsys):
    root = Root(tmp_path).arm("dcgan", "base", seeds=5).arm("dcgan", "max_pooling", 0.8, seeds=5)
    path = str(write(root, tmp_path / "root"))
    assert main(["claims"]) == 0
    listed = capsys.readouterr().out
    assert all(f"\n{name}  " in f"\n{listed}" for name in IDS + MODERN)
    assert main(["claims", path]) == 0
    assert f"1 supported, {len(registry()) - 1} not tested" in capsys.readouterr().out
    assert main(["claims", "arch.strided", path, path]) == 0
    shown = capsys.readouterr().out
    assert "verdict: supported" in shown
    assert "failures 0 % [0, 43] v 0 % [0, 43]" in shown
    assert main(["claims", path, "arch.strided", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["verdict"] == "supported"
    assert data["evidence"][0]["effect"]["high"] < 0.6
    assert main(["claims", "--json"]) == 0
    assert [c["id"] for c in json.loads(capsys.readouterr().out)] == list(registry())


def test_unknown_claims_and_roots_are_one_line_and_exit_2(tmp_path, capsys):
    assert main(["claims", "arch.strid"]) == 2
    assert "did you mean 'arch.strided'" in capsys.readouterr().err
    assert main(["claims", str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert find_claim("sign.half").study == "sweeps/toys.yaml"


def test_what_is_left_to_measure_is_planned_from_the_claims(tmp_path):
    from gan_ablate.claims.checkpoints import jobs, joined

    root = Root(tmp_path).arm("dcgan", "base", seeds=2).arm("dcgan", "kernel_3", seeds=2).arm("dcgan", "ttur", seeds=2)
    root.add("dcgan", "kernel_5", 0, None, "diverged")
    for run_id in root.records:
        checkpoints = root.root / "runs" / run_id / "checkpoints"
        checkpoints.mkdir(parents=True)
        (checkpoints / "last.ckpt").touch()
    names = ["dcgan/base/0", "dcgan/base/1", "dcgan/kernel_3/0", "dcgan/kernel_3/1"]
    assert [(j.name, j.metrics) for j in jobs(root)] == [(name, ("checkerboard",)) for name in names]
    whole = {j.name: set(j.metrics) for j in jobs(root, fallbacks=True)}
    assert whole["dcgan/base/0"] == {"interpolation", "checkerboard", "sampling"}
    folder = next(j.run.folder for j in jobs(root))
    found = {"extractor_digest": "a", "samples": 8, "real_fingerprint": "b", "metrics": {"checkerboard": 0.1}}
    (folder / "measured.json").write_text(json.dumps(found))
    assert [j.name for j in jobs(root)] == names[1:]
    more = found | {"metrics": {"fid_slerp": 3.0}}
    assert joined(folder, more)["metrics"] == {"checkerboard": 0.1, "fid_slerp": 3.0}
    assert joined(folder, more | {"samples": 9})["metrics"] == {"fid_slerp": 3.0}  # measured in another way


@pytest.mark.slow  # trains, and measures against all of the data
def test_measure_fills_in_what_claims_need_of_checkpoints_and_goes_on(tmp_path, capsys):
    root = str(tmp_path / "root")
    small = (
        "--steps 2 --width 4 --batch-size 8 --samples 64 --points 1 --precision fp32 --threads 1 --logger none".split()
    )
    assert main(["train", *small, "--trick", "kernel_3", "--root", root]) == 0
    capsys.readouterr()
    assert main(["measure", root]) == 0
    assert capsys.readouterr().out.count("checkerboard 0.") == 1
    (file,) = Path(root).glob("runs/*/measured.json")
    before = (file.stat().st_mtime_ns, file.read_bytes())
    assert math.isfinite(json.loads(before[1])["metrics"]["checkerboard"])
    assert main(["measure", root]) == 0
    assert "no checkpoint is left to measure" in capsys.readouterr().out
    assert (file.stat().st_mtime_ns, file.read_bytes()) == before
    file.write_text("{")  # damaged: measured again
    assert main(["measure", root]) == 0
    assert file.read_bytes() == before[1]
