"""The observing loop: the same prefill and the same decode steps, with and without an observer, in turn.

    describe                  one run of each phase in which every node is read, which also warms everything up
    for each repetition:
        plain, then observed  (every other time the other way round): the cache restored to the requested depth,
                              a prefill, and from there the decode steps
        with several threads  a few more decode steps in which small neighbours are computed together

Names, shapes and costs are read in the describing runs only: in a timed one the callback takes two clock readings per
node. Decode steps that differ in the cache's length are described one by one, and their bytes averaged.
"""

import gc
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from profiler.engine import Engine, EngineError
from profiler.measure.kv_state import StartState, expect
from profiler.measure.workloads import prompt_tokens, random_tokens
from profiler.operators.group import ends_of_groups, ends_when_joined, groups_of, joins_of
from profiler.operators.records import Group, Join, ObservationSettings, PhaseObservation
from profiler.records.config import RunConfig, base_config
from profiler.records.graph import Node

Clock = Callable[[], int]
_JOINED_STEPS = 4  # per repetition


class Observing(Engine, Protocol):
    """An engine whose nodes can be observed."""

    def describe(self, call: Callable[[], None]) -> list[Node]:
        """Do a call and return the nodes that were computed in it."""

    def time(self, call: Callable[[], None], ends_group: Sequence[bool]) -> tuple[list[int], list[int]]:
        """Do a call and return when each group of nodes began and ended."""


def config_of(settings: ObservationSettings, *, n_threads: int, flash_attn: str, repack: bool) -> RunConfig:
    """Return the engine's settings: a request's, since decode follows its own prefill."""
    return base_config(
        mode="request",
        n_prompt=settings.n_prefill,
        n_gen=settings.n_gen,
        n_depth=settings.n_depth,
        n_ctx=settings.n_depth + settings.n_prefill + settings.n_gen + _JOINED_STEPS,
        n_outputs_max=1,
        n_threads=n_threads,
        flash_attn=flash_attn,
        repack=repack,
    )


def observe(
    plain: Engine, observed: Observing, settings: ObservationSettings, *, n_threads: int, clock: Clock
) -> tuple[PhaseObservation, PhaseObservation]:
    """Observe a prefill and the decode steps after it; both engines have their context already.

    Raises:
        EngineError: the engine failed, or the nodes cannot be read.
    """
    loop = _Loop(plain, observed, settings, n_threads=n_threads, clock=clock)
    loop.describe()
    loop.run_plain()  # warms up
    gc.collect()
    gc.disable()
    try:
        for rep in range(settings.reps):
            for run in (loop.time_plain, loop.time_observed)[:: 1 if rep % 2 == 0 else -1]:
                run()
    finally:
        gc.enable()
    return loop.observations()


class _Loop:
    """The tokens of every run, and what has been observed of its two phases."""

    def __init__(
        self, plain: Engine, observed: Observing, settings: ObservationSettings, *, n_threads: int, clock: Clock
    ) -> None:
        self._plain, self._observed, self._settings = plain, observed, settings
        self._n_threads, self._clock = n_threads, clock
        bos, n_vocab, seed = plain.bos_token, plain.n_vocab, settings.seed
        deep = prompt_tokens([], settings.n_depth, bos=bos, n_vocab=n_vocab, seed=seed)
        self._prompt = prompt_tokens([], settings.n_prefill, bos=None if deep else bos, n_vocab=n_vocab, seed=seed + 1)
        tokens = random_tokens(settings.n_gen + _JOINED_STEPS, n_vocab=n_vocab, seed=seed + 2)
        self._steps, self._joined_steps = tokens[: settings.n_gen], tokens[settings.n_gen :]
        self._depth = len(deep) + len(self._prompt)  # where decode begins
        self._start = StartState(plain, deep)
        self._prefill, self._decode = _Phase(), _Phase()

    def describe(self) -> None:
        """Read every node of each phase."""
        engine = self._observed
        self._start.restore(engine)
        self._prefill.describe(engine.describe(lambda: engine.prefill(self._prompt)))
        for token in self._steps:
            self._decode.describe(engine.describe(_step(engine, token)))

    def run_plain(self) -> tuple[int, list[int]]:
        """Return the nanoseconds of the prefill and of each decode step, without an observer."""
        self._start.restore(self._plain)
        prefill_ns = self._took_ns(lambda: self._plain.prefill(self._prompt))
        return prefill_ns, [self._took_ns(_step(self._plain, token)) for token in self._steps]

    def _took_ns(self, call: Callable[[], None]) -> int:
        start_ns = self._clock()
        call()
        return self._clock() - start_ns

    def time_plain(self) -> None:
        """Time a repetition without an observer."""
        prefill_ns, step_ns = self.run_plain()
        self._prefill.plain_ns.append(prefill_ns)
        self._decode.plain_ns.extend(step_ns)
        expect(self._plain, self._depth + len(self._steps))

    def time_observed(self) -> None:
        """Time the nodes of a repetition."""
        engine = self._observed
        self._start.restore(engine)
        self._prefill.time(engine, lambda: engine.prefill(self._prompt))
        for token in self._steps:
            self._decode.time(engine, _step(engine, token))
        n_tokens = self._depth + len(self._steps)
        expect(engine, n_tokens)
        if self._n_threads > 1 and self._decode.pairs:
            for token in self._joined_steps:
                self._decode.time_joined(engine, _step(engine, token))
            expect(engine, n_tokens + len(self._joined_steps))

    def observations(self) -> tuple[PhaseObservation, PhaseObservation]:
        """Return what was observed of prefill and decode."""
        settings = self._settings
        return (
            self._prefill.observation(settings.n_depth, settings.n_prefill, settings.reps),
            self._decode.observation(self._depth, 1, settings.reps),
        )


def _step(engine: Engine, token: int) -> Callable[[], None]:
    return lambda: engine.decode(token)


class _Phase:
    """What has been observed of one phase."""

    def __init__(self) -> None:
        self.ends_group: list[bool] = []  # for each node
        self.groups: list[Group] = []
        self.pairs: list[tuple[int, int]] = []  # of groups that are also computed together
        self.run_ns: list[tuple[int, ...]] = []  # per run, for each group
        self.start_ns: list[int] = []  # of each group in the fastest run
        self.plain_ns: list[int] = []
        self.joined_ns: list[list[int]] = []  # per run, for each pair
        self._bytes: list[tuple[int, ...]] = []  # per description, for each group

    def describe(self, nodes: list[Node]) -> None:
        groups = groups_of(nodes)
        if self.groups and [group.op for group in groups] != [group.op for group in self.groups]:
            raise EngineError(
                "decode", "this model's graph changes from step to step, so its operators cannot be timed"
            )
        self.ends_group, self.groups = ends_of_groups(nodes), groups
        self.pairs = joins_of(groups)
        self._bytes.append(tuple(group.n_bytes for group in groups))

    def time(self, engine: Observing, call: Callable[[], None]) -> None:
        starts, ends = engine.time(call, self.ends_group)
        took_ns = tuple(end - start for start, end in zip(starts, ends, strict=True))
        if not self.run_ns or sum(took_ns) < min(map(sum, self.run_ns)):
            self.start_ns = [start - starts[0] for start in starts]
        self.run_ns.append(took_ns)

    def time_joined(self, engine: Observing, call: Callable[[], None]) -> None:
        starts, ends = engine.time(call, ends_when_joined(self.ends_group, self.pairs))
        took_ns = [end - start for start, end in zip(starts, ends, strict=True)]
        self.joined_ns.append([took_ns[index] for index in _indices_when_joined(self.pairs)])

    def observation(self, depth: int, n_tokens: int, reps: int) -> PhaseObservation:
        means = [round(sum(each) / len(each)) for each in zip(*self._bytes, strict=True)]
        groups = (msgspec.structs.replace(group, n_bytes=mean) for group, mean in zip(self.groups, means, strict=True))
        joins = (
            Join(first=first, last=last, together_ns=samples)
            for (first, last), samples in zip(self.pairs, zip(*self.joined_ns, strict=True), strict=False)
        )
        return PhaseObservation(
            groups=tuple(groups),
            group_ns=tuple(self.run_ns),
            start_ns=tuple(self.start_ns),
            plain_ns=tuple(self.plain_ns),
            depth=depth,
            n_tokens=n_tokens,
            reps=reps,
            joins=tuple(joins),
        )


def _indices_when_joined(pairs: Sequence[tuple[int, int]]) -> list[int]:
    """Return the index of each pair among the groups once all pairs are joined."""
    indices, n_merged = [], 0
    for first, last in pairs:
        indices.append(first - n_merged)
        n_merged += last - first
    return indices
