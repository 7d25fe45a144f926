"""The speeds of all entries from few rounds: a linear model of log rates, with entries that were never measured.

    log rate = level + threads + rest of the entry + block + layout + slow-down of disturbed rounds + noise

Levels and thread counts are free. How a level differs from others in its use of threads (the rest) is assumed to have a
standard deviation of REST: so thread counts that are learnt on two levels are carried over to the others, and rounds of
an entry soon outweigh what is carried over. Rounds of a block are taken one after another, so that what changes slowly
is common to them. Disturbed rounds with the same number of threads share one slow-down, and have a variance of their
own: they count less, and are not dropped; nor are others that deviate as noise seldom does. The variance of the noise
is pooled over all entries; before rounds repeat it rests on NOISE, which weighs as much as NOISE_WEIGHT degrees of
freedom.

These are the posterior mean and covariance of a Gaussian model (a "mixed model"), with Student's distribution for the
estimated variance. Source: Searle, Casella, McCulloch, Variance Components (1992), chapter 7.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

LEVEL, THREADS = 3.0, 1.0  # standard deviations of logs, wide: free
REST = 0.04
BLOCK = 0.02
LAYOUT = 0.01
SLOW_DOWN = 0.2  # of what disturbed rounds with the same threads have in common
DISTURBED = 0.08  # of what they have not
NOISE = 0.05
NOISE_WEIGHT = 3.0
TAIL = 5.0  # degrees of freedom of the noise: what deviates as noise seldom does counts less
_ITERATIONS = 4

Array = Any  # numpy's arrays of float64


class Row(NamedTuple):
    """One round of an entry."""

    place: int  # of the entry
    block: int
    odd: bool  # the number of the round, on which the memory layout depends
    disturbed: bool
    log_rate: float


class Fit(NamedTuple):
    """Log rates of all n entries, measured or not."""

    mean: Array  # (n,)
    covariance: Array  # (n, n)
    freedom: float  # degrees of freedom of the noise's variance
    noise: float  # standard deviation of a quiet round

    def beyond(self, bound: float) -> Array:
        """Return the probability that each log rate is above a bound, (n,)."""
        return tails((bound - self.mean) / np.sqrt(np.diag(self.covariance)), self.freedom)

    def faster_than(self, place: int, margin: float) -> Array:
        """Return the probability that each entry is faster than one of them by more than a margin of logs, (n,)."""
        return tails((margin - self.mean + self.mean[place]) / self.spread_from(place), self.freedom)

    def spread_from(self, place: int) -> Array:
        """Return the standard deviation of each entry's difference from one of them, (n,)."""
        variance = np.diag(self.covariance)
        return np.sqrt(np.maximum(variance + variance[place] - 2 * self.covariance[place], 1e-12))


def chance_to_settle(distance: float, spread: float, share: float, needed: float) -> float:
    """Return the probability that further rounds show on which side of zero an estimated distance lies.

    Args:
        distance: the estimate.
        spread: its standard deviation now.
        share: of the rounds at the end, how many there are by now.
        needed: the distance that shows it at the end.
    """
    moves = max(spread * math.sqrt(1 - share), 1e-9)  # the standard deviation of what the estimate will be
    return (
        math.erfc((needed - distance) / moves / math.sqrt(2)) + math.erfc((needed + distance) / moves / math.sqrt(2))
    ) / 2


def tails(t: Array, freedom: float) -> Array:
    """Return the probabilities that Student's t exceeds some values.

    Source: Wallace's normal approximation, Annals of Mathematical Statistics 30 (1959): within 10 % of the tail's
    probability down to 1e-3 at three degrees of freedom.
    """
    z = (8 * freedom + 1) / (8 * freedom + 3) * np.sqrt(freedom / 2 * np.log1p(t * t / freedom))
    above = np.array([math.erfc(value) / 2 for value in z])
    return np.where(t > 0, above, 1 - above)


class SpeedModel:
    """The model of one rate over a fixed list of entries."""

    def __init__(self, levels: Sequence[object], threads: Sequence[object]) -> None:
        """Take the level and the number of threads of every entry."""
        same_level = np.array([[one == other for other in levels] for one in levels], dtype=float)
        same_threads = np.array([[one == other for other in threads] for one in threads], dtype=float)
        self._n = len(levels)
        groups = {count: group for group, count in enumerate(dict.fromkeys(threads))}
        self._group = [groups[count] for count in threads]
        prior = LEVEL**2 * same_level + THREADS**2 * same_threads + REST**2 * np.eye(self._n)
        self._prior_precision = np.linalg.inv(prior)

    def fit(self, rows: Sequence[Row]) -> Fit:
        """Return what the rounds say; without rounds, that nothing is known."""
        n = self._n
        n_blocks = 1 + max((row.block for row in rows), default=-1)
        n_groups = 1 + max(self._group)
        layout = n + n_blocks
        size = layout + 1 + n_groups
        design = np.zeros((len(rows), size))
        for index, row in enumerate(rows):
            design[index, row.place] = design[index, n + row.block] = 1.0
            design[index, layout] = 0.5 if row.odd else -0.5
            design[index, layout + 1 + self._group[row.place]] = float(row.disturbed)
        y = np.array([row.log_rate for row in rows])
        centre = float(y.mean()) if rows else 0.0
        disturbed = np.array([row.disturbed for row in rows], dtype=bool)
        prior = np.zeros((size, size))
        prior[:n, :n] = self._prior_precision
        rest = [1 / BLOCK**2] * n_blocks + [1 / LAYOUT**2] + [1 / SLOW_DOWN**2] * n_groups
        prior[range(n, size), range(n, size)] = rest
        variance, freedom = NOISE**2, NOISE_WEIGHT
        trust = np.ones(len(rows))
        for _ in range(_ITERATIONS):
            expected = np.where(disturbed, variance + DISTURBED**2, variance)
            weighted = design.T * (trust / expected)
            covariance = np.linalg.inv(weighted @ design + prior)
            mean = covariance @ (weighted @ (y - centre))
            deviations = (y - centre - design @ mean) ** 2 / expected
            used = float(np.einsum("ij,ji->", covariance, weighted @ design)) if rows else 0.0
            freedom = NOISE_WEIGHT + max(float(trust.sum()) - used, 0.0)
            variance = (NOISE_WEIGHT * NOISE**2 + variance * float((trust * deviations).sum())) / freedom
            trust = np.minimum((TAIL + 1) / (TAIL + deviations), 1.0)
        return Fit(mean[:n] + centre, covariance[:n, :n], freedom, math.sqrt(variance))
