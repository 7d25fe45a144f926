"""Medians, intervals, outliers and trends against numbers that were worked out by hand."""

import math
import random
import statistics
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profiler.analysis.stats import INTERVAL_ROUNDS, median, median_interval, outliers, quantile, quantiles_ns, rank_of
from profiler.records.span import Span
from quant.base.ints import MOST

# n, the rank k of the interval's ends, and the number of the 2^n outcomes of n coin flips with fewer than k heads.
RANKS = [
    (6, 1, 1),
    (7, 1, 1),
    (8, 1, 1),
    (9, 2, 1 + 9),
    (10, 2, 1 + 10),
    (11, 2, 1 + 11),
    (12, 3, 1 + 12 + 66),
    (13, 3, 1 + 13 + 78),
    (14, 3, 1 + 14 + 91),
    (15, 4, 1 + 15 + 105 + 455),
    (16, 4, 1 + 16 + 120 + 560),
    (17, 5, 1 + 17 + 136 + 680 + 2380),
    (18, 5, 1 + 18 + 153 + 816 + 3060),
    (19, 5, 1 + 19 + 171 + 969 + 3876),
    (20, 6, 1 + 20 + 190 + 1140 + 4845 + 15504),
]


@pytest.mark.parametrize(
    ("values", "middle"), [([3], 3), ([5, 1, 3], 3), ([4, 1, 3, 2], 2.5), ([7, 7], 7), ([1.5, -2.0], -0.25)]
)
def test_the_median_is_the_middle_or_the_mean_of_the_two_middle_ones(values: list[float], middle: float) -> None:
    assert median(values) == middle


def test_of_nothing_there_is_no_median_and_no_quantile() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        median([])
    with pytest.raises(ValueError, match="at least one value"):
        quantile([], 0.5)


@pytest.mark.parametrize(
    ("fraction", "value"), [(0.0, 10), (0.25, 17.5), (0.5, 25), (0.95, 38.5), (0.99, 39.7), (1.0, 40)]
)
def test_a_quantile_is_interpolated_between_the_closest_ranks(fraction: float, value: float) -> None:
    # Type 7: place = fraction · (n - 1), here 0, 0.75, 1.5, 2.85, 2.97 and 3.
    assert quantile([40, 10, 30, 20], fraction) == pytest.approx(value, rel=1e-12)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30))
def test_quantiles_are_those_of_the_standard_library(values: list[float]) -> None:
    percentiles = statistics.quantiles(values, n=100, method="inclusive")
    for percent in (1, 25, 50, 95, 99):
        assert quantile(values, percent / 100) == pytest.approx(percentiles[percent - 1], rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(("n", "k", "n_outside"), RANKS)
def test_the_interval_has_the_ranks_and_the_coverage_of_the_sign_test(n: int, k: int, n_outside: int) -> None:
    values = list(range(1, n + 1))
    random.Random(n).shuffle(values)
    found = median_interval(values)
    assert found == Span((n + 1) / 2, k, n + 1 - k, "interval", (1, n))
    assert rank_of(n, 0.95) == (k, 1 - 2 * n_outside / 2**n)
    assert 1 - 2 * n_outside / 2**n >= 0.95


@pytest.mark.parametrize(("n", "k", "n_outside"), RANKS)
def test_the_next_narrower_interval_would_cover_too_little(n: int, k: int, n_outside: int) -> None:
    assert 1 - 2 * (n_outside + math.comb(n, k)) / 2**n < 0.95


@pytest.mark.parametrize("n", range(6))
def test_under_six_values_there_is_no_interval(n: int) -> None:
    assert median_interval(list(range(n))) is None


def test_five_values_suffice_for_less_confidence() -> None:
    assert median_interval([5, 1, 4, 2, 3], confidence=0.9) == Span(3, 1, 5, "interval", (1, 5))
    assert rank_of(5, 0.9) == (1, 1 - 2 / 32)
    assert median_interval([2, 1], confidence=0.5) == Span(1.5, 1, 2, "interval", (1, 2))
    assert rank_of(2, 0.5) == (1, 0.5)


DRAWS: dict[str, tuple[Callable[[random.Random], float], float]] = {
    "even": (lambda chance: chance.gauss(0, 1), 0.0),
    "skewed": (lambda chance: chance.expovariate(1), math.log(2)),
    "long tail": (lambda chance: chance.lognormvariate(0, 2), 1.0),
}


@settings(max_examples=12, deadline=None, derandomize=True)
@given(n=st.integers(6, 15), seed=st.integers(0, 2**32), shape=st.sampled_from(sorted(DRAWS)))
def test_the_interval_covers_the_median_as_often_as_it_says(n: int, seed: int, shape: str) -> None:
    draw, middle = DRAWS[shape]
    chance, n_trials = random.Random(seed), 600
    covered = 0
    _, coverage = rank_of(n, 0.95) or (0, 0.0)
    for _ in range(n_trials):
        found = median_interval([draw(chance) for _ in range(n)])
        assert found is not None
        covered += found.lo <= middle <= found.hi
    error = math.sqrt(coverage * (1 - coverage) / n_trials)
    assert abs(covered / n_trials - coverage) < 4 * error


@pytest.mark.parametrize(
    ("values", "places"),
    [
        # Quartiles 2 and 4: the fences stand at -1 and 7, and what lies on one is inside.
        ([1, 2, 3, 4, 7], []),
        ([1, 2, 3, 4, 7.1], [4]),
        ([-1, 2, 3, 4, 5], []),
        ([-1.1, 2, 3, 4, 5], [0]),
        ([9, 2, -3, 3, 4, 3, 3], [0, 2]),
        ([5, 5, 5, 5, 6], [4]),
        ([5, 5, 5, 5], []),
        ([1, 1, 99], []),  # too few to tell
        ([], []),
    ],
)
def test_outliers_are_tukeys_and_told_by_their_place(values: list[float], places: list[int]) -> None:
    assert outliers(values) == places


@pytest.mark.parametrize(
    ("one", "other", "tie"),
    [
        ((1, 3), (2, 4), True),
        ((1, 3), (3, 4), True),  # one common value suffices
        ((1, 3), (3.5, 4), False),
        ((1, 9), (3, 4), True),
        ((2, 2), (2, 2), True),
    ],
)
def test_intervals_that_share_a_value_overlap(one: tuple[float, float], other: tuple[float, float], tie: bool) -> None:
    first, second = (Span(sum(ends) / 2, *ends, "interval") for ends in (one, other))
    assert first.overlaps(second) is tie
    assert second.overlaps(first) is tie


@given(st.lists(st.lists(st.integers(0, MOST))), st.lists(st.floats(0, 1), min_size=1, max_size=3))
def test_quantiles_of_durations_are_those_of_all_lists_together(parts: list[list[int]], fractions: list[float]) -> None:
    together = [value for part in parts for value in part]
    if not together:
        with pytest.raises(ValueError, match="at least one value"):
            quantiles_ns(parts, fractions)
        return
    assert quantiles_ns(parts, fractions) == [quantile(together, fraction) for fraction in fractions]


def test_six_rounds_are_the_fewest_with_an_interval() -> None:
    assert median_interval([1.0] * (INTERVAL_ROUNDS - 1)) is None
    assert median_interval([1.0] * INTERVAL_ROUNDS) is not None
