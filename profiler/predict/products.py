"""The time of a product of weights, from those that were measured.

With one token, a row of weights takes a time of its own and a time per weight while a cache holds the matrix:

    ns = overhead + rows (per row + columns x per weight) + bytes x (what streaming adds)

What streaming adds grows with the bytes that a token reads in all; it is interpolated in their logarithm. With more
tokens, the time per multiplication is interpolated in the logarithm of the tokens, and depends on the columns.
"""

import math
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise

from profiler.records.calibration import ProductTime


class Products:
    """The products of one type with one number of threads, in one layout."""

    def __init__(self, times: Sequence[ProductTime]) -> None:
        self._times = times

    @cached_property
    def _cached(self) -> tuple[float, float, float]:
        """Return the nanoseconds of a node, a row and a weight, in the cache."""
        at = {
            (each.n_cols, each.n_rows): each.ns for each in self._times if each.n_tokens == 1 and each.n_matrices == 1
        }
        wide = max(n_cols for n_cols, _ in at)
        narrow = min(n_cols for n_cols, _ in at)
        few, many = sorted(n_rows for n_cols, n_rows in at if n_cols == narrow)
        (rows_of_wide,) = (n_rows for n_cols, n_rows in at if n_cols == wide)
        per_narrow_row = max(at[narrow, many] - at[narrow, few], 0.0) / (many - few)
        overhead = max(at[narrow, few] - few * per_narrow_row, 0.0)
        per_wide_row = max(at[wide, rows_of_wide] - overhead, 0.0) / rows_of_wide
        per_weight = max(per_wide_row - per_narrow_row, 0.0) / (wide - narrow)
        per_weight = min(per_weight, per_narrow_row / narrow)
        return overhead, per_narrow_row - narrow * per_weight, per_weight

    @cached_property
    def _streamed(self) -> list[tuple[float, float]]:
        """Return what streaming adds per byte, by the logarithm of the bytes that are read in all."""
        found = []
        for each in sorted((each for each in self._times if each.n_matrices > 1), key=lambda each: each.n_bytes):
            added = each.ns - self._in_cache_ns(each.n_cols, each.n_rows)
            found.append((math.log(each.n_bytes), max(added, 0.0) / each.n_matrix_bytes))
        return found

    def _in_cache_ns(self, n_cols: int, n_rows: int) -> float:
        overhead, per_row, per_weight = self._cached
        return overhead + n_rows * (per_row + n_cols * per_weight)

    def one_token_ns(self, n_cols: int, n_rows: int, n_bytes: int, read_bytes: int) -> float:
        """Return the time with one token.

        Args:
            n_bytes: of the matrix.
            read_bytes: of all weights that a token reads.
        """
        added = interpolated(self._streamed, math.log(max(read_bytes, 1)))
        return self._in_cache_ns(n_cols, n_rows) + n_bytes * added

    @cached_property
    def _batched(self) -> list[tuple[float, float]]:
        """Return the log of the time of a multiplication by the log of the tokens, for the narrowest matrices."""
        narrow = min(each.n_cols for each in self._times if each.n_tokens > 1)
        return sorted(
            (math.log(each.n_tokens), math.log(_per_product_ns(each)))
            for each in self._times
            if each.n_tokens > 1 and each.n_cols == narrow
        )

    @cached_property
    def _by_cols(self) -> list[tuple[float, float]]:
        """Return the log of the time of a multiplication with most tokens by the log of the columns."""
        most = max(each.n_tokens for each in self._times)
        return sorted(
            (math.log(each.n_cols), math.log(_per_product_ns(each))) for each in self._times if each.n_tokens == most
        )

    def batch_ns(self, n_cols: int, n_rows: int, n_tokens: float) -> float:
        """Return the time with more than one token."""
        log_ns = interpolated(self._batched, math.log(n_tokens))
        log_ns += interpolated(self._by_cols, math.log(n_cols)) - self._by_cols[0][1]
        return math.exp(log_ns) * n_cols * n_rows * n_tokens


def _per_product_ns(each: ProductTime) -> float:
    return each.ns / (each.n_cols * each.n_rows * each.n_tokens)


def interpolated(points: Sequence[tuple[float, float]], x: float) -> float:
    """Return the value at x, linear between points and constant beyond them; 0 without points."""
    if not points:
        return 0.0
    for (left, low), (right, high) in pairwise(points):
        if x <= right:
            share = min(max((x - left) / (right - left), 0.0), 1.0) if right > left else 1.0
            return low + share * (high - low)
    return points[-1][1] if len(points) > 1 or x >= points[0][0] else points[0][1]
