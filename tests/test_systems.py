"""Systems by rules of their own: what each player sees and is trained for, against the papers' equations."""

import itertools
import json
import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import lightning
import pytest
import torch
from killed_runs import STEPS
from test_models import fit, images, small, weights
from test_run import same
from test_tricks_nets import at_rest
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributions import Categorical, Normal
from torch.nn.functional import mse_loss, softplus

from gan_ablate import GANDataModule
from gan_ablate.blueprint import levels, noise_pixels
from gan_ablate.cli import main
from gan_ablate.data import load
from gan_ablate.errors import InputError
from gan_ablate.evaluate import load_extractor
from gan_ablate.evaluate.real_statistics import real_statistics
from gan_ablate.evaluate.systems import FIGURES, LABELS, Against, matched, own_figures, own_pictures
from gan_ablate.models.base import STREAMS, GANModule
from gan_ablate.nets import Seen
from gan_ablate.nets.pyramid import up
from gan_ablate.presets import preset
from gan_ablate.recipe import USUAL, Recipe, TrickSpec
from gan_ablate.run.carry_out import carry_out
from gan_ablate.run.measure import checkpoint
from gan_ablate.step import discriminator_loss, generator_loss
from gan_ablate.store import attempts
from gan_ablate.store.merge import differing
from gan_ablate.store.store import Store
from gan_ablate.study.study import expand, from_dict
from gan_ablate.sweep.display import Display
from gan_ablate.sweep.pool import sweep
from gan_ablate.trick import build
from gan_ablate.tricks import not_applicable, trick_names
from gan_ablate.tricks.combining import unmet

SYSTEMS = ("infogan", "bigan", "aae", "lapgan")
DOCS = Path(__file__).parents[1] / "docs" / "systems.md"


def system(model, **fields):
    return small(partial(GANModule, model=model), **{"channels": 1, **fields})


def asked(network):
    """The arguments and the answer of every later call of a network."""
    seen = []
    network.register_forward_hook(lambda _, args, out: seen.append((args, out)))
    return seen


def gradients(loss, network):
    return torch.autograd.grad(loss, list(network.parameters()), allow_unused=True, retain_graph=True)


def moved(found):
    return any(g is not None and bool(g.any()) for g in found)


def turns(model, **fields):
    """A system's module and step, with what each player's turn found, and all that D was asked."""
    module, now, states = at_rest(system(model, **fields))
    z, seen, found = torch.randn(8, module.latent_dim), asked(module.discriminator), []
    for loss in (discriminator_loss, generator_loss):
        found.append((loss(module.game, z, now, states), list(seen)))
        seen.clear()
    return module, now, z, found


# -- BiGAN -----------------------------------------------------------------------------------------------------------


def test_bigan_plays_pairs_and_both_g_and_e_turn_the_answers_round():
    """Donahue et al. 2017, equation 2, with G's and E's loss by the inverse labels."""
    module, now, z, [(d, d_asked), (g, g_asked)] = turns("bigan")
    code = module.encoder(now.real)
    for played, seen, sign in ((d, d_asked, 1), (g, g_asked, -1)):
        (x, _, of_x), real = next(one for one in seen if torch.equal(one[0][0], now.real))
        (made, _, of_made), fake = next(one for one in seen if one[0][0] is not x)
        assert torch.allclose(of_x, code)
        assert torch.equal(of_made, z)
        assert torch.allclose(made, module.generator(z))
        assert torch.allclose(played.loss, (softplus(-sign * real.logits) + softplus(sign * fake.logits)).mean())
        assert of_x.requires_grad == made.requires_grad == (played is g)
    assert moved(gradients(g.loss, module.encoder))
    assert moved(gradients(g.loss, module.generator))


@pytest.mark.parametrize(
    ("trick", "side"),
    [
        ("lsgan", lambda real: real.square().mean() / 2),
        ("hinge", lambda real: real.mean()),
        ("saturating", lambda real: -softplus(-real).mean()),
        ("f_gan:divergence=pearson", lambda real: real.mean()),
        ("relativistic", lambda real: torch.zeros(())),
    ],
)
def test_every_objective_has_a_side_for_the_encoder(trick, side):
    """What E minimises over real pairs: G's loss with the answer's sides exchanged, in closed form."""
    objective = build(TrickSpec.parse(trick)).edit(preset(Recipe(model="bigan"))).objective()
    real = torch.randn(50)
    assert torch.allclose(objective.encoder(real), side(real))


def test_a_pair_is_one_thing_to_a_penalty():
    """R1 of D(x, z) = |x|^2 / 2 + 3 z_1 is E[|x|^2 + 9]: both parts of the pair count."""
    seen = Seen(torch.randn(6, 1, 4, 4), torch.randn(6, 5))
    again = seen.like(seen.whole())
    assert torch.equal(again.x, seen.x)
    assert torch.equal(again.beside, seen.beside)
    from gan_ablate.penalties import r1

    def critic(whole):
        pair = seen.like(whole)
        return pair.x.square().sum((1, 2, 3)) / 2 + 3 * pair.beside[:, 0]

    step = SimpleNamespace(t=torch.zeros(()))
    ours = r1(critic, seen.whole(), seen.whole(), step, gamma=2.0)
    assert torch.allclose(ours, seen.x.square().sum((1, 2, 3)).mean() + 9)


# -- InfoGAN ---------------------------------------------------------------------------------------------------------


def test_codes_of_z_are_a_category_numbers_in_the_open_interval_and_noise():
    rules = preset(Recipe(model="infogan")).rules()
    z = torch.randn(20_000, 64, generator=torch.Generator().manual_seed(0))
    seen = rules.latents(z)
    category, number, noise = rules.split(seen)
    assert torch.equal(category.sum(1), torch.ones(len(z)))
    assert set(category.unique().tolist()) == {0.0, 1.0}
    assert (category.mean(0) - 0.1).abs().max() < 0.01
    assert number.abs().max() < 1
    assert (number.var(0) - 1 / 3).abs().max() < 0.01  # of U(-1, 1)
    assert torch.equal(noise, z[:, 12:])


def test_infogan_adds_the_bound_of_the_information_to_both_losses():
    """Chen et al. 2016, equation 6: less lambda L_I, by torch's own distributions; Q is D's body with another head."""
    module, _, z, [(d, d_asked), (g, g_asked)] = turns("infogan")
    assert "q_head" in module.discriminator.heads
    codes = module.game.rules.latents(z)
    for (played, seen), adversarial in (
        ((d, d_asked), lambda a: (softplus(-a[0].logits) + softplus(a[1].logits)).mean()),
        ((g, g_asked), lambda a: softplus(-a[0].logits).mean()),
    ):
        answers = [out for _, out in seen]
        told = answers[-1].heads["q_head"]  # of the fakes
        category = Categorical(logits=told[:, :10]).log_prob(codes[:, :10].argmax(1))
        number = Normal(told[:, 10:], 1.0).log_prob(codes[:, 10:12]).sum(1)
        bound = (category + number).mean() + math.log(2 * math.pi)  # of two numbers, less their constant
        assert torch.allclose(played.loss, adversarial(answers) - bound, atol=1e-5)
    assert moved(gradients(d.loss, module.discriminator.heads["q_head"]))


def test_categories_are_matched_one_to_one_at_best():
    codes, classes = torch.randint(0, 4, (2, 60), generator=torch.Generator().manual_seed(1))
    best = max(
        sum((codes == c) & (classes == k) for c, k in enumerate(order)).sum()  # type: ignore[misc]
        for order in itertools.permutations(range(4))
    )
    assert matched(codes, classes) == pytest.approx(float(best) / 60)
    assert matched(torch.arange(60) % 4, torch.zeros(60, dtype=torch.int64)) == 0.25  # a G of one class


# -- AAE -------------------------------------------------------------------------------------------------------------


def test_aae_has_codes_look_like_the_prior_and_rebuilds_images():
    """Makhzani et al. 2015, section 2: D tells z from E(x); E is trained by it, and E and G by the reconstruction."""
    module, now, z, [(d, d_asked), (g, g_asked)] = turns("aae", latent_dim=5)
    codes = module.encoder(now.real)
    assert [args[0].shape for args, _ in d_asked] == [(8, 5, 1, 1)] * 2
    assert torch.equal(d_asked[0][0][0].flatten(1), z)
    assert torch.allclose(d_asked[1][0][0].flatten(1), codes)
    assert torch.allclose(d.loss, (softplus(-d_asked[0][1].logits) + softplus(d_asked[1][1].logits)).mean())
    weight = preset(Recipe(model="aae")).g_terms[0].options["weight"]
    rebuilt = mse_loss(module.generator(codes), now.real)
    adversarial = softplus(-g_asked[0][1].logits).mean()
    assert torch.allclose(g.loss, adversarial + weight / 2 * rebuilt, atol=1e-5)
    assert not moved(gradients(adversarial, module.generator))
    assert moved(gradients(adversarial, module.encoder))
    assert moved(gradients(g.loss, module.generator))


def test_the_decoder_is_what_is_sampled_from_the_prior():
    module, _ = fit(system("aae"), images(channels=1))
    z = torch.randn(4, module.latent_dim)
    assert torch.equal(module(z), module.decode(z))


# -- LAPGAN ----------------------------------------------------------------------------------------------------------


def test_a_pyramid_with_its_own_details_is_the_image():
    """Denton et al. 2015, equations 1 to 3: h_k = I_k - u(I_{k+1}), and sampling goes back from I_K by I_k = u + h_k."""
    module = system("lapgan", size=28)
    g, real = module.generator, torch.randn(4, 1, 28, 28)
    pyramid = g.levels(real)
    assert tuple(x.shape[-1] for x in pyramid) == levels(28) == (28, 14, 7)
    details = [fine - up(coarse) for fine, coarse in itertools.pairwise(pyramid)]
    g.coarsest.forward = lambda z, labels=None: pyramid[-1]
    for network, detail in zip(g.details, details, strict=True):
        network.forward = lambda noise, blurred, detail=detail: detail
    assert torch.allclose(g(torch.randn(4, module.latent_dim)), real, atol=1e-5)


def test_each_level_is_a_game_of_its_own_on_the_real_level_below():
    module, now, z, [(d, d_asked), (g, g_asked)] = turns("lapgan")
    (args, answer), (fake_args, fake_answer) = d_asked
    assert answer.logits.shape == (8 * 2,)
    fine, coarse = now.real, torch.nn.functional.avg_pool2d(now.real, 2)
    assert torch.equal(args[0].flatten(1), torch.cat((fine.flatten(1), coarse.flatten(1)), dim=1))
    blurred = up(coarse)
    made = fake_args[0].flatten(1)[:, : 16 * 16].view(8, 1, 16, 16)
    noise = z[:, -256:].view(8, 1, 16, 16)
    assert torch.allclose(made, blurred + module.generator.details[0](noise, blurred), atol=1e-6)
    assert torch.allclose(d.loss, (softplus(-answer.logits) + softplus(fake_answer.logits)).mean())
    by_level = softplus(-g_asked[0][1].logits).view(8, 2).mean(0)
    assert torch.allclose(g.loss, by_level.mean())
    for level, own, other in ((0, "details", "coarsest"), (1, "coarsest", "details")):
        for player in (module.generator, module.discriminator):
            assert moved(gradients(by_level[level], getattr(player, own)))
            assert not moved(gradients(by_level[level], getattr(player, other)))


def test_z_has_a_plane_of_noise_per_finer_level():
    assert noise_pixels(28) == 28**2 + 14**2
    assert preset(Recipe(model="lapgan", size=28, channels=1, latent_dim=20)).latent_dim == 20 + 28**2 + 14**2


# -- the same checks for all -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", SYSTEMS)
def test_trains_every_player_and_survives_a_checkpoint_bit_for_bit(model, tmp_path):
    class Save(lightning.Callback):
        def on_train_batch_end(self, trainer, pl_module, *_):
            if pl_module.d_steps == 2:
                trainer.save_checkpoint(tmp_path / "c.ckpt")

    tricks = ["generator_ema:decay=0.5", "instance_noise", "label_smoothing"]
    module = system(model, tricks=tricks, steps=4)
    before = weights(module)
    unbroken = weights(fit(module, images(channels=1), callbacks=[Save()])[0])
    assert all(torch.isfinite(v).all() for v in unbroken.values())
    trained = {k for k, _ in module.named_parameters()}
    assert [k for k in trained if torch.equal(before[k], unbroken[k])] == []
    torch.manual_seed(99)
    resumed = system(model, tricks=tricks, steps=4)
    trainer = lightning.Trainer(
        accelerator="cpu", max_epochs=1000, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    data = GANDataModule(images(channels=1), batch_size=8, seed=0)
    trainer.fit(resumed, data, ckpt_path=tmp_path / "c.ckpt", weights_only=True)
    ours = weights(resumed)
    assert unbroken.keys() == ours.keys()
    assert [k for k, v in ours.items() if not torch.equal(v, unbroken[k])] == []


def applicable(model):
    """Every trick that means something there."""
    names = [{"experience_replay": "experience_replay:kept=4"}.get(name, name) for name in trick_names()]
    return [n for n in names if not_applicable(Recipe(model=model, channels=1, classes=4, tricks=(n,))) is None]


@pytest.mark.parametrize("model", SYSTEMS)
def test_every_trick_that_applies_plays_a_round(model):
    names = applicable(model)
    assert len(names) > 40
    for name in names:
        sooner = {"experience_replay": "experience_replay:size=16,kept=4"}.get(name, name)
        module, now, states = at_rest(system(model, tricks=[sooner], dataset="photos.zip", classes=4))
        z = torch.randn(8, module.latent_dim)
        losses = [turn(module.game, z, now, states) for turn in (discriminator_loss, generator_loss)]
        assert all(torch.isfinite(turn.loss) for turn in losses), name
        losses[1].loss.backward()
        trained = (module.encoder or module.generator).parameters()
        assert any(p.grad is not None for p in trained), name
        assert torch.isfinite(module.generate(2, seed=0).float()).all(), name


@pytest.mark.parametrize("model", SYSTEMS)
def test_a_step_neither_reads_a_tensor_nor_branches_on_one(model, monkeypatch):
    monkeypatch.setattr(GANModule, "log_every", 1 << 30)
    monkeypatch.setattr(torch.nn.Module, "to", lambda self, *_, **__: self)
    with FakeTensorMode():
        module = system(model, channels=3)
        module.streams = {stream: torch.Generator() for stream in STREAMS}
        g_side = [*module.generator.parameters(), *(module.encoder.parameters() if module.encoder else ())]
        players = (list(module.discriminator.parameters()), g_side)
        optimizers = [torch.optim.SGD(p, 0.1, momentum=0.9, fused=True) for p in players]
        for optimizer in optimizers:
            optimizer.param_groups[0] |= {"initial_lr": 0.1, "lr": torch.full((), 0.1, dtype=torch.float64)}
        module.optimizers, module.manual_backward = lambda: optimizers, lambda loss: loss.backward()
        module._trainer = SimpleNamespace(should_stop=False)
        batch = torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8), torch.arange(8)
        for k in range(2):
            module.training_step(batch, k)
    assert module.g_steps == 2


@pytest.mark.parametrize("model", SYSTEMS)
def test_a_run_has_its_own_figures_and_pictures(model, tmp_path, capsys):
    argv = f"train --model {model} --width 4 --batch-size 8 --steps 3 --samples 64 --points 1 --precision fp32".split()
    assert main([*argv, "--logger", "none", "--root", str(tmp_path)]) == 0
    (path,) = tmp_path.rglob("result.json")
    result = json.loads(path.read_text())
    recipe = result["recipe"]
    assert (recipe["dataset"], recipe["size"], recipe["channels"]) == ("digits", 16, 1)
    assert recipe["latent_dim"] == USUAL[model].get("latent_dim", 64)
    names = [m.target.partition(":")[2] for m in preset(Recipe(model=model)).measures]
    figures = [figure for name in names for figure in FIGURES[name]]
    assert figures
    for figure in figures:
        assert isinstance(result["metrics"][figure], float), figure
        assert result["labels"][figure] == LABELS[figure]
        assert result["curve"][0][figure] is not None  # of the untrained model
    said = capsys.readouterr().out
    assert all(LABELS[figure] in said for figure in figures)
    again = checkpoint(path.parent / "checkpoints" / "last.ckpt")
    assert {f: again["metrics"][f] for f in figures} == {f: result["metrics"][f] for f in figures}
    assert again["labels"].items() >= {f: LABELS[f] for f in figures}.items()
    pictures = {p.stem for p in (path.parent / "samples").glob("*.png")} - {"final", "step_000000", "step_000003"}
    assert pictures == {
        "infogan": {"codes", "code_1", "code_2"}, "bigan": {"reconstructions"}, "aae": {"reconstructions"},
        "lapgan": {"levels"},
    }[model]  # fmt: skip


@pytest.mark.parametrize("model", ["infogan", "bigan", "aae"])
def test_points_in_the_plane_are_played_and_measured_too(model):
    points = {"dataset": "ring", "size": 1, "channels": 2, "classes": 8, "steps": 2}
    data = load("ring", size=1, channels=2)
    module, _ = fit(system(model, **points), data)
    extractor = load_extractor("classifier", dataset=data)
    found = own_figures(module, Against(data, extractor, real_statistics(data, extractor), 0))
    assert found
    assert all(isinstance(value, float) for value in found.values())
    assert all(p.images.shape[1:] == (2, 1, 1) for p in own_pictures(module, data).values())


@pytest.mark.slow
def test_killed_with_kill_9_each_resumes_to_the_end_of_an_unbroken_run(tmp_path):
    """Each in a process of its own, which dies inside a round; the sweep starts another, from the checkpoint."""
    base = {
        "width": 4,
        "steps": STEPS,
        "batch_size": 8,
        "precision": "fp32",
        "evaluation": {"samples": 64, "points": 2},
    }
    models = [*SYSTEMS, "gan3d", "r3gan", "sngan"]
    study = from_dict({"name": "killed", "models": models, "base": base, "arms": ["generator_ema"], "seeds": 1})
    done = sweep(
        study, tmp_path / "killed", only="*/base/*", run="killed_runs:killed_once", workers=1, display=Display()
    )
    assert (done.done, done.failed) == (len(models), 0)
    store = Store.open(tmp_path / "killed")
    for recipe in (cell for cell in expand(study).recipes if cell.arm == "base"):
        folder, unbroken = store.folder(recipe.run_id), tmp_path / recipe.model
        result, expected = store.finished(recipe.run_id), carry_out(recipe, unbroken, threads=1)
        ends = [attempt.get("outcome") for attempt in attempts.read_attempts(folder)]
        assert (ends, result["resumed"]) == ([None, result["outcome"]], 1), recipe.model
        assert differing(result, json.loads(json.dumps(expected))) == [], recipe.model
        assert same(folder, unbroken), recipe.model


# -- recipes, studies, refusals --------------------------------------------------------------------------------------


def test_a_study_of_systems_gives_each_its_usual_fields():
    study = {"name": "n", "models": ["aae", "dcgan"], "arms": ["label_smoothing", "projection"], "seeds": 1}
    found = expand(from_dict(study))
    own = {(r.model, r.arm): (r.dataset, r.latent_dim) for r in found.recipes}
    assert own["aae", "label_smoothing"] == ("digits", 8)
    assert own["dcgan", "projection"] == ("shapes", 64)
    assert ("aae", "projection") not in own
    given = expand(from_dict({**study, "base": {"dataset": "mnist", "latent_dim": 3}}))
    assert {(r.dataset, r.size, r.latent_dim) for r in given.recipes} == {("mnist", 28, 3)}


def test_what_a_system_cannot_be():
    with pytest.raises(InputError, match="latent_dim=11: infogan has codes of 12 numbers"):
        preset(Recipe(model="infogan", latent_dim=11))
    with pytest.raises(InputError, match="lapgan: points in the plane have no levels"):
        preset(Recipe(model="lapgan", dataset="ring", size=1, channels=2))
    with pytest.raises(InputError, match="dcgan: has no encoder"):
        small(partial(GANModule, model="dcgan")).encode(torch.zeros(1, 3, 16, 16))


def without(model):
    """The tricks that mean nothing on a system though they do on dcgan, with the reason's first words."""
    base = preset(Recipe(model=model, channels=1, classes=4))
    found = {}
    for name in trick_names():
        if not_applicable(Recipe(channels=1, classes=4, tricks=(name,))) is None:
            trick = build(TrickSpec(name))
            reason = unmet(name, trick, base, trick.edit(base))
            if reason:
                found[name] = reason
    return found


def test_the_page_lists_the_tricks_that_mean_nothing_on_each():
    told = {model: {} for model in SYSTEMS}
    for line in DOCS.read_text().splitlines():
        if line.startswith("| `"):
            names, models, lacks = (cell.strip() for cell in line.split("|")[1:4])
            for name, model in itertools.product(names.split(), models.split(", ")):
                told[model][name.strip("`")] = lacks
    assert {m: set(told[m]) for m in SYSTEMS} == {m: set(without(m)) for m in SYSTEMS}
    for model in SYSTEMS:
        for name, reason in without(model).items():
            assert told[model][name] in reason


def test_a_recipe_of_a_system_is_told_by_its_model_alone():
    plain = Recipe(model="dcgan", dataset="digits", channels=1)
    assert len({replace(plain, model=m).run_id for m in ("dcgan", *SYSTEMS)}) == 5
