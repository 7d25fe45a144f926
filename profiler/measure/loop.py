"""The measuring loop, short enough to read in one sitting.

Prefill is bound by arithmetic: all prompt tokens go through a layer at once. Decode is bound by memory: each token
reads every weight again. So they are timed separately, and each number carries the cache depth at which it was taken.

    load, context              timed once, before anything is warm
    warm-up                    one whole prefill and some decode steps, not counted
    for each repetition:
        read the conditions
        separate mode          empty cache (or the snapshot at n_depth), prefill n_prompt;
                               from there again, decode n_gen, each step timed on its own
        request mode           empty cache (or the snapshot), prefill n_prompt, choose the token: that is the TTFT;
                               go on with n_gen decode steps
        read the conditions

A sustained load repeats for a time instead, without a pause, and hands over each minute as soon as it is over.

The engine's calls return only when the work is done, the clock is monotonic in integer nanoseconds, n tokens are n
timed steps, and after every phase the loop checks how many tokens the cache really holds. Decode feeds a fixed
sequence, so no run ends early and choosing a token is not part of a decode step.
"""

import gc
from collections.abc import Callable
from pathlib import Path

import msgspec

from profiler.engine import Engine, not_finite
from profiler.measure.kv_state import StartState, expect, fill
from profiler.measure.workloads import prompt_tokens, random_tokens, read_text
from profiler.records.config import RunConfig
from profiler.records.energy import EnergyReading, EnergySpan
from profiler.records.round import Buffers, Conditions, InForce, Memory, Sample

WARMUP_DECODE_STEPS = 8
MINUTE_NS = 60_000_000_000
Clock = Callable[[], int]  # monotonic nanoseconds


class Tokens(msgspec.Struct, frozen=True):
    """The token ids of a measurement."""

    depth: list[int]  # in the cache before anything is timed
    prompt: list[int]
    fed: list[int]  # one per decode step


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What one process measured of one cell."""

    load_ns: int
    context_ns: int
    tokenize_ns: int
    warmup_ns: int
    samples: tuple[Sample, ...]
    memory: dict[str, Memory]
    buffers: Buffers
    in_force: InForce


class Probes(msgspec.Struct, frozen=True):
    """How the loop meets the world around it; tests pass their own."""

    memory: Callable[[], Memory]
    conditions: Callable[[], Conditions]
    energy: Callable[[], EnergyReading] | None = None
    on_minute: Callable[[Measured], None] = lambda measured: None  # gets each minute of a sustained load but the last


def measure(
    engine: Engine, path: Path, config: RunConfig, *, reps: int, seed: int, clock: Clock, probes: Probes
) -> Measured:
    """Load a model and time `reps` repetitions of one configuration, or a sustained load: its last minute is returned.

    Raises:
        EngineError: the engine refused, or the cache did not hold what it should.
    """
    memory = {"imported": probes.memory()}
    probe_ns = 0

    def before_weights() -> None:
        nonlocal probe_ns
        begun_ns = clock()
        memory["vocabulary"] = probes.memory()
        probe_ns = clock() - begun_ns

    start_ns = clock()
    engine.load(path, config, before_weights)
    load_ns = clock() - start_ns - probe_ns
    memory["loaded"] = probes.memory()
    start_ns = clock()
    engine.open_context(config)
    context_ns = clock() - start_ns
    memory["context"] = probes.memory()

    start_ns = clock()
    text = read_text(config.workload)
    text_tokens = engine.tokenize(text) if text else []
    tokenize_ns = clock() - start_ns
    tokens = _tokens(engine, config, text_tokens, seed)

    engine.place_work_buffer()
    start_ns = clock()
    fill(engine, tokens.depth, 0)
    fill(engine, tokens.prompt, len(tokens.depth))
    memory["prefilled"] = probes.memory()
    if config.mode == "separate" and tokens.prompt:
        fill(engine, tokens.depth, 0)
    if config.mode == "request":
        engine.greedy()
    for token in tokens.fed[:WARMUP_DECODE_STEPS]:
        engine.decode(token)
    # Read before the snapshot is made: the snapshot is this program's, not the model's.
    memory["decoded"] = probes.memory()
    if (tokens.depth or tokens.prompt or tokens.fed) and not engine.has_finite_logits():
        raise not_finite()
    start = StartState(engine, tokens.depth)
    warmup_ns = clock() - start_ns

    measured = Measured(
        load_ns=load_ns,
        context_ns=context_ns,
        tokenize_ns=tokenize_ns,
        warmup_ns=warmup_ns,
        samples=(),
        memory=memory,
        buffers=engine.buffers(),
        in_force=engine.in_force(),
    )

    def repeat() -> Sample:
        return _repeat(engine, config, start, tokens, clock, probes)

    def end_minute(minute: list[Sample]) -> None:
        probes.on_minute(msgspec.structs.replace(measured, samples=tuple(minute)))

    gc.collect()
    gc.disable()
    try:
        if config.sustain_s:
            samples = _sustain(repeat, config.sustain_s * 1_000_000_000, clock, end_minute)
        else:
            samples = [repeat() for _ in range(reps)]
    finally:
        gc.enable()
    return msgspec.structs.replace(measured, samples=tuple(samples))


def _sustain(
    repeat: Callable[[], Sample], sustain_ns: int, clock: Clock, end_minute: Callable[[list[Sample]], None]
) -> list[Sample]:
    """Repeat until the time is over; a repetition belongs to the minute in which it began. Return the last minute."""
    begun_ns = clock()
    minute: list[Sample] = []
    start_ns = 0
    while True:
        sample = repeat()
        end_ns = clock() - begun_ns
        minute.append(msgspec.structs.replace(sample, start_ns=start_ns, end_ns=end_ns))
        if end_ns >= sustain_ns:
            return minute
        if end_ns // MINUTE_NS > start_ns // MINUTE_NS:
            end_minute(minute)
            minute = []
        start_ns = end_ns


def _tokens(engine: Engine, config: RunConfig, text_tokens: list[int], seed: int) -> Tokens:
    bos, n_vocab = engine.bos_token, engine.n_vocab
    depth = prompt_tokens([], config.n_depth, bos=bos, n_vocab=n_vocab, seed=seed)
    # BOS comes once, at the start of the sequence.
    prompt = prompt_tokens(text_tokens, config.n_prompt, bos=None if depth else bos, n_vocab=n_vocab, seed=seed + 1)
    fed = random_tokens(config.n_gen, n_vocab=n_vocab, seed=seed + 2)
    if fed and bos is not None and not config.decode_depth:
        fed[0] = bos
    return Tokens(depth, prompt, fed)


def _repeat(
    engine: Engine, config: RunConfig, start: StartState, tokens: Tokens, clock: Clock, probes: Probes
) -> Sample:
    before = probes.conditions()
    prefill_ns = sample_ns = None
    start.restore(engine)
    prefill_energy = probes.energy() if probes.energy and config.mode == "request" else None
    if tokens.prompt:
        start_ns = clock()
        engine.prefill(tokens.prompt)
        prefill_ns = clock() - start_ns
        expect(engine, config.n_depth + len(tokens.prompt))
        if config.mode == "request":
            start_ns = clock()
            engine.greedy()
            sample_ns = clock() - start_ns
        elif tokens.fed:
            start.restore(engine)
    decode_ns = []
    energy_before = probes.energy() if probes.energy else None
    for token in tokens.fed:
        start_ns = clock()
        engine.decode(token)
        decode_ns.append(clock() - start_ns)
    energy_after = probes.energy() if probes.energy else None
    if tokens.fed:
        expect(engine, config.decode_depth + len(tokens.fed))
    return Sample(
        prefill_ns=prefill_ns,
        sample_ns=sample_ns,
        decode_ns=tuple(decode_ns),
        before=before,
        after=probes.conditions(),
        decode_energy=EnergySpan(before=energy_before, after=energy_after) if energy_before and energy_after else None,
        prefill_energy=prefill_energy,
    )
