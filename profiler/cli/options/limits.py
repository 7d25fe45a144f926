"""Options that say what a choice must keep, shared by `recommend` and `report`."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from quant.base.errors import UserError

if TYPE_CHECKING:
    from profiler.recommend.records import Limits, Prefer

CRITERIA = ("speed", "memory", "quality")
_Command = TypeVar("_Command", bound=Callable[..., Any])


def limit_options(command: _Command) -> _Command:
    """Add the limits, the context at which memory counts, and the weights of the criteria."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_OPTIONS = (
    click.option("--max-memory", metavar="SIZE", help="The most memory that the model may take, like 512MiB or 2GiB."),
    click.option("--min-decode", metavar="T/S", type=float, help="The fewest tokens per second of decode."),
    click.option("--min-prefill", metavar="T/S", type=float, help="The fewest tokens per second of prefill."),
    click.option(
        "--max-ttft", metavar="TIME", help="The longest time to first token, like 500ms or 1s; needs a request."
    ),
    click.option(
        "--max-kld", metavar="NATS", type=float, help="The largest measured divergence from the unquantized file."
    ),
    click.option(
        "--n-ctx",
        metavar="N",
        type=click.IntRange(1, 1 << 24),
        help="The context at which memory counts; estimated where it was measured at another.  [default: as measured]",
    ),
    click.option(
        "--prefer",
        metavar="WEIGHTS",
        help="How much speed, memory and quality count, like speed=2,memory=1,quality=1.  [default: the best quality, "
        "then the fastest, then the smallest]",
    ),
    click.option("--flagged", is_flag=True, help="Choose also among cells whose numbers were disturbed."),
)


def limits_of(options: dict[str, Any]) -> "Limits":
    """Read the limits.

    Raises:
        UserError: one is no number above 0.
    """
    from profiler.recommend.records import Limits
    from quant.base.units import parse_duration_s

    max_ttft = options["max_ttft"]
    return Limits(
        max_memory_bytes=_bytes(options["max_memory"]),
        min_decode_tps=_positive("--min-decode", options["min_decode"]),
        min_prefill_tps=_positive("--min-prefill", options["min_prefill"]),
        max_ttft_ms=None if max_ttft is None else _positive("--max-ttft", parse_duration_s(max_ttft) * 1000),
        max_kld=_positive("--max-kld", options["max_kld"]),
        n_ctx=options["n_ctx"],
    )


def prefer_of(options: dict[str, Any]) -> "Prefer | None":
    """Read the weights of the criteria; None where none are given.

    Raises:
        UserError: they cannot be read.
    """
    return None if options["prefer"] is None else read_weights(options["prefer"])


def _bytes(text: str | None) -> int | None:
    from quant.base.units import parse_bytes

    if text is None:
        return None
    if not (size := parse_bytes(text)):
        raise UserError(f"--max-memory {text} is no limit; give a size above 0")
    return size


def _positive(option: str, value: float | None) -> float | None:
    if value is not None and not (0 < value < math.inf):
        raise UserError(f"{option} {value:g} is no limit; give a number above 0")
    return value


def read_weights(text: str) -> "Prefer":
    """Read "speed=2,memory=1,quality=1"; a criterion that is left out does not count.

    Raises:
        UserError: a criterion is unknown or given twice, a weight is no number, or all are 0.
    """
    from profiler.recommend.records import Prefer

    found: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = (word.strip().lower() for word in part.partition("="))
        try:
            weight = float(value)
        except ValueError:
            weight = math.nan
        if name not in CRITERIA or name in found or not 0 <= weight <= 1000:
            raise UserError(
                f"'{part.strip()}' in --prefer is no weight of {', '.join(CRITERIA)}; "
                "write it like speed=2,memory=1,quality=1"
            )
        found[name] = weight
    if not any(found.values()):
        raise UserError("--prefer with all weights 0 prefers nothing; write it like speed=2,memory=1,quality=1")
    return Prefer(**found)
