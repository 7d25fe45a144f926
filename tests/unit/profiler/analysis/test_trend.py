"""The trend test: exact values of its parts, and what it catches and what it lets pass."""

import itertools
import math
import random

import pytest

from profiler.analysis.trend import Trend, _share_of_orders, find_trend, student_p_value
from tests.support.series import drift_share


@pytest.mark.parametrize(
    ("t", "freedom"), [(12.7062, 1), (4.3027, 2), (3.1824, 3), (2.5706, 5), (2.3060, 8), (2.0484, 28), (1.9840, 100)]
)
def test_students_p_value_at_the_quantiles_that_tables_give(t: float, freedom: int) -> None:
    assert student_p_value(t, freedom) == pytest.approx(0.05, abs=2e-5)
    assert student_p_value(-t, freedom) == student_p_value(t, freedom)


def test_students_p_value_of_nothing_and_of_much() -> None:
    assert student_p_value(0, 8) == 1
    assert student_p_value(1e9, 9) == pytest.approx(0, abs=1e-12)


def test_the_change_is_that_of_a_line_through_the_logarithms() -> None:
    trend = find_trend([[100 * 0.99**place] for place in range(10)])
    assert trend is not None
    assert trend.change == pytest.approx(0.99**9 - 1)
    assert trend.counts


def test_a_round_counts_with_the_geometric_mean_of_its_repetitions() -> None:
    one = find_trend([[50, 200], [100], [98, 98, 98]])
    other = find_trend([[100], [100], [98]])
    assert one is not None
    assert other is not None
    assert one.change == pytest.approx(other.change)


def test_of_few_rounds_all_orders_are_tried() -> None:
    trend = find_trend([[math.exp(place)] for place in (1, 2, 3, 5, 6)])
    assert trend is not None
    assert trend.p_value == 2 / 120  # this order and the one turned round
    four = find_trend([[rate] for rate in (50, 40, 33, 28)])
    assert four is not None
    assert four.p_value == 2 / 24
    assert not four.counts


def test_what_does_not_change_has_no_trend() -> None:
    for n_rounds in (3, 7, 8, 30):
        assert find_trend([[40.0, 40.0]] * n_rounds) == Trend(0.0, 1.0)
    assert find_trend([[40.0]] * 2) is None
    assert find_trend([]) is None


def test_a_change_that_does_not_matter_does_not_count() -> None:
    trend = find_trend([[100 * (1 - 0.002 * place)] for place in range(10)])  # 1.8 % as straight as can be
    assert trend is not None
    assert trend.p_value < 1e-6
    assert not trend.counts


def test_a_drift_of_5_percent_at_a_noise_of_2_percent_is_caught() -> None:
    """97 % of 4000 cells, of which a standard error is 0.3 %."""
    assert drift_share(0.05, 4000, seed=1) >= 0.95
    assert drift_share(0.05, 4000, seed=2, heavy=True) >= 0.95


def test_no_drift_is_seen_where_there_is_none() -> None:
    assert drift_share(0.0, 4000, seed=3) <= 0.05
    assert drift_share(0.0, 4000, seed=4, heavy=True) <= 0.05
    assert drift_share(0.0, 4000, seed=5, scatter=0.05) <= 0.05 + 0.01  # here 2.5 % is little, and 5 % are right
    # What the repetitions of a round have in common is no trend either.
    assert drift_share(0.0, 4000, seed=6, scatter=0.0, per_round=0.02) <= 0.05 + 0.01


@pytest.mark.parametrize("n", [3, 4, 5, 6])
def test_the_share_of_orders_is_that_of_trying_each(n: int) -> None:
    source = random.Random(n)
    places = [place - (n - 1) / 2 for place in range(n)]
    for spread in (0.01, 0.1, 1.0):
        # Some rates are equal, so that several orders are one line.
        values = [
            round(source.gauss(3, spread), 1) if source.random() < 0.4 else source.gauss(3, spread) for _ in places
        ]
        product = abs(sum(place * value for place, value in zip(places, values, strict=True)))
        lines = [
            sum(place * value for place, value in zip(places, order, strict=True))
            for order in itertools.permutations(values)
        ]
        steep = sum(abs(line) >= product * (1 - 1e-9) for line in lines)
        assert _share_of_orders(places, values, product) == steep / len(lines)
