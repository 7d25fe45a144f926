"""What is best: the rule that `recommend` and `pick` share.

Without a limit on speed, memory or size, quality beyond a point buys nothing that was asked for: the fastest cell wins
whose KLD is at most MAX_KLD (or `--max-kld`), or which has at least MIN_BPW bits per weight where no KLD is measured,
as with synthetic weights. With such a limit, the best quality within it wins, then speed, then memory, then the fewest
threads.
"""

from typing import Literal

import msgspec

from profiler.recommend.records import Limits

MAX_KLD = 0.05
MIN_BPW = 4.5  # bits of a Q4_0 or Q4_K block per weight, the field's usual choice

Goal = Literal["speed", "quality"]


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """The least quality of a choice."""

    max_kld: float | None = None
    min_bpw: float | None = None  # where no KLD is measured


def goal_of(limits: Limits) -> Goal:
    """Return what is maximized within limits: speed where none is on speed, memory or size, else quality."""
    bounded = (
        limits.max_memory_bytes,
        limits.min_decode_tps,
        limits.min_prefill_tps,
        limits.max_ttft_ms,
        limits.max_file_bytes,
    )
    return "speed" if all(limit is None for limit in bounded) else "quality"


def bar_of(limits: Limits, *, with_kld: bool) -> Bar:
    """Return the least quality: the requested KLD, else the default of a choice by speed.

    Args:
        with_kld: whether KLD is measured.
    """
    if limits.max_kld is not None:
        return Bar(max_kld=limits.max_kld)
    if limits.bounds_accuracy or goal_of(limits) == "quality":
        return Bar()
    return Bar(max_kld=MAX_KLD) if with_kld else Bar(min_bpw=MIN_BPW)
