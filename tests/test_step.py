"""The training step: its losses write nothing, the blueprint is one, each trick has its own state, and rates are tensors."""

from dataclasses import FrozenInstanceError, dataclass, fields, replace

import lightning
import pytest
import torch
from test_models import fit, images, small, weights
from test_tricks_nets import at_rest, watch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from trick_tools import step, trick

from gan_ablate import DCGAN, NSGAN, R3GAN, WGANGP, GANDataModule
from gan_ablate.blueprint import Factory
from gan_ablate.optim import linear_to_zero, make_capturable
from gan_ablate.presets import preset
from gan_ablate.recipe import CATALOGUED, Recipe
from gan_ablate.run.measure import _sampled_by
from gan_ablate.step import discriminator_loss, generator_loss
from gan_ablate.trick import Chain, Step, Trick
from gan_ablate.tricks import not_applicable, trick_names

# -- the losses write nothing into what they are given ---------------------------------------------------------------

GAMES = [
    (DCGAN, ("experience_replay:size=16,kept=4", "generator_ema", "soft_labels", "feature_matching")),
    (DCGAN, ("joint_batches", "ada", "lecam", "historical_averaging")),
    (NSGAN, ("vae_hybrid", "relativistic", "instance_noise")),
    (WGANGP, ("consistency", "spectral_norm", "auxiliary_generator_loss")),
]


def contents(module, now, states):
    """All that the losses are given: fields of the step, tensors of the tricks, weights, as (identity, version, copy)."""
    held = {f"step.{f.name}": getattr(now, f.name) for f in fields(now)}
    held |= {f"state.{i}.{k}": v for i, own in enumerate(states) for k, v in own.items()}
    held |= {f"weight.{k}": v for k, v in module.named_parameters()}
    held |= {f"game.{f.name}": getattr(module.game, f.name) for f in fields(module.game)}
    return {
        k: (id(v), v._version, v.detach().clone(), v.grad) if isinstance(v, torch.Tensor) else (id(v),)
        for k, v in held.items()
    }


def changed(before, after):
    def same(a, b):
        return a[:2] == b[:2] and (len(a) == 1 or (torch.equal(a[2], b[2]) and a[3] is b[3] is None))

    assert before.keys() == after.keys()
    return [k for k in before if not same(before[k], after[k])]


def play_both(module, now, states):
    """What a turn of each player changes in what it was given, and what it found."""
    z, before = torch.randn(8, module.latent_dim), contents(module, now, states)
    turns = [loss(module.game, z, now, states) for loss in (discriminator_loss, generator_loss)]
    return changed(before, contents(module, now, states)), turns


@pytest.mark.parametrize(("cls", "tricks"), GAMES, ids=[" ".join(t) for _, t in GAMES])
def test_both_losses_write_nothing_into_what_they_are_given(cls, tricks):
    wrong, (d, g) = play_both(*at_rest(small(cls, tricks=tricks)))
    assert wrong == []
    assert d.step.fake is not None
    assert d.step.real_critique.logits.shape == d.step.fake_critique.logits.shape == (8,)
    assert not d.step.fake.requires_grad
    assert g.step.fake.requires_grad
    assert torch.isfinite(d.loss + g.loss)


@dataclass(frozen=True)
class Scribble(Trick):
    """Does what no hook may do."""

    def d_loss(self, loss, step, state):
        step.real.mul_(1.0)
        return loss


def test_the_check_finds_a_hook_that_writes_the_same_numbers_again():
    wrong, _ = play_both(*at_rest(small(DCGAN, tricks=[f"{__name__}.Scribble"])))
    assert wrong == ["step.real"]


@pytest.mark.parametrize("name", [f.name for f in fields(Step)])
def test_no_field_of_a_step_can_be_set(name):
    with pytest.raises(FrozenInstanceError):
        setattr(step(), name, None)


@pytest.mark.parametrize(
    ("cls", "tricks", "answers"),
    [(R3GAN, (), 2), (NSGAN, ("r1",), 2), (NSGAN, ("r2",), 2), (WGANGP, ("r1",), 3)],
)
def test_d_answers_an_image_once_for_the_game_and_for_the_penalty_on_its_slope(cls, tricks, answers):
    """The same loss and gradients as where each penalty asks anew, which needs an answer more for each."""
    module, now, states = at_rest(small(cls, tricks=tricks, precision="fp32"))
    z, found = torch.randn(8, module.latent_dim), []
    anew = tuple(lambda *given, own=own: own(*given) for own in module.blueprint.penalties)
    for penalties in (module.blueprint.penalties, anew):
        game = replace(module.game, blueprint=replace(module.blueprint, penalties=penalties))
        asked = []
        handle = module.discriminator.register_forward_hook(lambda *_, asked=asked: asked.append(1))
        now.noise.manual_seed(0)
        loss = discriminator_loss(game, z, now, states).loss
        handle.remove()
        found.append((loss, torch.autograd.grad(loss, list(module.discriminator.parameters())), len(asked)))
    (one, ours, few), (other, theirs, many) = found
    assert torch.allclose(one, other)
    assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(ours, theirs, strict=True))
    assert (few, many) == (answers, 2 + len(anew))
    assert not now.real.requires_grad


def test_in_bf16_a_penalty_asks_anew_in_fp32():
    module, now, states = at_rest(small(NSGAN, tricks=("r1",), precision="bf16"))
    kinds = []
    module.discriminator.register_forward_hook(lambda _, __, answer: kinds.append(answer.hidden[0].dtype))
    with module._precision():
        discriminator_loss(module.game, torch.randn(8, module.latent_dim), now, states)
    assert kinds == [torch.bfloat16, torch.bfloat16, torch.float32]


def test_hooks_that_d_is_asked_behind_see_what_the_turn_has_found():
    seen = []

    @dataclass(frozen=True)
    class Look(Trick):
        def inputs(self, images, step, state):
            seen.append((step.fake is not None, step.real_critique is not None))
            return images

        def d_loss(self, loss, step, state):
            return loss + 0 * step.critique(step.fake).logits.mean()

    module, now, _ = at_rest(small(DCGAN))
    game = replace(module.game, chain=Chain((Look(),)))
    discriminator_loss(game, torch.randn(8, module.latent_dim), now, ({},))
    assert seen == [(True, False), (True, False), (True, True)]  # real, fake, and the trick's own question


# -- the blueprint is one --------------------------------------------------------------------------------------------


def test_the_game_plays_by_the_blueprint_that_the_module_has():
    module, now, states = at_rest(small(DCGAN))
    seen, z = watch(module.discriminator), torch.randn(8, module.latent_dim)
    sizes = []
    for joint in (False, True):
        module.blueprint = replace(module.blueprint, joint=joint)
        assert module.blueprint is module.game.blueprint
        seen.clear()
        discriminator_loss(module.game, z, now, states)
        sizes.append([len(x) for x, _ in seen])
    assert sizes == [[8, 8], [16]]


def test_a_measure_swaps_the_one_blueprint_and_puts_it_back():
    module = small(DCGAN)
    own, network = module.blueprint, module.game.generator
    with _sampled_by(module, {"sample_mode": "train"}):
        assert module.blueprint is module.game.blueprint
        assert module.game.blueprint.sample_mode == "train"
    assert module.blueprint is module.game.blueprint is own
    assert module.game.generator is network


# -- each trick has its own state ------------------------------------------------------------------------------------

STATEFUL = ["lecam", "instance_noise", "ada:images=64,target=-1", "experience_replay:size=16,kept=4", "generator_ema"]


def test_each_trick_of_a_chain_is_given_its_own_tensors():
    seen = {}

    @dataclass(frozen=True)
    class Count(Trick):
        by: int = 1

        def init(self, step):
            return {"n": torch.zeros(())}

        def advance(self, state, step):
            return {"n": state["n"] + self.by}

        def d_loss(self, loss, step, state):
            seen[self.by] = state["n"].item()
            return loss

    chain = Chain((Count(1), trick("lsgan"), Count(10)))
    states = chain.init(step())
    for _ in range(3):
        states = chain.advance(states, step())
    chain.d_loss(torch.zeros(()), step(), states)
    assert seen == {1: 3.0, 10: 30.0}
    assert [dict(own) for own in states] == [{"n": 3.0}, {}, {"n": 30.0}]


def test_buffers_are_kept_by_trick_and_hooks_cannot_put_others_in_their_place():
    module, _ = fit(small(DCGAN, tricks=STATEFUL))
    assert [sorted(own)[:2] for own in module._states()[:4]] == [["fake", "real"], [], ["p"], ["images", "stored"]]
    assert "state.2.p" in module.state_dict()
    assert module.state_dict()["state.3.stored"] == 4 * module.g_steps
    assert module._states()[3]["stored"] is module.state[3].stored
    with pytest.raises(TypeError):
        module._states()[2]["p"] = torch.zeros(())


def test_a_checkpoint_with_the_earlier_names_of_the_state_goes_on_bit_for_bit(tmp_path):
    class Save(lightning.Callback):
        def on_train_batch_end(self, trainer, pl_module, *_):
            if pl_module.d_steps == 2:
                trainer.save_checkpoint(tmp_path / "c.ckpt")

    unbroken = weights(fit(small(DCGAN, tricks=STATEFUL), callbacks=[Save()])[0])
    checkpoint = torch.load(tmp_path / "c.ckpt", weights_only=True)
    held = checkpoint["state_dict"]
    for name in [name for name in held if name.startswith("state.")]:
        position, tensor = name.split(".")[1:]
        held[f"state.{position}/{tensor}"] = held.pop(name)
    assert {"state.2/p", "state.3/images"} < held.keys()
    torch.save(checkpoint, tmp_path / "c.ckpt")
    resumed = small(DCGAN, tricks=STATEFUL)
    trainer = lightning.Trainer(
        accelerator="cpu", max_epochs=9, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(resumed, GANDataModule(images(), batch_size=8), ckpt_path=tmp_path / "c.ckpt", weights_only=True)
    ours = weights(resumed)
    assert ours.keys() == unbroken.keys()
    assert [k for k, v in ours.items() if not torch.equal(v, unbroken[k])] == []


# -- nothing that changes over training is a Python number, and no optimiser is read ---------------------------------


def optimisers():
    """Every optimiser that a model or a trick of the catalogue builds."""
    found = {}
    for model in CATALOGUED:
        base = preset(Recipe(model=model))
        for name in trick_names():
            if not_applicable(Recipe(model=model, tricks=(name,))) is None:
                edited = trick(name).edit(base)
                found |= {f.target: f for f in (edited.d_optimizer, edited.g_optimizer)}
    return found


def steps_on(device, build, *, scheduled, annealed=False, ready=True, fused=None):
    """Three steps on tensors that hold no numbers: whatever reads one raises."""
    with FakeTensorMode():
        parameters = [nn.Parameter(torch.empty(3, device=device)) for _ in range(2)]
        optimizer = build(parameters)
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        if ready:
            make_capturable(optimizer, scheduled=scheduled, annealed=annealed)
        elif scheduled:
            optimizer.param_groups[0]["lr"] = torch.empty((), device=device)
        for group in optimizer.param_groups:
            group["fused"] = fused or group.get("fused")
        for _ in range(3):
            for p in parameters:
                p.grad = torch.empty(3, device=device)
            optimizer.step()
    return optimizer


OWN = "gan_ablate.adam:GameAdam"  # which never reads a number


@pytest.mark.parametrize("scheduled", [False, True])
def test_the_suites_own_optimiser_reads_no_number_on_a_gpu(scheduled):
    (group,) = steps_on("cuda", optimisers()[OWN], scheduled=scheduled).param_groups
    assert isinstance(group["lr"], torch.Tensor) is scheduled


@pytest.mark.parametrize("scheduled", [False, True])
@pytest.mark.parametrize("target", sorted(set(optimisers()) - {OWN}))
def test_no_optimiser_of_the_catalogue_reads_a_number_on_a_gpu(target, scheduled):
    build = optimisers()[target]
    if target != "torch.optim:RMSprop":  # fused kernels look for a real GPU: the same code on the CPU shows as much
        with FakeTensorMode():
            optimizer = build([nn.Parameter(torch.empty(3, device="cuda"))])
            optimizer.param_groups[0]["initial_lr"] = 0.1
            make_capturable(optimizer, scheduled=scheduled)
        (group,) = optimizer.param_groups
        assert group["fused"] is True
        assert group.get("capturable", True) is True
        assert isinstance(group["lr"], torch.Tensor) is scheduled
        if (
            target == "torch.optim:SGD" or not scheduled
        ):  # Adam's with a tensor runs on no fake one: see the test on a GPU
            steps_on("cpu", build, scheduled=scheduled, fused=True)
        return
    (group,) = steps_on("cuda", build, scheduled=scheduled).param_groups
    assert group["capturable"] is True
    assert isinstance(group["lr"], torch.Tensor) is scheduled


@pytest.mark.parametrize("target", sorted(optimisers()))
def test_no_step_on_the_cpu_looks_for_a_gpu(target, monkeypatch):
    """torch's own check of CUDA graphs opens the driver's library each time: 5 % of a run of small networks."""
    p = torch.nn.Parameter(torch.ones(3))
    p.grad = torch.ones(3)
    optimizer = optimisers()[target]([p])
    make_capturable(optimizer, scheduled=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: pytest.fail("a GPU was looked for"))
    optimizer.step()
    assert not torch.equal(p.detach(), torch.ones(3))


@pytest.mark.parametrize("target", sorted(set(optimisers()) - {OWN}))
def test_the_check_finds_an_optimiser_that_reads_its_rate(target):
    with pytest.raises(DataDependentOutputException):
        steps_on("cuda", optimisers()[target], scheduled=True, ready=False)


@pytest.mark.parametrize("start", [0.0, 0.3])
def test_scheduled_rates_are_the_very_numbers_of_the_formula(start):
    rates = []

    class Watch(lightning.Callback):
        def on_train_batch_end(self, trainer, pl_module, *_):
            rates.extend(float(o.param_groups[0]["lr"]) for o in trainer.optimizers)

    steps, lr = 7, 2e-4
    fit(small(DCGAN, tricks=[f"lr_decay:start={start}"], steps=steps, lr=lr), callbacks=[Watch()])
    shares = [k / steps for k in range(steps)]
    assert rates[::2] == [lr * (1.0 if s <= start else max(0.0, (1 - s) / (1 - start))) for s in shares]
    assert rates[1::2] == rates[::2]


def test_a_schedule_and_the_share_of_training_are_computed_where_they_are_used():
    with FakeTensorMode():
        share = torch.empty((), device="cuda")
        assert linear_to_zero(share, start=0.5).device.type == "cuda"


def test_a_scheduled_rate_moves_the_weights_as_a_python_number_does():
    ours, plain = (nn.Parameter(torch.linspace(-1, 1, 9)) for _ in range(2))
    for target, build in optimisers().items():
        a, b = build([ours]), build([plain])
        for group in a.param_groups:
            group["initial_lr"] = group["lr"]
        make_capturable(a, scheduled=True)
        for k in range(5):
            rate = 0.1 / (k + 3)
            a.param_groups[0]["lr"].fill_(rate)
            b.param_groups[0]["lr"] = rate
            ours.grad = torch.randn(9, generator=torch.Generator().manual_seed(k))
            plain.grad = ours.grad.clone()
            a.step()
            b.step()
            assert torch.equal(ours, plain), target


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("target", sorted(optimisers()))
def test_a_captured_step_follows_the_rate(target):
    both = [nn.Parameter(torch.ones(64, device="cuda")) for _ in range(2)]
    pair = [optimisers()[target]([w]) for w in both]
    for optimizer, w in zip(pair, both, strict=True):
        optimizer.param_groups[0]["initial_lr"] = 0.1
        make_capturable(optimizer, scheduled=True)
        w.grad = torch.linspace(-1, 1, 64, device="cuda")
    captured, eager = pair
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        captured.step()  # moments are made outside of the graph
    torch.cuda.current_stream().wait_stream(stream)
    eager.step()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured.step()
    for rate in (0.1, 0.03, 0.0):
        for optimizer in pair:
            optimizer.param_groups[0]["lr"].fill_(rate)
        graph.replay()
        eager.step()
        assert torch.allclose(*both, atol=1e-6)


def test_another_kind_of_optimiser_is_left_as_it_is():
    optimizer = Factory("torch.optim:Adagrad", {"lr": 0.1})([nn.Parameter(torch.ones(2))])
    before = {k: v for k, v in optimizer.param_groups[0].items() if k != "params"}
    make_capturable(optimizer, scheduled=False)
    assert {k: v for k, v in optimizer.param_groups[0].items() if k != "params"} == before
