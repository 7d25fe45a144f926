"""What a sustained load did to the device: the steady state against the first minute, with clock, heat and power."""

from collections.abc import Callable, Iterable, Sequence

from profiler.analysis.joules import watts_of
from profiler.analysis.rates import rates_of
from profiler.analysis.stats import median, median_interval, quantiles_ns
from profiler.analysis.sustained.steady import is_steady, steady_part
from profiler.records.cell_summary import State, Sustained
from profiler.records.round import Conditions, Round
from profiler.records.span import Span

# Of each side of a ratio: both intervals hold their medians with 95 %, and so does that of the ratio.
_SIDE_CONFIDENCE = 0.975
_NS_PER_S = 1e9


def sustained_of(minutes: Sequence[Round]) -> Sustained | None:
    """Compare the steady state of a run with its first minute; None where no minute went well."""
    if not minutes:
        return None
    first, steady = [minutes[0]], steady_part(minutes)
    ends = [sample.end_ns or 0 for record in minutes for sample in record.samples]
    return Sustained(
        lasted_s=max(ends, default=0) / _NS_PER_S,
        n_minutes=len(minutes),
        steady_from_s=60.0 * steady[0].round,
        is_steady=is_steady(steady),
        first=state_of(first),
        steady=state_of(steady),
        prefill_change=_change(_prefill(first), _prefill(steady)),
        decode_change=_change(_decode(first), _decode(steady)),
    )


def _prefill(rounds: Iterable[Round]) -> list[float]:
    return [rate for record in rounds for rate in rates_of(record).prefill_each]


def _decode(rounds: Iterable[Round]) -> list[float]:
    return [rate for record in rounds for rate in rates_of(record).decode_each]


def _change(first: Sequence[float], steady: Sequence[float]) -> Span | None:
    """Return by which share the median request of the steady state is faster than that of the first minute."""
    if not first or not steady:
        return None
    ratio = median(steady) / median(first)
    one, other = median_interval(first, _SIDE_CONFIDENCE), median_interval(steady, _SIDE_CONFIDENCE)
    if one is None or other is None:
        return Span(ratio - 1, min(steady) / max(first) - 1, max(steady) / min(first) - 1, "min-max")
    return Span(ratio - 1, other.lo / one.hi - 1, other.hi / one.lo - 1, "interval")


def state_of(rounds: Sequence[Round]) -> State:
    """Return the figures of some minutes, and what the device reported after their requests."""
    samples = [sample for record in rounds for sample in record.samples]
    moments = [sample.after for sample in samples]
    steps_ns = [sample.decode_ns for sample in samples]
    took_ns = sum((sample.end_ns or 0) - (sample.start_ns or 0) for sample in samples)
    prefill, decode = _prefill(rounds), _decode(rounds)
    watts = [value for record in rounds if (value := watts_of(record)) is not None]
    return State(
        n_requests=len(samples),
        output_tps=sum(map(len, steps_ns)) * _NS_PER_S / took_ns if any(steps_ns) and took_ns > 0 else None,
        prefill_tps=median(prefill) if prefill else None,
        decode_tps=median(decode) if decode else None,
        itl_p50_ms=quantiles_ns(steps_ns, (0.5,))[0] / 1e6 if any(steps_ns) else None,
        mhz=_middle(moments, lambda each: each.mhz),
        temperature_c=_middle(moments, lambda each: each.temperature_c),
        watts=median(watts) if watts else None,
        throttle=tuple(sorted({name for each in moments for name in each.throttle})),
    )


def _middle(moments: Iterable[Conditions], value_of: Callable[[Conditions], float | None]) -> float | None:
    known = [value for each in moments if (value := value_of(each)) is not None]
    return median(known) if known else None
