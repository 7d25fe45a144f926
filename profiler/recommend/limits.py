"""Does a candidate meet the limits, and which limits would it meet?

A limit is met when the whole interval meets it: a median just inside the limit is a coin toss.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from profiler.recommend.records import Candidate, Limits, Miss
from profiler.recommend.rule import bar_of
from profiler.records.span import Span
from profiler.tables.format import figure
from quant.base.units import GIB, KIB, MIB, format_bytes


class Rule(NamedTuple):
    """One limit: its option, the figure that it bounds, and how its values are written."""

    option: str
    field: str  # of Limits
    bounded: Callable[[Candidate], Span | None]
    is_most: bool  # an upper bound
    typed: Callable[[float], str]
    lacking: str  # the text where the figure was not measured
    needs: Callable[[float, float], str]  # text from the figure and the limit
    task: str | None = None  # of --min-accuracy


def typed_bytes(value: float) -> str:
    """Return a size as it is typed."""
    units = (("GiB", GIB), ("MiB", MIB), ("KiB", KIB), ("", 1))
    return next(f"{value / size:.0f}{unit}" for unit, size in units if not value % size or size == 1)


def typed_ms(value: float) -> str:
    """Return a time as it is typed."""
    return f"{value / 1000:g}s" if value >= 1000 else f"{value:g}ms"


RULES = (
    Rule(
        "--max-memory",
        "max_memory_bytes",
        lambda each: each.memory_within,
        True,
        typed_bytes,
        "has no memory figure at this context",
        lambda value, limit: f"needs {format_bytes(value - limit)} more",
    ),
    Rule(
        "--min-decode",
        "min_decode_tps",
        lambda each: each.decode_within,
        False,
        lambda value: f"{value:g}",
        "has no decode",
        lambda value, limit: f"decodes as slowly as {figure(value)} t/s",
    ),
    Rule(
        "--min-prefill",
        "min_prefill_tps",
        lambda each: each.prefill_within,
        False,
        lambda value: f"{value:g}",
        "has no prefill",
        lambda value, limit: f"prefills as slowly as {figure(value)} t/s",
    ),
    Rule(
        "--max-ttft",
        "max_ttft_ms",
        lambda each: each.ttft_within,
        True,
        typed_ms,
        "has no time to first token",
        lambda value, limit: f"takes up to {figure(value)} ms to the first token",
    ),
    Rule(
        "--max-kld",
        "max_kld",
        lambda each: each.kld_span,
        True,
        lambda value: f"{value:g}",
        "has no measured quality",
        lambda value, limit: f"has a KLD of up to {value:.3g}",
    ),
    Rule(
        "--max-file",
        "max_file_bytes",
        lambda each: Span(each.file_bytes, each.file_bytes, each.file_bytes, "min-max"),
        True,
        typed_bytes,
        "has no size",
        lambda value, limit: f"is {format_bytes(value - limit)} larger",
    ),
    Rule(
        "--max-accuracy-loss",
        "max_accuracy_loss",
        lambda each: each.accuracy_loss,
        True,
        lambda value: f"{100 * value:.3g}%",
        "has no measured accuracy beside that of the unquantized file",
        lambda value, limit: f"loses up to {100 * value:.1f} points of accuracy",
    ),
)


_MIN_ACCURACY = "--min-accuracy"


def _accuracy_rule(task: str) -> Rule:
    """Return the limit on one task."""
    return Rule(
        _MIN_ACCURACY,
        "min_accuracy",
        lambda each: each.accuracy.get(task),
        False,
        lambda value: f"{task}={value:.3g}",
        f"has no measured accuracy in {task}",
        lambda value, limit: f"answers as few as {100 * value:.1f} % of {task} rightly",
        task,
    )


def set_limits(limits: Limits) -> list[tuple[Rule, float]]:
    """Return the limits that are set."""
    found = [(rule, getattr(limits, rule.field)) for rule in RULES]
    by_task = [(_accuracy_rule(task), least) for task, least in limits.min_accuracy]
    return [*((rule, limit) for rule, limit in found if limit is not None), *by_task]


def misses(candidate: Candidate, limits: Limits) -> tuple[Miss, ...]:
    """Return the limits that a candidate does not meet."""
    return _missed([(rule, limit, rule.bounded(candidate)) for rule, limit in set_limits(limits)])


def accuracy_misses(accuracy: Mapping[str, Span], loss: Span | None, limits: Limits) -> tuple[Miss, ...]:
    """Return the limits on accuracy that a file does not meet."""
    bounded = [(_accuracy_rule(task), least, accuracy.get(task)) for task, least in limits.min_accuracy]
    most = [(rule, limit, loss) for rule, limit in set_limits(limits) if rule.field == "max_accuracy_loss"]
    return _missed([*bounded, *most])


def _missed(bounded: Sequence[tuple[Rule, float, Span | None]]) -> tuple[Miss, ...]:
    found = []
    for rule, limit, span in bounded:
        if span is None:
            found.append(
                Miss(option=rule.option, limit=limit, reached=None, relaxed=None, needs=rule.lacking, task=rule.task)
            )
            continue
        reached = span.hi if rule.is_most else span.lo
        if reached > limit if rule.is_most else reached < limit:
            relaxed = _rounded(rule, reached)
            needs = rule.needs(reached, limit)
            found.append(
                Miss(option=rule.option, limit=limit, reached=reached, relaxed=relaxed, needs=needs, task=rule.task)
            )
    return tuple(found)


def below_bar(candidate: Candidate, limits: Limits) -> tuple[Miss, ...]:
    """Return what a candidate lacks of the quality that a choice by speed has at least (rule.py)."""
    bar = bar_of(limits, with_kld=candidate.kld is not None)
    if bar.min_bpw is not None:
        if round(candidate.bpw, 2) >= bar.min_bpw:
            return ()
        needs = f"has {candidate.bpw:.2f} bits per weight, fewer than {bar.min_bpw:g}, and no measured quality"
        return (Miss(option="", limit=bar.min_bpw, reached=candidate.bpw, relaxed=None, needs=needs),)
    return misses(candidate, Limits(max_kld=bar.max_kld))


def may_meet(candidate: Candidate, limits: Limits) -> bool:
    """Return whether a disturbed candidate that misses a limit may meet all of them undisturbed."""
    if candidate.reaches is None:
        return False
    for rule, limit in set_limits(limits):
        span = rule.bounded(candidate)
        if span is None or (span.lo > limit if rule.is_most else span.hi < limit):
            return False
    return True


def _rounded(rule: Rule, reached: float) -> float | None:
    """Round a limit to what is easily typed, to the side on which it is met; None where no limit can be met."""
    if rule.field in ("max_memory_bytes", "max_file_bytes"):
        return float(math.ceil(reached / MIB) * MIB)
    if reached <= 0:
        return None
    rounded = float(f"{reached:.2e}")  # three figures
    if rounded >= reached if rule.is_most else rounded <= reached:
        return rounded
    digit: float = 10.0 ** (math.floor(math.log10(reached)) - 2)
    return float(f"{rounded + (digit if rule.is_most else -digit):.2e}")


def step(miss: Miss) -> float:
    """Return how far a limit must be relaxed, as the logarithm of a ratio; infinite where that does not help."""
    if miss.relaxed is None or miss.relaxed <= 0 or miss.limit <= 0:
        return math.inf
    return abs(math.log(miss.relaxed / miss.limit))


def typed(miss: Miss, value: float) -> str:
    """Return the value of a miss's limit as it is typed."""
    rules = RULES if miss.task is None else (_accuracy_rule(miss.task),)
    return next(rule.typed(value) for rule in rules if rule.option == miss.option)


def limits_text(limits: Limits) -> str:
    """Return the set limits as they are typed."""
    return ", ".join(f"{rule.option} {rule.typed(limit)}" for rule, limit in set_limits(limits))
