"""Predicted speeds of a load, each with a range that nine of ten measurements should lie in."""

import math
from collections.abc import Sequence

import msgspec

from profiler.analysis.stats import median, quantile
from profiler.predict.graph_time import GraphTimes
from profiler.predict.records import GraphWork
from profiler.records.calibration import Calibration
from profiler.records.config import RunConfig
from profiler.records.span import Span

_NS_PER_S, _NS_PER_MS = 1e9, 1e6
# The standard deviation of what sums over nodes are off by on a steady device. Source: docs/predicted-speed.md.
ERROR = 0.08
_NINE_OF_TEN = 1.645  # standard deviations to either side
_UNKNOWN_RANGE = 0.5  # where an operation of the model was not timed
_SCATTER = 0.16, 0.84  # the quantiles between which two thirds of all times lie


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What is predicted."""

    workload: str = "custom"
    n_prompt: int
    n_gen: int
    n_depth: int
    is_request: bool  # decode follows the prompt
    n_threads: int
    n_threads_batch: int

    @classmethod
    def of(cls, config: RunConfig) -> "Load":
        """Return the load of a cell."""
        return cls(
            workload=config.workload,
            n_prompt=config.n_prompt,
            n_gen=config.n_gen,
            n_depth=config.n_depth,
            is_request=config.mode == "request",
            n_threads=config.n_threads,
            n_threads_batch=config.n_threads_batch,
        )

    @property
    def first_depth(self) -> int:
        """Tokens in the cache when decode begins."""
        return self.n_depth + (self.n_prompt if self.is_request else 0)

    @property
    def decode_depth(self) -> float:
        """Tokens in the cache, on average over the tokens that are generated."""
        return self.first_depth + self.n_gen / 2


class Speeds(msgspec.Struct, frozen=True, kw_only=True):
    """Predicted rates of one model at one level."""

    load: Load
    prefill_tps: Span
    decode_tps: Span
    ttft_ms: Span | None  # of a request


class Predictor:
    """Predicts on one calibrated device."""

    def __init__(self, calibration: Calibration, load: Load) -> None:
        """Predict from a calibration that has the numbers of threads of the load."""
        self._load = load
        self._range = {
            n_threads: _NINE_OF_TEN * math.hypot(ERROR, scatter(calibration, n_threads))
            for n_threads in (load.n_threads_batch, load.n_threads)
        }
        self._prefill, self._decode = (
            GraphTimes(calibration, n_threads) for n_threads in (load.n_threads_batch, load.n_threads)
        )

    def speeds(self, graphs: Sequence[GraphWork]) -> Speeds | None:
        """Return the speeds of a model by its graphs of the largest batch and of one token; None without them."""
        if len(graphs) != 2:
            return None
        batch, one = graphs
        load = self._load
        prefill_ns = self._prefill_ns(batch)
        decode_ns = self._decode.ns(one, load.decode_depth)
        prefill, decode = self._range[load.n_threads_batch], self._range[load.n_threads]
        prefill = max(prefill, _UNKNOWN_RANGE) if self._prefill.unknown(batch) else prefill
        decode = max(decode, _UNKNOWN_RANGE) if self._decode.unknown(one) else decode
        return Speeds(
            load=load,
            prefill_tps=_span(load.n_prompt * _NS_PER_S / prefill_ns, prefill),
            decode_tps=_span(_NS_PER_S / decode_ns, decode),
            ttft_ms=_span(prefill_ns / _NS_PER_MS, prefill) if load.is_request else None,
        )

    def _prefill_ns(self, batch: GraphWork) -> float:
        """Add up the batches of the prompt; the last one counts as the share of a whole one that it is."""
        load, total = self._load, 0.0
        for first in range(0, load.n_prompt, batch.n_tokens):
            share = min(load.n_prompt - first, batch.n_tokens) / batch.n_tokens
            total += share * self._prefill.ns(batch, load.n_depth + first)
        return total


def scatter(calibration: Calibration, n_threads: int) -> float:
    """Return by which share of its time the same work took more or less while the device was calibrated."""
    times_ns = [each.ns for each in calibration.yardsticks if each.n_threads == n_threads]
    if not times_ns:
        return 0.0
    low, high = (quantile(times_ns, fraction) for fraction in _SCATTER)
    return (high - low) / 2 / median(times_ns)


def _span(value: float, share: float) -> Span:
    """Return a figure and its range, which is a factor to either side."""
    return Span(value, value / (1 + share), value * (1 + share), "estimate")
