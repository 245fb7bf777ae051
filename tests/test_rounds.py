"""Rounds that are played many at a time, by calls or as captured graphs, are those that a batch at a time plays."""

import copy
import json
from dataclasses import dataclass, replace
from typing import ClassVar

import lightning
import pytest
import torch
from test_models import images, small, weights
from test_tricks import CELLS, CLASSES, named

from gan_ablate import DCGAN, NSGAN, WGANGP, GANDataModule
from gan_ablate.blueprint import Factory
from gan_ablate.data.module import Batches
from gan_ablate.errors import InputError
from gan_ablate.models import rounds
from gan_ablate.models.rounds import Kind, Rounds, State
from gan_ablate.recipe import Evaluation, Recipe
from gan_ablate.run.carry_out import Stopped, carry_out
from gan_ablate.trick import Trick

pytestmark = pytest.mark.usefixtures("feature_weights")
ROUNDS = 20


class Logger(lightning.pytorch.loggers.logger.DummyLogger):
    """Keeps what is logged."""

    def __init__(self):
        super().__init__()
        self.rows = []

    def log_metrics(self, metrics, step=None):
        self.rows.append((step, metrics))


def train(module, step, *, pauses=(), accelerator="cpu", callbacks=(), checkpoint=None):
    """The module after its training, the Trainer, and what was logged."""
    module.step, module.pauses, logger, bp = step, frozenset(pauses), Logger(), module.blueprint
    trainer = lightning.Trainer(
        accelerator=accelerator, devices=1, max_epochs=1, logger=logger, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=list(callbacks),
    )  # fmt: skip
    data = GANDataModule(images(bp.size, bp.channels), batch_size=bp.batch_size, batches=bp.d_steps)
    trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
    return module, trainer, logger.rows


def differing(a, b):
    """Names of what differs between two trained modules: weights, statistics, states of tricks, random numbers."""
    one, two = (weights(m) | {n: g.get_state() for n, g in m.streams.items()} for m in (a, b))
    assert one.keys() == two.keys()
    return [name for name in one if not torch.equal(one[name], two[name])]


# -- the same training ----------------------------------------------------------------------------------------------


FIRST = {name: (model, name) for model, name in reversed(CELLS)}  # each trick on the first model that has it


@named([*((model, "") for model in CLASSES), *sorted(FIRST.values())])
def test_every_trick_trains_the_same_many_rounds_at_a_time(model, name):
    """Through buffers that a graph reads and writes; a pause and a record fall where rounds are cut."""
    build = lambda: small(CLASSES[model], tricks=[name] if name else [], steps=ROUNDS)  # noqa: E731
    torch.manual_seed(1)
    eager, one, rows = train(build(), "eager")
    torch.manual_seed(2)
    captured, two, rows_of_rounds = train(build(), "captured", pauses=[7])
    assert differing(eager, captured) == []
    assert rows == rows_of_rounds
    assert rows
    counts = [(m.g_steps, m.d_steps, m.round_d_steps, t.global_step) for m, t in ((eager, one), (captured, two))]
    assert counts[0] == counts[1]


def test_the_comparison_can_fail():
    a, *_ = train(small(DCGAN, tricks=["generator_dropout"], steps=ROUNDS), "eager")
    b, *_ = train(small(DCGAN, tricks=["generator_dropout"], steps=ROUNDS, seed=1), "captured")
    assert len(differing(a, b)) > len(weights(a)) / 2


def test_rounds_draw_the_batches_of_the_loader_over_the_ends_of_epochs():
    data = images(n=21)
    batches = Batches(data.images, data.labels, 4, seed=3)
    rows = batches.rows(2, 11)  # five batches an epoch: three epochs
    assert rows.shape == (11, 4)
    for k in range(11):
        for ours, theirs in zip(batches.at(rows[k]), batches[2 + k], strict=True):
            assert torch.equal(ours, theirs)


BURSTS = Factory("gan_ablate.optim:bursts", {"usual": 2, "burst": 7, "first": 3, "every": 10})


@pytest.mark.parametrize(("cls", "changes"), [
    (WGANGP, {}), (DCGAN, {"n_generator": 3}), (WGANGP, {"critic_schedule": BURSTS}),
])  # fmt: skip
def test_calls_end_at_pauses_records_and_the_end(cls, changes, monkeypatch):
    seen = []

    class Watch(lightning.Callback):
        def on_train_batch_end(self, trainer, pl_module, *_):
            seen.append((pl_module.g_steps, pl_module.d_steps))

    monkeypatch.setattr(rounds, "SECONDS", 1e9)
    module = small(cls, steps=31)
    module.blueprint = replace(module.blueprint, **changes)
    train(module, "captured", pauses=[5, 17], callbacks=[Watch()])
    n, every = module.blueprint.n_generator, module.log_every
    ends, g, d = [], 0, 0
    while g < 31:  # the same rule, a round at a time
        critic, before = module.blueprint.critic_steps(g), (g, d)
        g, d = min(g + n, 31), d + critic
        g_every = max(1, every // module.blueprint.n_critic)
        recorded = d // every > before[1] // every or g // g_every > before[0] // g_every
        ends += [(g, d)] if recorded or any(before[0] < at <= g for at in (5, 17, 31)) else []
    assert seen == ends


def test_a_call_ends_soon_where_steps_are_slow(monkeypatch):
    monkeypatch.setattr(rounds, "SECONDS", 0.0)
    calls = []

    class Watch(lightning.Callback):
        def on_train_batch_end(self, trainer, pl_module, *_):
            calls.append(pl_module.g_steps)

    train(small(DCGAN, steps=6), "captured", callbacks=[Watch()])
    assert calls == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("cls", [DCGAN, NSGAN, WGANGP])
@pytest.mark.parametrize(("first", "then"), [("eager", "captured"), ("captured", "eager"), ("captured", "captured")])
@pytest.mark.parametrize("at", [3, 7])  # D steps: of five to a round, in its middle
def test_a_run_is_resumed_in_either_way(cls, first, then, at, tmp_path, monkeypatch):
    monkeypatch.setattr(rounds, "SECONDS", 0.0)  # a call for each round
    tricks = ["instance_noise", "generator_dropout", "experience_replay:size=16,kept=4", "generator_ema:decay=0.9"]
    build = lambda: small(cls, tricks=tricks, steps=12)  # noqa: E731

    class Save(lightning.Callback):
        saved = False

        def on_train_batch_end(self, trainer, pl_module, *_):
            if pl_module.d_steps >= at and not self.saved:
                self.saved = True
                trainer.save_checkpoint(tmp_path / "c.ckpt")

    unbroken, *_ = train(build(), first, callbacks=[Save()])
    torch.manual_seed(5)
    resumed, *_ = train(build(), then, checkpoint=tmp_path / "c.ckpt")
    assert differing(unbroken, resumed) == []


def test_divergence_is_found_at_the_same_step_in_either_way():
    found = [train(small(WGANGP, steps=60, lr=1e30), step)[0] for step in ("eager", "captured")]
    assert found[0].diverged_at == found[1].diverged_at
    assert 1 <= found[0].diverged_at <= 60


def test_without_an_end_of_its_own_a_module_is_given_batches(monkeypatch):
    module = small(DCGAN)
    module.step, module.limit = "captured", None
    assert not module.draws_batches  # a Trainer's `max_steps` is kept to the step
    module.limit = 3
    assert module.draws_batches


# -- runs -----------------------------------------------------------------------------------------------------------


def tiny(**fields):
    base = {"size": 16, "width": 4, "batch_size": 8, "steps": 20, "precision": "fp32"}
    return Recipe(**{**base, "evaluation": Evaluation(samples=64, points=2), **fields})


def test_results_and_records_of_a_run_do_not_depend_on_how_it_is_played(tmp_path):
    recipe = tiny(tricks=("instance_noise", "generator_ema:decay=0.9"))
    found = {step: carry_out(recipe, tmp_path / step, threads=1, step=step) for step in ("eager", "captured", "auto")}

    def lines(step):
        rows = [json.loads(line) for line in (tmp_path / step / "metrics.jsonl").read_text().splitlines()]
        return [{k: v for k, v in r.items() if k != "evaluation"} for r in rows]

    assert lines("eager") == lines("captured") == lines("auto")
    points = [[{**p, "seconds": 0} for p in r["curve"]] for r in found.values()]
    assert points[0] == points[1] == points[2]


def test_a_captured_run_that_is_stopped_goes_on_to_the_same_end(tmp_path):
    recipe, asked = tiny(tricks=("instance_noise",)), []
    unbroken = carry_out(recipe, tmp_path / "a", threads=1, step="captured")
    with pytest.raises(Stopped):
        carry_out(recipe, tmp_path / "b", threads=1, step="captured", should_stop=lambda: not asked.append(1))
    assert len(asked) == 1
    resumed = carry_out(recipe, tmp_path / "b", threads=1, step="captured")
    assert resumed["resumed"] == 1
    assert resumed["metrics"] == unbroken["metrics"]


# -- whether graphs may be trusted: on the CPU with calls in place of graphs -----------------------------------------------


class Replay:
    """A "graph" that calls what was captured, or what `does` says."""

    def __init__(self, owner, kind, does=None):
        self.owner, self.kind, self.does = owner, kind, does

    def replay(self):
        self.owner._call(self.kind)
        if self.does:
            self.does(self.owner.module)


@pytest.fixture
def capture(monkeypatch):
    """Lets rounds on the CPU capture and replay. fails, does: what goes wrong there. captured: kinds of rounds."""
    told = {"fails": None, "does": None, "captured": []}

    def captured(self, kind):
        if told["fails"]:
            raise told["fails"]
        state = State(self._state()._live, self._state()._generators)
        found = self._call(kind)  # a capture computes nothing
        state.restore()
        told["captured"].append(kind)
        return Replay(self, kind, told["does"]), found

    plain = Rounds.__init__

    def built(self, *args, **kwargs):
        plain(self, *args, **kwargs)
        self.by_calls = False

    monkeypatch.setattr(Rounds, "__init__", built)
    monkeypatch.setattr(Rounds, "_capture", captured)
    monkeypatch.setattr(Rounds, "_beside", Rounds._call)
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", lambda mode: None)
    return told


def test_graphs_are_used_where_they_agree_and_the_check_leaves_no_trace(capture, capsys):
    tricks = ["instance_noise", "generator_dropout", "experience_replay:size=16,kept=4", "lr_decay"]
    eager, *_ = train(small(DCGAN, tricks=tricks, steps=ROUNDS), "eager")
    captured, *_ = train(small(DCGAN, tricks=tricks, steps=ROUNDS), "auto")
    assert differing(eager, captured) == []
    assert capture["captured"][0] == Kind(1, 1, (), ())
    assert len(capture["captured"]) == len(set(capture["captured"])) == 2  # without and with a record
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("does", [
    lambda m: next(m.generator.parameters()).data.mul_(1.001),
    lambda m: m.streams["tricks"].manual_seed(7),
    lambda m: m.g_count.add_(1),
    lambda m: m.state[0].images.add_(1e-3),
])  # fmt: skip
def test_a_graph_that_does_something_else_is_not_used(does, capture, capsys):
    capture["does"] = does
    build = lambda: small(DCGAN, tricks=["experience_replay:size=16,kept=4"], steps=ROUNDS)  # noqa: E731
    eager, *_ = train(build(), "eager")
    fallen, *_ = train(build(), "auto")
    assert differing(eager, fallen) == []
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert "cannot be captured as a CUDA graph: 2 rounds of it differ by" in line


@dataclass(frozen=True)
class Reader(Trick):
    """A trick that reads a tensor, as a graph cannot."""

    refuses: ClassVar[bool] = False  # stands in for a GPU that was told to refuse it

    def d_loss(self, loss, step, state):
        if Reader.refuses:
            raise RuntimeError("called a synchronizing CUDA operation\nand more lines")
        return loss + 0 * loss.item()


def test_a_trick_that_cannot_be_captured_is_named_and_trains_on(capture, capsys, monkeypatch):
    name = f"{__name__}.Reader"
    eager, *_ = train(small(DCGAN, tricks=[name], steps=ROUNDS), "eager")
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", lambda mode: setattr(Reader, "refuses", mode == "error"))
    fallen, *_ = train(small(DCGAN, tricks=[name], steps=ROUNDS), "auto")
    assert differing(eager, fallen) == []
    line = f"the step cannot be captured as a CUDA graph: {name}: called a synchronizing CUDA operation"
    assert capsys.readouterr().err == f"{line}; it is played without one\n"
    with pytest.raises(InputError, match=r"Reader: called a synchronizing"):
        train(small(DCGAN, tricks=[name], steps=ROUNDS), "captured")


def test_a_capture_that_fails_is_no_end(capture, capsys):
    capture["fails"] = RuntimeError("operation not permitted when stream is capturing")
    eager, *_ = train(small(DCGAN, steps=ROUNDS), "eager")
    fallen, *_ = train(small(DCGAN, steps=ROUNDS), "auto")
    assert differing(eager, fallen) == []
    assert "operation not permitted" in capsys.readouterr().err


# -- the same on a GPU ------------------------------------------------------------------------------------------------


def relative(a, b):
    """The greatest relative difference of a float tensor of two modules, by its 2-norm."""
    one, two = weights(a), weights(b)
    assert one.keys() == two.keys()
    pairs = [(one[k].double(), two[k].double()) for k in one if one[k].is_floating_point()]
    return max(((x - y).norm() / x.norm().clamp(min=1e-8)).item() for x, y in pairs)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@named()
def test_every_trick_trains_the_same_as_a_graph(model, name, capsys):
    """As near to eager steps as these are to themselves, where kernels add in no fixed order; else bit for bit."""
    play = lambda step: train(small(CLASSES[model], tricks=[name], steps=ROUNDS), step, accelerator="gpu")  # noqa: E731
    (eager, _, rows), (again, *_), (captured, _, captured_rows) = play("eager"), play("eager"), play("captured")
    noise, difference = relative(eager, again), relative(eager, captured)
    print(f"{model}/{name}: captured {difference:.1e}, eager again {noise:.1e}")
    assert difference <= max(1e-4, 10 * noise)
    assert [step for step, _ in rows] == [step for step, _ in captured_rows]
    assert {n: g.get_state().tolist() for n, g in eager.streams.items()} == {
        n: g.get_state().tolist() for n, g in captured.streams.items()
    }


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_trick_that_reads_a_tensor_falls_back_on_a_gpu(capsys):
    play = lambda step: train(small(DCGAN, tricks=[f"{__name__}.Reader"], steps=ROUNDS), step, accelerator="gpu")  # noqa: E731
    eager, fallen = play("eager")[0], play("auto")[0]
    assert relative(eager, fallen) <= 1e-4
    assert f"{__name__}.Reader: " in capsys.readouterr().err
    with pytest.raises(InputError, match="Reader"):
        play("captured")
    assert relative(eager, play("eager")[0]) <= 1e-4  # CUDA is fit for more


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_run_on_a_gpu_is_stopped_resumed_and_evaluated(tmp_path):
    recipe, asked = tiny(tricks=("instance_noise", "generator_dropout"), steps=60), []
    found = {step: carry_out(recipe, tmp_path / step, step=step) for step in ("eager", "captured")}
    with pytest.raises(Stopped):
        carry_out(recipe, tmp_path / "b", step="captured", should_stop=lambda: not asked.append(1))
    resumed = carry_out(recipe, tmp_path / "b", step="captured")
    assert resumed["resumed"] == 1
    assert found["captured"]["hardware"]["gpu"]
    for other in (found["eager"], resumed):
        for ours, theirs in zip(found["captured"]["curve"], other["curve"], strict=True):
            assert ours["fid"] == pytest.approx(theirs["fid"], rel=0.02)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_memory_of_graphs_goes_with_the_training():
    def reserved():
        module = train(small(DCGAN, steps=ROUNDS), "captured", accelerator="gpu")[0]
        copy.deepcopy(module.cpu())
        del module
        torch.cuda.empty_cache()
        return torch.cuda.memory_reserved()

    before = reserved()  # the libraries' own buffers stay
    assert reserved() <= before + 2**20
