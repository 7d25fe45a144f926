"""The survey's questions on planted figures: each answer is the planted one, and is as sure as the ranges are."""

import msgspec
import pytest

from plots.survey.answers import (
    architecture_answer,
    head_answer,
    levels_answer,
    memory_answer,
    pair_answer,
    throttle_answer,
)
from plots.survey.fits import fit
from plots.survey.plan import PAIR
from plots.survey.records import Sweeps
from profiler.records.cell_summary import State, Sustained
from profiler.records.span import Span
from tests.support.summaries import summary
from tests.support.surveys import near, point, shares

SIZES = {"smollm-135m": 134.5, "openelm-270m": 271.5, "smollm-360m": 361.8, "qwen1.5-0.5b": 464.0, "qwen2-0.5b": 494.0,
         "bloom-560m": 559.2, "phi-1.5": 1418.3, "qwen2-1.5b": 1543.7}  # fmt: skip


def proportional(factors: dict[str, float] | None = None) -> list:
    """Models whose time is a tenth of a millisecond per million parameters, some slower by a factor."""
    return [point(name, size, near(size / 10 * (factors or {}).get(name, 1.0))) for name, size in SIZES.items()]


def test_memory_on_a_line_is_linear_and_its_slope_is_the_planted_one() -> None:
    found = memory_answer(proportional())
    assert found.verdict.startswith("Yes: ")
    assert found.basis == "measured"
    assert "takes 1.0" in found.reasons[0]


def test_memory_far_from_a_line_is_not_linear() -> None:
    points = [
        point(name, size, None, memory_mib=near(1000 if place % 2 else 100))
        for place, (name, size) in enumerate(SIZES.items())
    ]
    assert memory_answer(points).verdict.startswith("No: ")


@pytest.mark.parametrize(
    ("first_ms", "second_ms", "share", "verdict"),
    [
        (20.0, 24.0, 0.01, "Yes, 1.20 times as fast; also by unique parameters"),
        (20.0, 20.6, 0.01, "Yes, 1.03 times as fast; not by unique parameters"),
        (20.0, 24.0, 0.18, "A tie, 1.20 times as fast; by unique parameters it is a tie"),
        (24.0, 20.0, 0.01, "No, 0.83 times as fast; not by unique parameters"),
    ],
)
def test_the_pair_is_ranked_only_where_the_ranges_allow_it(
    first_ms: float, second_ms: float, share: float, verdict: str
) -> None:
    points = [point(PAIR[0], 464.0, near(first_ms, share)), point(PAIR[1], 494.0, near(second_ms, share))]
    assert pair_answer(points, PAIR).verdict == verdict


def test_a_pair_without_a_speed_has_no_answer() -> None:
    found = pair_answer([point(PAIR[0], 464.0, near(20.0)), point(PAIR[1], 494.0, None)], PAIR)
    assert found.basis == "no figures"
    assert "1.13 times" in found.published  # 23.1 / 20.4 ms


def test_one_slow_architecture_is_found_among_models_of_its_size() -> None:
    assert architecture_answer(proportional()).verdict.startswith("0% of the variance")
    found = architecture_answer(proportional({"qwen2-0.5b": 2.0}))
    assert "2.00 times the time per parameter" in found.verdict
    (decode,) = [reason for reason in found.reasons if reason.endswith(": decode.")]
    assert decode.index("Qwen2-0.5B") < decode.index("takes") < decode.rindex("as long per parameter as")


def test_predicted_points_are_named_as_such() -> None:
    points = proportional()
    mixed = [
        *points[:5],
        *(point(each.model, each.n_params / 1e6, each.decode_ms, kind="predicted") for each in points[5:]),
    ]
    assert architecture_answer(mixed).basis == "5 measured, 3 predicted"


def level(name: str, decode_ms: Span, kind: str = "measured") -> object:
    return point("phi-1.5", 1418.3, decode_ms, level=name, kind=kind)


def test_levels_that_overlap_are_a_tie_and_predictions_do_not_beat_measurements() -> None:
    levels = [level("F16", near(90.0)), level("Q8_0", near(50.0)), level("Q4_K_M", near(50.4)),
              level("Q3_K_M", near(10.0, 0.18, "estimate"), kind="predicted")]  # fmt: skip
    found = levels_answer(levels)
    assert found.verdict == "Q8_0 or Q4_K_M in prefill; Q8_0 or Q4_K_M in decode"
    assert found.basis == "measured"
    alike = [level("F16", near(50.0)), level("Q8_0", near(50.1))]
    assert levels_answer(alike).verdict == "No level for sure in prefill; no level for sure in decode"


def test_the_head_s_share_has_its_interval() -> None:
    found = head_answer([shares(PAIR[0], "decode", LM_head=0.30), shares(PAIR[1], "decode", LM_head=0.20)])
    assert found.verdict == "20% to 30% of decode"
    assert "95 % interval 27.0% to 33.0%" in found.reasons[0]
    assert head_answer([]).basis == "no figures"


def test_throttling_in_short_rounds_is_reported_and_sustained_load_is_said_to_be_unmeasured() -> None:
    sweeps = {"n_drifting": 0, "hottest_c": 84.0, "mhz": None, "n_cells": 7}
    assert throttle_answer(Sweeps(n_throttled=2, **sweeps)).verdict.startswith("Yes")
    calm = throttle_answer(Sweeps(n_throttled=0, **sweeps))
    assert calm.basis == "measured, not sustained"
    assert calm.reasons[0].startswith("Sustained inference was not measured.")


def state(**changes: object) -> State:
    return State(n_requests=9, output_tps=20.0, prefill_tps=50.0, decode_tps=25.0, itl_p50_ms=40.0, **changes)


@pytest.mark.parametrize(
    ("change", "throttle", "verdict"),
    [
        (Span(-0.2, -0.22, -0.18, "interval"), (), "Decode becomes slower by 20%"),
        (Span(-0.01, -0.02, -0.005, "interval"), (), "No: "),
        (Span(-0.2, -0.5, 0.1, "min-max"), (), "No: "),
        (Span(-0.2, -0.22, -0.18, "interval"), ("temperature",), "Yes, the system reports temperature"),
    ],
)
def test_a_sustained_load_answers_whether_it_throttles(change: Span, throttle: tuple[str, ...], verdict: str) -> None:
    first = state(temperature_c=50.0, mhz=2400.0)
    steady = state(temperature_c=84.0, mhz=1800.0, throttle=throttle)
    found = Sustained(lasted_s=300.0, n_minutes=5, steady_from_s=120.0, is_steady=False, first=first, steady=steady,
                      decode_change=change)  # fmt: skip
    answer = throttle_answer(Sweeps(n_cells=0, n_throttled=0, n_drifting=0, hottest_c=None, mhz=None),
                             msgspec.structs.replace(summary(), sustained=found))  # fmt: skip
    assert answer.verdict.startswith(verdict)
    assert answer.basis == "measured"
    assert "for 5 minutes" in answer.reasons[0]
    assert "The hottest reading went from 50 to 84 °C." in answer.reasons
    assert "The speed still changed at the end." in answer.reasons


def test_a_fit_is_the_same_twice_and_its_interval_holds_the_line() -> None:
    figures = [near(2 * x + 5, 0.05) for x in range(1, 9)]
    found = fit(list(range(1, 9)), figures)
    assert found == fit(list(range(1, 9)), figures)
    assert found.line.slope == pytest.approx(2)
    assert found.slope.lo < 2 < found.slope.hi
    assert fit([1, 2, 3], figures[:3]) is None
