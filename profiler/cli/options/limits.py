"""Options on how to choose, shared by `recommend`, `report` and `pick`."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from profiler.cli.options import number_option
from quant.base.errors import UserError

if TYPE_CHECKING:
    from profiler.recommend.records import Criteria, Limits, Prefer

_NAMES = ("speed", "memory", "quality")
_Command = TypeVar("_Command", bound=Callable[..., Any])


def limit_options(command: _Command) -> _Command:
    """Add the limits, the order, and whether flagged cells may be chosen."""
    for option in reversed((*_LIMITS, *_ORDER)):
        command = option(command)
    return command


def only_limits(command: _Command) -> _Command:
    """Add the limits."""
    for option in reversed(_LIMITS):
        command = option(command)
    return command


_LIMITS = (
    click.option("--max-memory", metavar="SIZE", help="Maximum memory of the model, like 512MiB or 2GiB."),
    click.option("--min-decode", metavar="T/S", type=float, help="Minimum decode speed, in tokens per second."),
    click.option("--min-prefill", metavar="T/S", type=float, help="Minimum prefill speed, in tokens per second."),
    click.option(
        "--max-ttft", metavar="TIME", help="Maximum time to first token, like 500ms or 1s; needs a request workload."
    ),
    click.option(
        "--max-kld",
        metavar="NATS",
        type=float,
        help="Maximum KLD from the unquantized file, or the reference; needs slmprof quality.",
    ),
    click.option("--max-file", metavar="SIZE", help="Maximum size of the file, like 400MiB."),
    click.option(
        "--min-accuracy",
        metavar="TASK=X",
        multiple=True,
        help="Least share of right answers in a task, like arc_easy=0.5 or arc_easy=50%; may be repeated. Needs "
        "slmprof tasks.",
    ),
    click.option(
        "--max-accuracy-loss",
        metavar="PCT",
        help="Most points of accuracy lost against the unquantized file on the same items, like 1%; needs slmprof "
        "tasks.",
    ),
    number_option(
        "--n-ctx",
        least=1,
        most=1 << 24,
        help="Context at which memory counts; scaled where it was measured at another.  [default: as measured]",
    ),
)
_ORDER = (
    click.option(
        "--prefer",
        metavar="WEIGHTS",
        help="Weights of speed, memory and quality, like speed=2,memory=1,quality=1.  [default: without limits on "
        "speed, memory or size the fastest of good quality, else the best quality, then the fastest, the smallest]",
    ),
    click.option(
        "--flagged",
        is_flag=True,
        help="Take flagged cells as measured: intervals are not widened by what disturbed them.",
    ),
    click.option(
        "--sustained",
        is_flag=True,
        help="Choose among loads measured with --sustain, by the speed of their steady state.",
    ),
)


def criteria_of(options: dict[str, Any]) -> "Criteria":
    """Parse the options.

    Raises:
        UserError: a limit is not a number above 0, or the weights cannot be parsed.
    """
    from profiler.recommend.records import Criteria

    order = None if options["prefer"] is None else parse_weights(options["prefer"])
    return Criteria(limits=limits_of(options), order=order, flagged=options["flagged"], sustained=options["sustained"])


def limits_of(options: dict[str, Any]) -> "Limits":
    """Parse the limits.

    Raises:
        UserError: a limit is not a number above 0.
    """
    from profiler.recommend.records import Limits
    from quant.base.units import parse_duration_s

    max_ttft = options["max_ttft"]
    return Limits(
        max_memory_bytes=_bytes("--max-memory", options["max_memory"]),
        min_decode_tps=_positive("--min-decode", options["min_decode"]),
        min_prefill_tps=_positive("--min-prefill", options["min_prefill"]),
        max_ttft_ms=None if max_ttft is None else _positive("--max-ttft", parse_duration_s(max_ttft) * 1000),
        max_kld=_positive("--max-kld", options["max_kld"]),
        max_file_bytes=_bytes("--max-file", options["max_file"]),
        min_accuracy=tuple(map(_task_limit, options["min_accuracy"])),
        max_accuracy_loss=_share("--max-accuracy-loss", options["max_accuracy_loss"]),
        n_ctx=options["n_ctx"],
    )


def _bytes(option: str, text: str | None) -> int | None:
    from quant.base.units import parse_bytes

    if text is None:
        return None
    if not (size := parse_bytes(text)):
        raise UserError(f"{option} {text} is not a limit; use a size above 0")
    return size


def _task_limit(text: str) -> tuple[str, float]:
    """Parse "arc_easy=0.5"."""
    task, is_pair, value = (part.strip() for part in text.partition("="))
    if not task or not is_pair:
        raise UserError(f"--min-accuracy {text} names no task and share; write it like arc_easy=0.5")
    share = _share("--min-accuracy", value)
    assert share is not None
    return task, share


def _share(option: str, text: str | None) -> float | None:
    """Parse "0.01" or "1%"."""
    if text is None:
        return None
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = math.nan
    if not 0 < value <= 1:
        raise UserError(f"{option} {text} is no share above 0; write it like 0.5 or 50%")
    return value


def _positive(option: str, value: float | None) -> float | None:
    if value is not None and not (0 < value < math.inf):
        raise UserError(f"{option} {value:g} is not a limit; use a number above 0")
    return value


def parse_weights(text: str) -> "Prefer":
    """Parse "speed=2,memory=1,quality=1"; an omitted criterion does not count.

    Raises:
        UserError: a criterion is unknown or repeated, a weight is not a number, or all are 0.
    """
    from profiler.recommend.records import Prefer

    found: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = (word.strip().lower() for word in part.partition("="))
        try:
            weight = float(value)
        except ValueError:
            weight = math.nan
        if name not in _NAMES or name in found or not 0 <= weight <= 1000:
            raise UserError(
                f"'{part.strip()}' in --prefer is not a weight of {', '.join(_NAMES)}; "
                "write it like speed=2,memory=1,quality=1"
            )
        found[name] = weight
    if not any(found.values()):
        raise UserError("--prefer with all weights 0 has no effect; write it like speed=2,memory=1,quality=1")
    return Prefer(**found)
