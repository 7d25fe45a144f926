"""The measuring loop on a scripted engine and its clock: what is timed, and in which order."""

from pathlib import Path

import pytest

from profiler.engine import EngineError
from profiler.measure.loop import WARMUP_DECODE_STEPS, Measured, Probes, measure
from profiler.records.round import Conditions, Memory
from tests.support.cells import config
from tests.support.scripted_engine import FakeClock, FakeEngine, Script

NO_FILE = Path("no such file")


def run(script: Script | None = None, reps: int = 2, **changes: object) -> tuple[Measured, FakeEngine]:
    clock = FakeClock()
    engine = FakeEngine(clock, script)
    reads: list[int] = []

    def conditions() -> Conditions:
        reads.append(clock.now_ns)
        return Conditions(load_1m=float(len(reads)))

    def memory() -> Memory:
        return Memory(rss_bytes=clock.now_ns)

    found = measure(
        engine, NO_FILE, config(**changes), reps=reps, seed=5, clock=clock, probes=Probes(memory, conditions)
    )
    return found, engine


def test_separate_mode_times_prefill_and_decode_each_from_the_same_depth() -> None:
    found, engine = run(reps=1)
    (sample,) = found.samples
    assert sample.prefill_ns == 6 * 10
    assert sample.sample_ns is None
    # Every step costs 50 and 1 more per token in the cache; decode starts from an empty cache, not after the prompt.
    assert sample.decode_ns == (50, 51, 52, 53)
    assert engine.calls[-7:] == [
        "clear",
        "prefill 6 at 0",
        "clear",
        "decode at 0",
        "decode at 1",
        "decode at 2",
        "decode at 3",
    ]


def test_request_mode_decodes_after_its_own_prefill_and_times_the_choice() -> None:
    found, engine = run(mode="request", reps=3)
    for sample in found.samples:
        assert sample.prefill_ns == 60
        assert sample.sample_ns == 3
        assert sample.decode_ns == (56, 57, 58, 59)
    assert engine.calls[-7:] == [
        "clear",
        "prefill 6 at 0",
        "greedy",
        "decode at 6",
        "decode at 7",
        "decode at 8",
        "decode at 9",
    ]


def test_depth_is_restored_from_a_snapshot_and_the_restoring_is_not_counted() -> None:
    found, engine = run(n_depth=20, reps=2)
    for sample in found.samples:
        assert sample.prefill_ns == 60
        assert sample.decode_ns == (70, 71, 72, 73)
    assert engine.calls.count("snapshot at 20") == 1
    assert engine.calls.count("restore to 20") == 4  # before prefill and before decode, in both repetitions


def test_request_at_depth_decodes_from_depth_and_prompt() -> None:
    found, _ = run(mode="request", n_depth=20, reps=1)
    assert found.samples[0].decode_ns == (76, 77, 78, 79)


def test_warm_up_is_a_whole_prefill_and_some_decode_steps() -> None:
    _, engine = run(n_gen=100, reps=1)
    first_rep = engine.calls.index("prefill 6 at 0", engine.calls.index("prefill 6 at 0") + 1)
    warm_up = engine.calls[:first_rep]
    assert "prefill 6 at 0" in warm_up
    assert sum(call.startswith("decode") for call in warm_up) == WARMUP_DECODE_STEPS


def test_only_what_was_asked_is_measured() -> None:
    prefill_only, engine = run(n_gen=0, reps=1)
    assert prefill_only.samples[0].decode_ns == ()
    assert not any(call.startswith("decode") for call in engine.calls)
    decode_only, engine = run(n_prompt=0, reps=1)
    assert decode_only.samples[0].prefill_ns is None
    assert not any(call.startswith("prefill") for call in engine.calls)


def test_load_and_context_are_timed_apart() -> None:
    found, _ = run()
    assert (found.load_ns, found.context_ns, found.tokenize_ns) == (1000, 100, 0)
    # Memory is read between the phases: at 0, after the load, after the context, after the warm-up's prefill.
    assert found.memory["imported"].rss_bytes == 0
    assert found.memory["loaded"].rss_bytes == 1000
    assert found.memory["context"].rss_bytes == 1100
    assert found.memory["prefilled"].rss_bytes == 1160
    assert list(found.memory) == ["imported", "vocabulary", "loaded", "context", "prefilled", "decoded"]


def test_conditions_are_read_around_every_repetition() -> None:
    found, _ = run(reps=2)
    loads = [(sample.before.load_1m, sample.after.load_1m) for sample in found.samples]
    assert loads == [(1.0, 2.0), (3.0, 4.0)]


def test_a_cache_that_lost_tokens_is_an_error_and_no_number() -> None:
    with pytest.raises(EngineError, match="holds 5 tokens, expected 6") as caught:
        run(Script(lose_tokens=1))
    assert caught.value.kind == "decode"


def test_logits_that_are_no_numbers_are_an_error_and_no_number() -> None:
    with pytest.raises(EngineError, match="no numbers") as caught:
        run(Script(finite=False))
    assert caught.value.kind == "values"


def test_bos_stands_once_at_the_start_of_the_sequence() -> None:
    class Recorder(FakeEngine):
        def __init__(self, clock: FakeClock) -> None:
            super().__init__(clock)
            self.seen: list[list[int]] = []

        def prefill(self, tokens: list[int]) -> None:  # type: ignore[override]
            self.seen.append(list(tokens))
            super().prefill(tokens)

    clock = FakeClock()
    engine = Recorder(clock)
    probes = Probes(Memory, Conditions)
    measure(engine, NO_FILE, config(n_depth=3), reps=1, seed=5, clock=clock, probes=probes)
    deep, prompt = engine.seen[0], engine.seen[1]
    assert deep[0] == 1
    assert len(prompt) == 6
    assert engine.seen[-1] == prompt  # every repetition reads the same tokens


def test_a_text_workload_reads_its_text_cut_to_the_count() -> None:
    class Recorder(FakeEngine):
        def prefill(self, tokens: list[int]) -> None:  # type: ignore[override]
            self.last = list(tokens)
            super().prefill(tokens)

    clock = FakeClock()
    engine = Recorder(clock)
    changes = {"workload": "chat", "mode": "request", "n_prompt": 20}
    measure(engine, NO_FILE, config(**changes), reps=1, seed=5, clock=clock, probes=Probes(Memory, Conditions))
    from profiler.measure.workloads import read_text

    assert engine.last == [1, *engine.tokenize(read_text("chat") or "")[:19]]


def test_a_sustained_load_repeats_until_the_time_is_over_and_sends_each_minute() -> None:
    clock = FakeClock()
    minutes: list[Measured] = []
    script = Script(decode_ns=5_000_000_000, decode_ns_per_depth=0)  # a request takes twenty seconds
    last = measure(
        FakeEngine(clock, script),
        NO_FILE,
        config(mode="request", sustain_s=100),
        reps=1,
        seed=5,
        clock=clock,
        probes=Probes(Memory, Conditions, on_minute=minutes.append),
    )
    starts = [[round((sample.start_ns or 0) / 1e9) for sample in each.samples] for each in (*minutes, last)]
    assert starts == [[0, 20, 40], [60, 80]]
    assert [sample.timed_ns for sample in last.samples] == [20_000_000_063] * 2
