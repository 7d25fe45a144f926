"""Medians, intervals, outliers and trends against numbers that were worked out by hand."""

import math
import random
import statistics
from collections.abc import Callable
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profiler.stats import Interval, median, median_interval, outliers, overlap, quantile, trend_p_value

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
    assert found == Interval(k, n + 1 - k, 1 - 2 * n_outside / 2**n)
    assert found.coverage >= 0.95


@pytest.mark.parametrize(("n", "k", "n_outside"), RANKS)
def test_the_next_narrower_interval_would_cover_too_little(n: int, k: int, n_outside: int) -> None:
    assert 1 - 2 * (n_outside + math.comb(n, k)) / 2**n < 0.95


@pytest.mark.parametrize("n", range(6))
def test_under_six_values_there_is_no_interval(n: int) -> None:
    assert median_interval(list(range(n))) is None


def test_five_values_suffice_for_less_confidence() -> None:
    assert median_interval([5, 1, 4, 2, 3], confidence=0.9) == Interval(1, 5, 1 - 2 / 32)
    assert median_interval([2, 1], confidence=0.5) == Interval(1, 2, 0.5)


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
    coverage = 0.0
    for _ in range(n_trials):
        found = median_interval([draw(chance) for _ in range(n)])
        assert found is not None
        covered += found.lo <= middle <= found.hi
        coverage = found.coverage
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
    ("values", "p_value"),
    [
        # Of the n! orders without ties, those with 0, 1, 2, ... inversions are, by hand:
        # n = 3: 1 2 2 1; n = 4: 1 3 5 6 5 3 1; n = 5: 1 4 9 15 ...; n = 6: 1 5 14 29 ...
        ([1, 2, 3], 2 * 1 / 6),
        ([1, 3, 2], 2 * 3 / 6),
        ([1, 2, 3, 4], 2 * 1 / 24),
        ([4, 3, 2, 1], 2 * 1 / 24),
        ([1, 2, 4, 3], 2 * (1 + 3) / 24),
        ([2, 1, 4, 3], 2 * (1 + 3 + 5) / 24),
        ([10, 20, 30, 40, 50], 2 * 1 / 120),
        ([10, 20, 30, 50, 40], 2 * (1 + 4) / 120),
        ([6, 5, 4, 3, 2, 1], 2 * 1 / 720),
        ([1, 2, 3, 4, 6, 5], 2 * (1 + 5) / 720),
        ([1, 2, 3, 6, 5, 4], 2 * (1 + 5 + 14 + 29) / 720),
        ([2, 4, 1, 3], 1.0),  # as many rises as falls
        ([1, 2], 1.0),  # too few for any trend
        ([], 1.0),
    ],
)
def test_a_trends_p_value_is_exact_for_few_values(values: list[float], p_value: float) -> None:
    assert trend_p_value(values) == pytest.approx(p_value, rel=1e-12)


@pytest.mark.parametrize(
    "values",
    [
        [1, 1, 2],
        [1, 1, 1, 2],
        [1, 1, 2, 3],
        [1, 1, 2, 2, 3],
        [1, 2, 3, 4, 4, 5],
        [1, 1, 1, 2, 2, 2],
        [1, 1, 1, 1, 1, 2],
    ],
)
def test_ties_make_it_conservative(values: list[int]) -> None:
    """Counted out: of all orders of these values, how many have a score as far from 0 as each order's own?"""

    def score(order: tuple[int, ...]) -> int:
        pairs = [(one, other) for at, one in enumerate(order) for other in order[at + 1 :]]
        return abs(sum((other > one) - (other < one) for one, other in pairs))

    orders = list(permutations(values))
    scores = [score(order) for order in orders]
    p_of_score = {each: sum(other >= each for other in scores) / len(scores) for each in set(scores)}
    for order in set(orders):
        assert trend_p_value(order) >= p_of_score[score(order)] - 1e-12


def test_equal_values_have_no_trend() -> None:
    assert trend_p_value([5.0] * 8) == 1.0
    assert trend_p_value([5.0] * 40) == 1.0


def _exact_p_value(n: int, n_inversions: int) -> float:
    """Give the two-sided p-value of an order by the product (1)(1 + x)(1 + x + x²)..., whose terms count the orders."""
    counts = [1]
    for size in range(2, n + 1):
        longer = [0] * (len(counts) + size - 1)
        for place, count in enumerate(counts):
            for shift in range(size):
                longer[place + shift] += count
        counts = longer
    return 2 * sum(counts[: n_inversions + 1]) / math.factorial(n)


def _with_inversions(n: int, n_inversions: int) -> list[int]:
    """Make an order of n values that has so many inversions: large values are taken first."""
    left, order = list(range(n)), []
    for _ in range(n):
        take = min(n_inversions, len(left) - 1)
        order.append(left.pop(take))
        n_inversions -= take
    return order


# Of 30 values, 435 pairs: these have p-values from 0.9 down to 0.001.
@pytest.mark.parametrize("n_inversions", [210, 190, 170, 150, 130])
def test_the_approximation_takes_over_without_a_step(n_inversions: int) -> None:
    assert trend_p_value(_with_inversions(30, n_inversions)) == pytest.approx(_exact_p_value(30, n_inversions))
    more = n_inversions + 15  # the same share of the 465 pairs of 31 values
    exact = _exact_p_value(31, more)
    assert trend_p_value(_with_inversions(31, more)) == pytest.approx(exact, rel=0.01, abs=0.001)


def test_a_long_fall_is_a_trend_and_noise_is_none() -> None:
    assert trend_p_value(range(100, 0, -1)) < 1e-12
    chance = random.Random(1)
    assert trend_p_value([chance.random() for _ in range(100)]) > 0.05


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
    first, second = Interval(*one, 0.97), Interval(*other, 0.97)
    assert overlap(first, second) is tie
    assert overlap(second, first) is tie
