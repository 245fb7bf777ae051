"""Rounds of the game, D's steps and then G's, played many at a time: by calls, or as CUDA graphs that are replayed.

A round reads the rows of its batches from a buffer, by a place that it moves on itself, and writes into tensors that
stay where they are. So one captured graph plays every later round of its kind, and the host does nothing per step.
"""

from __future__ import annotations

import math
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gan_ablate.data.module import Batches
from gan_ablate.errors import InputError
from gan_ablate.trick import Chain, Trick, name_of

SECONDS = 0.5  # after so long a call ends, so that a run that is asked to stop hears it soon
CHECK_ROUNDS = 2  # played both ways before a graph is trusted
TIMES_NOISE = 4  # how much further than two calls from each other a replay may be from a call
ROUNDING = 1e-5  # relative difference that is always allowed


Record = Mapping[str, Tensor]  # training health of one turn by name, () each; empty where it is not recorded
Found = list[tuple[int, Record]]  # G steps done, and what was recorded then


class Players(NamedTuple):
    """How the players learn."""

    discriminator: Any  # optimizer
    generator: Any  # optimizer
    backward: Callable[[Tensor], None]  # of a loss


class Kind(NamedTuple):
    """What a round does. Rounds of one kind are the same operations, so that one graph plays them."""

    d_steps: int
    g_steps: int
    d_recorded: tuple[int, ...]  # those of its D steps whose training health is recorded
    g_recorded: tuple[int, ...]
    d_penalised: tuple[int, ...] = ()  # those of its D steps that an update on lazy penalties follows


class Rounds:
    """Plays rounds of a module on batches that it draws itself.

    On a GPU a round is captured after two rounds were played both ways and agreed; else all are played by calls, with a
    line that says why, or where `strict` an `InputError`. On the CPU all are played by calls.
    """

    def __init__(self, module: Any, batches: Batches, optimizers: Sequence[Any], strict: bool) -> None:
        # module: a `models.training.Training`, whose file imports this one
        self.module, self.batches, self.strict = module, batches, strict
        self.by_calls = module.device.type != "cuda"
        d_optimizer, g_optimizer = optimizers
        self.players = Players(d_optimizer, g_optimizer, backward=lambda loss: loss.backward())
        self.rows = batches.rows(0, 1)  # (D steps of a call, B) int64: made long enough by `_draw_rows`
        self.place = torch.zeros(1, dtype=torch.int64, device=module.device)  # of the next D step's rows
        self._graphs: dict[Kind, tuple[torch.cuda.CUDAGraph, Found]] = {}
        self._warm = self._checked = False
        self._stream = None if self.by_calls else torch.cuda.Stream(module.device)

    def play(self) -> Found:
        """Rounds up to the next record, pause or end of training; the steps' counters move on with them.

        Returns what was recorded, with the G steps done at that time. Only the last round has records.
        """
        began, kinds = time.perf_counter(), self._ahead()
        self._draw_rows(sum(kind.d_steps for kind in kinds))
        found: Found = []
        for kind in kinds:
            before = self.module.g_steps
            found = [(before + steps, record) for steps, record in self._play(kind)]
            self.module.g_steps += kind.g_steps
            self.module.d_steps += kind.d_steps
            if time.perf_counter() - began > SECONDS:
                break
        return found

    def _ahead(self) -> list[Kind]:
        """The rounds up to the next one that has a record, reaches a pause or ends training."""
        module, kinds = self.module, list[Kind]()
        g_steps, d_steps, limit = module.g_steps, module.d_steps, module.limit
        assert limit is not None
        pause = min((at for at in {*module.pauses, limit} if at > g_steps), default=limit)
        while g_steps < pause:
            kind = Kind(
                d := module.blueprint.critic_steps(g_steps),
                g := min(module.blueprint.n_generator, limit - g_steps),
                tuple(k for k in range(d) if module.is_recorded(d_steps + k)),
                tuple(k for k in range(g) if module.is_recorded_g(g_steps + k)),
                tuple(k for k in range(d) if module.is_penalised(d_steps + k)),
            )
            kinds.append(kind)
            g_steps, d_steps = g_steps + g, d_steps + d
            if kind.d_recorded or kind.g_recorded:
                break
        return kinds

    def _draw_rows(self, d_steps: int) -> None:
        """The rows of the next D steps, where the graphs read them."""
        rows = self.batches.rows(self.module.d_steps, d_steps)
        if len(rows) > len(self.rows):
            self._graphs.clear()  # they read the old place
            most = max(len(rows), 2 * self.module.log_every)  # a record ends a call, so few are longer
            self.rows = rows.new_zeros(most, rows.shape[1])
        self.rows[: len(rows)].copy_(rows)
        self.place.zero_()

    # -- one round -------------------------------------------------------------------------------------------------

    def _call(self, kind: Kind) -> Found:
        """Plays a round by the module's own code. Of what was recorded: G steps since the round began."""
        module, found = self.module, list[tuple[int, Record]]()
        for k in range(kind.d_steps):
            batch = self.batches.at(self.rows.index_select(0, self.place)[0])
            self.place += 1
            first = k == 0 and module.is_first
            recorded, penalised = k in kind.d_recorded, k in kind.d_penalised
            turn = module.discriminator_turn(self.players, batch, first, recorded, penalised)
            found += [(0, turn.record)] if turn.record else []
        for k in range(kind.g_steps):
            record = module.generator_turn(self.players, turn, k in kind.g_recorded)
            found += [(k + 1, record)] if record else []
        return found

    def _play(self, kind: Kind) -> Found:
        if not self.by_calls and not self._warm:
            self._warm = True  # moments, first values and the libraries' own buffers are made outside of a graph
            return self._beside(kind)
        if not self.by_calls and not self._checked:
            self._check(kind)
        if self.by_calls:
            return self._call(kind)
        if kind not in self._graphs:
            self._graphs[kind] = self._capture(kind)
        graph, found = self._graphs[kind]
        graph.replay()
        return found

    def _beside(self, kind: Kind) -> Found:
        """A round by calls, on the stream that rounds are captured on."""
        assert self._stream is not None
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            found = self._call(kind)
        torch.cuda.current_stream().wait_stream(self._stream)
        return found

    def _capture(self, kind: Kind) -> tuple[torch.cuda.CUDAGraph, Found]:
        graph = torch.cuda.CUDAGraph()
        for stream in self.module.streams.values():
            graph.register_generator_state(stream)
        pool = next((g.pool() for g, _ in self._graphs.values()), None)  # graphs are never replayed at one time
        with torch.cuda.graph(graph, pool=pool, stream=self._stream, capture_error_mode="thread_local"):
            found = self._call(kind)
        return graph, found

    # -- whether graphs may be trusted -------------------------------------------------------------------------------

    def _check(self, kind: Kind) -> None:
        """Captures a round, or goes on by calls where that is not possible. Everything is as before afterwards."""
        before = self._state()
        if self.module.blueprint.penalty_every > 1:
            kind = kind._replace(d_penalised=tuple(range(kind.d_steps)))  # what fails there has to show first
        try:
            reason = self._objection(kind, before)
        except Exception as error:
            reason = f"{_culprit(error)}{str(error).strip().splitlines()[0]}"
        before.restore()
        self._checked = True
        if reason:
            self.by_calls = True
            self._graphs.clear()
            line = f"the step cannot be captured as a CUDA graph: {reason}"
            if self.strict:
                raise InputError(line)
            print(f"{line}; it is played without one", file=sys.stderr, flush=True)

    def _objection(self, kind: Kind, before: State) -> str:
        """Why a captured round must not be used; empty where it does what a called one does."""
        results = []
        for _ in range(2):
            before.restore()
            # a capture that fails may leave CUDA unfit for more, so what would make it fail has to show first
            torch.cuda.set_sync_debug_mode("error")
            try:
                for _ in range(CHECK_ROUNDS):
                    self.place.zero_()
                    self._beside(kind)
            finally:
                torch.cuda.set_sync_debug_mode("default")
            results.append(self._state())
        before.restore()
        self._graphs[kind] = self._capture(kind)
        for _ in range(CHECK_ROUNDS):
            self.place.zero_()
            self._graphs[kind][0].replay()
        called, again = results
        noise, difference = called.distance(again), called.distance(self._state())
        if difference <= max(ROUNDING, TIMES_NOISE * noise):
            return ""
        return f"{CHECK_ROUNDS} rounds of it differ by {difference:.1e}, two plays by calls by {noise:.1e}"

    def _state(self) -> State:
        module, optimizers = self.module, (self.players.discriminator, self.players.generator)
        states = [value for o in optimizers for state in o.state.values() for value in state.values()]
        rates = [group["lr"] for o in optimizers for group in o.param_groups]
        tensors = [x for x in (*module.parameters(), *module.buffers(), *states, *rates) if torch.is_tensor(x)]
        return State([*tensors, self.place], [*module.streams.values(), _default_generator(module.device)])


class State:
    """A copy of everything that a round changes: tensors, and generators of random numbers."""

    def __init__(self, tensors: Sequence[Tensor], generators: Sequence[torch.Generator]) -> None:
        self._live, self._generators = tensors, generators
        self._values = [x.detach().clone() for x in tensors]
        self._random = [g.get_state() for g in generators]

    @torch.no_grad()
    def restore(self) -> None:
        """Put everything back, in place."""
        for live, value in zip(self._live, self._values, strict=True):
            live.copy_(value)
        for generator, state in zip(self._generators, self._random, strict=True):
            generator.set_state(state)

    def distance(self, other: State) -> float:
        """The greatest relative difference of a tensor, by 2-norm; infinite where whole or random numbers differ."""
        if any(not torch.equal(a, b) for a, b in zip(self._random, other._random, strict=True)):
            return math.inf
        worst = torch.zeros(())
        for a, b in zip(self._values, other._values, strict=True):
            if not a.is_floating_point():
                if not torch.equal(a, b):
                    return math.inf
                continue
            difference = (a.double() - b.double()).norm() / a.double().norm().clamp(min=1e-8)
            worst = torch.maximum(worst, difference.nan_to_num(math.inf).cpu())
        return worst.item()


def _default_generator(device: torch.device) -> torch.Generator:
    """The generator that layers draw from."""
    if device.type == "cuda":
        return torch.cuda.default_generators[torch.cuda.current_device() if device.index is None else device.index]
    return torch.default_generator


def _culprit(error: BaseException) -> str:
    """The trick whose hook raised, as the start of a message; empty where it was none."""
    frames = [frame.f_locals.get("self") for frame, _ in traceback.walk_tb(error.__traceback__)]
    tricks = [own for own in frames if isinstance(own, Trick) and not isinstance(own, Chain)]
    return f"{name_of(tricks[-1])}: " if tricks else ""
