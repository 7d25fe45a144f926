"""The statistics of one row of logits, compared with the unquantized model's row at the same position.

float32 where errors do not add up, float64 for sums; each row stays in the processor's cache.
"""

import math
from typing import Any

import numpy as np

LOWEST = np.float32(-64)  # log-probabilities below the largest are clipped here: 2e-28 of its probability
_SERIES_BELOW = 0.5


class Row:
    """Buffers for rows of one length; one per thread."""

    def __init__(self, n_vocab: int) -> None:
        self.below = np.empty(n_vocab, np.float32)  # of the last row: its logits less the largest
        self.weights = np.empty(n_vocab, np.float32)  # and their exponentials
        self.log_sum = 0.0
        self.top = 0
        self._p = np.empty(n_vocab, np.float32)
        self._r = np.empty(n_vocab, np.float32)
        self._series = np.empty(n_vocab, np.float32)
        self._other = np.empty(n_vocab, np.float32)

    def read(self, logits: Any, token: int) -> float:
        """Take a row of logits, (n_vocab,) float32, and return the right token's negative log-likelihood in nats.

        It is not finite where a logit is not, or where the right token's probability underflows.
        """
        self.top = int(logits.argmax())
        largest = logits[self.top]
        with np.errstate(invalid="ignore"):  # of infinite logits; the caller checks the result
            np.subtract(logits, largest, out=self.below)
        token_below = float(self.below[token])
        np.maximum(self.below, LOWEST, out=self.below)
        np.exp(self.below, out=self.weights)
        self.log_sum = math.log(float(np.add.reduce(self.weights, dtype=np.float64)))
        return self.log_sum - token_below

    def kld(self, below: Any) -> float:
        """Return the Kullback-Leibler divergence of the last row from a reference's, in nats.

        `below`, (n_vocab,) float32, is the reference's logits less the largest. With p the reference's probabilities,
        q the row's and r = log(p / q), the sum of p · (r - 1 + exp(-r)) is the KLD, since both sum to one. No term is
        negative, and an error in r is multiplied by r.
        """
        p, r, series, other = self._p, self._r, self._series, self._other
        np.exp(below, out=p)
        sum_p = float(np.add.reduce(p, dtype=np.float64))
        p *= np.float32(1 / sum_p)
        np.subtract(below, self.below, out=r)
        r += np.float32(self.log_sum - math.log(sum_p))
        # p · (r - 1 + exp(-r)) = p · (r - 1) + q, which loses digits where r is small: there the series is used.
        np.subtract(r, 1, out=other)
        other *= p
        np.multiply(self.weights, np.float32(math.exp(-self.log_sum)), out=series)
        other += series
        with np.errstate(over="ignore", invalid="ignore"):  # where r is large the series is not used
            _series_of(r, series)
        series *= p
        np.abs(r, out=r)
        np.copyto(other, series, where=r < _SERIES_BELOW)
        return float(np.add.reduce(other, dtype=np.float64))


def _series_of(r: Any, out: Any) -> None:
    """Write r - 1 + exp(-r) by its power series up to r**8: below 1/2 the rest is under 1e-7 of it."""
    out.fill(1 / math.factorial(8))
    for power in range(7, 1, -1):
        out *= r
        np.subtract(np.float32(1 / math.factorial(power)), out, out=out)
    out *= r
    out *= r
