"""Predictions drop what is out of reach, and nothing else."""

from profiler.pick.candidates import Candidates
from profiler.pick.predicted import with_predictions
from profiler.pick.records import Entry
from profiler.predict.speed import Load, Speeds
from profiler.recommend.records import Limits
from profiler.records.span import Span

LOAD = Load(n_prompt=128, n_gen=128, n_depth=0, is_request=True, n_threads=1, n_threads_batch=1)
DECODE = {"Q8_0": 10.0, "Q4_0": 20.0}
GAIN = {1: 1.0, 2: 1.2, 4: 3.0}


def speeds(decode: float) -> Speeds:
    """A decode rate, ten times of it in prefill, each within a fifth."""
    spans = [Span(value, value / 1.2, value * 1.2, "estimate") for value in (10 * decode, decode, 12_800 / decode)]
    return Speeds(load=LOAD, prefill_tps=spans[0], decode_tps=spans[1], ttft_ms=spans[2])


def candidates() -> tuple[Candidates, dict[str, Speeds]]:
    entries = tuple(
        Entry(key=f"{level} t{n}", level=level, n_threads=n, n_threads_batch=n, bpw=5.0, file_bytes=100)
        for level in DECODE
        for n in GAIN
    )
    found = {each.key: speeds(DECODE[each.level] * GAIN[each.n_threads]) for each in entries}
    return Candidates(model="m", synthetic=False, entries=entries, configs={}, dropped=()), found


def keys(found: Candidates) -> list[str]:
    return [each.key for each in found.entries]


def test_thread_counts_far_behind_are_dropped_and_the_fastest_level_comes_first() -> None:
    there, found = candidates()
    assert keys(with_predictions(there, found, Limits())) == ["Q4_0 t4", "Q8_0 t4"]
    del found["Q4_0 t1"]  # not calibrated: nothing is said
    racing = with_predictions(there, found, Limits())
    assert keys(racing) == ["Q4_0 t1", "Q4_0 t4", "Q8_0 t4"]
    assert [each.predicted_tps for each in racing.entries] == [None, 60.0, 30.0]


def test_limits_drop_only_what_the_whole_range_misses() -> None:
    there, found = candidates()
    assert keys(with_predictions(there, found, Limits(min_decode_tps=35.0))) == ["Q4_0 t4", "Q8_0 t4"]  # 36 at most
    for limits in (Limits(min_decode_tps=40.0), Limits(min_prefill_tps=400.0), Limits(max_ttft_ms=300.0)):
        racing = with_predictions(there, found, limits)
        assert keys(racing) == ["Q4_0 t4"]
        (dropped,) = racing.dropped
        assert dropped.level == "Q8_0"
        assert "predicted" in dropped.why
    assert with_predictions(there, found, Limits(min_decode_tps=1000.0)).entries == ()
    assert with_predictions(there, {}, Limits(min_decode_tps=1000.0)).entries == there.entries
