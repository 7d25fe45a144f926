"""The observing loop on a scripted engine: what is asked of it in which order, and the constants that come out."""

import pytest

from profiler.engine import EngineError
from profiler.operators.collect import config_of, observe
from profiler.operators.correct import Constants, constants_of, totals_of
from profiler.operators.records import ObservationSettings, PhaseObservation
from profiler.operators.summary import break_down
from tests.support.nodes import ObservedFake, graph
from tests.support.scripted_engine import FakeClock, FakeEngine, Script

SETTINGS = ObservationSettings(n_prefill=6, n_depth=0, n_gen=3, reps=2, seed=0)


def observed_phases(
    settings: ObservationSettings = SETTINGS, n_threads: int = 1
) -> tuple[FakeEngine, ObservedFake, PhaseObservation, PhaseObservation]:
    clock = FakeClock()
    plain = FakeEngine(clock, Script(decode_ns=1900, decode_ns_per_depth=0, prefill_ns_per_token=300))
    observed = ObservedFake(clock, graph())
    prefill, decode = observe(plain, observed, settings, n_threads=n_threads, clock=clock)
    return plain, observed, prefill, decode


def test_each_observed_run_is_paired_with_a_plain_one() -> None:
    plain, observed, prefill, decode = observed_phases()
    one = ["clear", "prefill 6 at 0", "decode at 6", "decode at 7", "decode at 8"]
    described = ["clear", "describe", "prefill 6 at 0", "describe", "decode at 6", "describe", "decode at 7"]
    assert plain.calls == one * 3  # one warms up
    assert observed.calls == [*described, "describe", "decode at 8", *one, *one]
    assert (len(prefill.group_ns), len(prefill.plain_ns)) == (2, 2)
    assert (len(decode.group_ns), len(decode.plain_ns)) == (6, 6)
    assert prefill.plain_ns == (1800, 1800)
    assert set(decode.plain_ns) == {1900}
    assert (prefill.depth, prefill.n_tokens, decode.depth, decode.n_tokens) == (0, 6, 6, 1)


def test_a_depth_is_filled_once_and_restored() -> None:
    plain, observed, prefill, decode = observed_phases(
        ObservationSettings(n_prefill=6, n_depth=9, n_gen=1, reps=1, seed=0)
    )
    assert plain.calls[:3] == ["clear", "prefill 9 at 0", "snapshot at 9"]
    assert observed.calls.count("restore to 9") == 2
    assert "clear" not in observed.calls
    assert (prefill.depth, decode.depth) == (9, 15)


def test_a_cache_that_loses_tokens_is_found() -> None:
    clock = FakeClock()
    plain = FakeEngine(clock, Script(lose_tokens=1))
    with pytest.raises(EngineError, match="the cache holds 8 tokens, expected 9"):
        observe(plain, ObservedFake(clock, graph()), SETTINGS, n_threads=1, clock=clock)


def test_a_graph_that_changes_is_refused() -> None:
    class Changing(ObservedFake):
        def describe(self, call):  # type: ignore[no-untyped-def]
            nodes = super().describe(call)
            self.nodes = nodes[:-1]
            return nodes

    clock = FakeClock()
    with pytest.raises(EngineError, match="graph changes"):
        observe(FakeEngine(clock), Changing(clock, graph()), SETTINGS, n_threads=1, clock=clock)


def test_the_constant_is_what_nodes_that_do_nothing_take() -> None:
    _, _, _, decode = observed_phases()
    constants = constants_of(decode)
    assert constants == Constants(noop_ns=7, n_noops=4, threaded_ns=7, n_joins=0)
    sums = totals_of(decode, constants)
    # 19 working nodes of 100 ns in 20 groups, 7 ns each for being observed.
    assert (sums.raw_ns, sums.correction_ns, sums.corrected_ns) == (1900 + 140, 140, 1900)
    assert (sums.plain_ns, sums.gap, sums.gap_lowest, sums.gap_highest) == (1900, 0, 0, 0)
    assert sums.quiet_ns == 1900


def test_with_threads_the_constant_is_what_neighbours_save_together() -> None:
    _, observed, _, decode = observed_phases(n_threads=2)
    assert observed.calls[-4:] == ["decode at 9", "decode at 10", "decode at 11", "decode at 12"]
    assert [(join.first, join.last, set(join.together_ns)) for join in decode.joins] == [
        (3, 5, {207}),
        (12, 13, {307}),
        (17, 18, {307}),
    ]
    assert constants_of(decode) == Constants(noop_ns=7, n_noops=4, threaded_ns=7, n_joins=3)


def phase(*, reps: int = 1, runs: list[tuple[int, ...]], plain: list[int]) -> PhaseObservation:
    _, _, _, decode = observed_phases()
    groups = tuple(group for group in decode.groups if group.op in ("RESHAPE", "MUL_MAT"))[:3]
    assert [group.op for group in groups] == ["MUL_MAT", "RESHAPE", "RESHAPE"]
    return PhaseObservation(
        groups=groups,
        group_ns=tuple(runs),
        start_ns=(0, 1, 2),
        plain_ns=tuple(plain),
        depth=0,
        n_tokens=1,
        reps=reps,
    )


def test_the_gap_is_that_of_the_middle_pair() -> None:
    seen = phase(reps=3, runs=[(110, 10, 10), (210, 10, 10), (310, 10, 10)], plain=[100, 160, 400])
    constants = constants_of(seen)
    assert constants.noop_ns == 10
    sums = totals_of(seen, constants)
    assert (sums.raw_ns, sums.corrected_ns, sums.plain_ns) == (230, 200, 160)
    assert (sums.gap, sums.gap_lowest, sums.gap_highest) == (0.0, -0.25, 0.25)


def test_nothing_is_scaled_to_the_known_total() -> None:
    seen = phase(runs=[(1010, 10, 10)], plain=[500])
    (row,) = break_down(seen, constants_of(seen)).operators
    assert (row.name, row.ns, row.share) == ("MUL_MAT", 1000, 1.0)


def test_rates_and_the_distance_from_the_ceiling() -> None:
    seen = phase(runs=[(1010, 10, 10)], plain=[1000])
    found = break_down(seen, constants_of(seen), ceiling_bytes_per_s=903e9)
    (row,) = found.operators
    n_bytes = 896 * 896 // 32 * 18 + 2 * 896 * 4  # the weights of q4_0, and the floats in and out
    assert (row.n_bytes, row.n_flops) == (n_bytes, 2 * 896 * 896)
    assert row.bytes_per_s == pytest.approx(n_bytes * 1e6)
    assert row.flops_per_s == pytest.approx(2 * 896 * 896 * 1e6)
    assert row.of_ceiling == pytest.approx(n_bytes * 1e6 / 903e9)
    assert [layer.layer for layer in found.layers] == [0]
    assert found.layers[0].modules == {"attention": 1000}


def test_a_graph_without_nodes_that_do_nothing_is_not_corrected() -> None:
    seen = phase(runs=[(1000,)], plain=[1000])
    no_noops = PhaseObservation(
        groups=seen.groups[:1],
        group_ns=((1000,),),
        start_ns=(0,),
        plain_ns=(1000,),
        depth=0,
        n_tokens=1,
        reps=1,
    )
    assert constants_of(no_noops) == Constants(noop_ns=0, n_noops=0, threaded_ns=0)


def test_the_cache_has_room_for_every_step() -> None:
    config = config_of(SETTINGS, n_threads=2, flash_attn="auto", repack=True)
    assert (config.n_ctx, config.mode, config.n_outputs_max) == (6 + 3 + 4, "request", 1)
