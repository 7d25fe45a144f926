"""The observing loop: the same prefill and the same decode steps, with and without an observer, in turns.

    describe                  one run of each phase in which every node is read, which also warms everything up
    for each repetition:
        plain, then observed  (every other time the other way round): the cache as it was at the depth asked for,
                              a prefill, and from there the decode steps
        with several threads  some decode steps more in which small neighbours are computed together

Names, shapes and costs are read in the describing runs only: in a timed one the callback takes two clock readings per
node. Decode steps that differ in the cache's length are described apart, and their bytes averaged.
"""

import gc
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from profiler.engine import Engine, EngineError
from profiler.measure.kv_state import Start, expect
from profiler.measure.workloads import prompt_tokens, random_tokens
from profiler.operators.group import alone, groups_of, joined, joins_of
from profiler.operators.records import Group, Join, Look, PhaseSeen
from profiler.records.config import RunConfig, base_config
from profiler.records.graph import Node

Clock = Callable[[], int]
_JOINED_STEPS = 4  # per repetition


class Observing(Engine, Protocol):
    """An engine whose nodes can be seen."""

    def describe(self, call: Callable[[], None]) -> list[Node]:
        """Do a call and give the nodes that were computed in it."""

    def time(self, call: Callable[[], None], alone: Sequence[bool]) -> tuple[list[int], list[int]]:
        """Do a call and give when each group of nodes began and ended."""


class _Phase:
    """What gathers of one phase."""

    def __init__(self) -> None:
        self.alone: list[bool] = []
        self.groups: list[Group] = []
        self.pairs: list[tuple[int, int]] = []
        self.runs: list[tuple[int, ...]] = []
        self.starts: list[int] = []
        self.plain: list[int] = []
        self.together: list[list[int]] = []
        self._bytes: list[tuple[int, ...]] = []

    def describe(self, nodes: list[Node]) -> None:
        groups = groups_of(nodes)
        if self.groups and [group.op for group in groups] != [group.op for group in self.groups]:
            raise EngineError("decode", "this model's graph changes from step to step; its operators are not known")
        self.alone, self.groups = alone(nodes), groups
        self.pairs = joins_of(groups)
        self._bytes.append(tuple(group.n_bytes for group in groups))

    def time(self, engine: Observing, call: Callable[[], None]) -> None:
        starts, ends = engine.time(call, self.alone)
        took = tuple(end - start for start, end in zip(starts, ends, strict=True))
        if not self.runs or sum(took) < min(map(sum, self.runs)):
            self.starts = [start - starts[0] for start in starts]
        self.runs.append(took)

    def time_joined(self, engine: Observing, call: Callable[[], None]) -> None:
        starts, ends = engine.time(call, joined(self.alone, self.pairs))
        took = [end - start for start, end in zip(starts, ends, strict=True)]
        self.together.append([took[place] for place in _places_joined(self.pairs)])

    def seen(self, depth: int, n_tokens: int, reps: int) -> PhaseSeen:
        means = [round(sum(each) / len(each)) for each in zip(*self._bytes, strict=True)]
        groups = (msgspec.structs.replace(group, n_bytes=mean) for group, mean in zip(self.groups, means, strict=True))
        joins = (
            Join(first=first, last=last, together_ns=samples)
            for (first, last), samples in zip(self.pairs, zip(*self.together, strict=True), strict=False)
        )
        return PhaseSeen(
            groups=tuple(groups),
            group_ns=tuple(self.runs),
            start_ns=tuple(self.starts),
            plain_ns=tuple(self.plain),
            depth=depth,
            n_tokens=n_tokens,
            reps=reps,
            joins=tuple(joins),
        )


def _places_joined(pairs: Sequence[tuple[int, int]]) -> list[int]:
    """Give where each pair stands among the groups once all pairs are joined."""
    places, gone = [], 0
    for first, last in pairs:
        places.append(first - gone)
        gone += last - first
    return places


def config_of(look: Look, *, n_threads: int, flash_attn: str, repack: bool) -> RunConfig:
    """Give the setting of a look: a request's, since decode follows its own prefill."""
    return base_config(
        mode="request",
        n_prompt=look.n_prefill,
        n_gen=look.n_gen,
        n_depth=look.n_depth,
        n_ctx=look.n_depth + look.n_prefill + look.n_gen + _JOINED_STEPS,
        n_outputs_max=1,
        n_threads=n_threads,
        flash_attn=flash_attn,
        repack=repack,
    )


def collect(
    plain: Engine, observed: Observing, look: Look, *, n_threads: int, clock: Clock
) -> tuple[PhaseSeen, PhaseSeen]:
    """Look at a prefill and at decode steps after it; both engines have their context already.

    Raises:
        EngineError: the engine refused, or the nodes cannot be read.
    """
    bos, n_vocab = plain.bos_token, plain.n_vocab
    deep = prompt_tokens([], look.n_depth, bos=bos, n_vocab=n_vocab, seed=look.seed)
    prompt = prompt_tokens([], look.n_prefill, bos=None if deep else bos, n_vocab=n_vocab, seed=look.seed + 1)
    fed = random_tokens(look.n_gen + _JOINED_STEPS, n_vocab=n_vocab, seed=look.seed + 2)
    steps, more = fed[: look.n_gen], fed[look.n_gen :]
    n_tokens = len(deep) + len(prompt)
    start = Start(plain, deep)
    prefill, decode = _Phase(), _Phase()

    start.go(observed)
    prefill.describe(observed.describe(lambda: observed.prefill(prompt)))
    for token in steps:
        decode.describe(observed.describe(_step(observed, token)))
    _plain_run(plain, start, prompt, steps, clock)

    def look_closely() -> None:
        start.go(observed)
        prefill.time(observed, lambda: observed.prefill(prompt))
        for token in steps:
            decode.time(observed, _step(observed, token))
        expect(observed, n_tokens + len(steps))
        if n_threads > 1 and decode.pairs:
            for token in more:
                decode.time_joined(observed, _step(observed, token))
            expect(observed, n_tokens + len(fed))

    def look_away() -> None:
        prefill_ns, step_ns = _plain_run(plain, start, prompt, steps, clock)
        prefill.plain.append(prefill_ns)
        decode.plain.extend(step_ns)
        expect(plain, n_tokens + len(steps))

    gc.collect()
    gc.disable()
    try:
        for rep in range(look.reps):
            for run in (look_away, look_closely) if rep % 2 == 0 else (look_closely, look_away):
                run()
    finally:
        gc.enable()
    return prefill.seen(look.n_depth, look.n_prefill, look.reps), decode.seen(n_tokens, 1, look.reps)


def _plain_run(
    engine: Engine, start: Start, prompt: list[int], steps: list[int], clock: Clock
) -> tuple[int, list[int]]:
    start.go(engine)
    start_ns = clock()
    engine.prefill(prompt)
    prefill_ns = clock() - start_ns
    step_ns = []
    for token in steps:
        start_ns = clock()
        engine.decode(token)
        step_ns.append(clock() - start_ns)
    return prefill_ns, step_ns


def _step(engine: Engine, token: int) -> Callable[[], None]:
    return lambda: engine.decode(token)
