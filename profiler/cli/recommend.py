"""`slmprof recommend`: limits in, one choice out."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from quant.errors import UserError

if TYPE_CHECKING:
    from profiler.recommend.records import Prefer

CRITERIA = ("speed", "memory", "quality")


@click.command()
@click.argument("results", metavar="RESULTS...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--max-memory", metavar="SIZE", help="The most memory that the model may take, like 512MiB or 2GiB.")
@click.option("--min-decode", metavar="T/S", type=float, help="The fewest tokens per second of decode.")
@click.option("--min-prefill", metavar="T/S", type=float, help="The fewest tokens per second of prefill.")
@click.option("--max-ttft", metavar="TIME", help="The longest time to first token, like 500ms or 1s; needs a request.")
@click.option(
    "--max-kld", metavar="NATS", type=float, help="The largest measured divergence from the unquantized file."
)
@click.option(
    "--n-ctx",
    metavar="N",
    type=click.IntRange(1, 1 << 24),
    help="The context at which memory counts; estimated where it was measured at another.  [default: as measured]",
)
@click.option(
    "--prefer",
    metavar="WEIGHTS",
    help="How much speed, memory and quality count, like speed=2,memory=1,quality=1.  [default: the best quality, "
    "then the fastest, then the smallest]",
)
@click.option("--model", metavar="NAME", help="Only this model, where the results hold several.")
@click.option("--workload", metavar="NAME", help="Only this workload, where the results hold several.")
@click.option("--flagged", is_flag=True, help="Choose also among cells whose numbers were disturbed.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON: the choice, its reason, what stood beside it.")
def recommend(
    results: tuple[Path, ...],
    max_memory: str | None,
    min_decode: float | None,
    min_prefill: float | None,
    max_ttft: str | None,
    max_kld: float | None,
    n_ctx: int | None,
    prefer: str | None,
    model: str | None,
    workload: str | None,
    flagged: bool,
    as_json: bool,
) -> int:
    """Choose a level and a thread count within limits, and say why, what came close, and what would have to give.

    A limit is kept when the whole interval keeps it. What intervals do not tell apart is a tie, which the next
    criterion decides. Without measured quality more bits per weight stand in for it. Cells with flags are not chosen
    unless --flagged is given. The exit status is 1 when nothing fits.

    \b
    slmprof recommend results.jsonl --max-memory 512MiB --min-decode 8
    slmprof recommend results.jsonl --max-ttft 1s --n-ctx 4096 --workload chat
    slmprof recommend results.jsonl --prefer speed=2,memory=1,quality=1 --json
    """
    from profiler.cli.results import load
    from profiler.recommend.choose import narrowed, to_json
    from profiler.recommend.choose import recommend as choose
    from profiler.recommend.records import Limits
    from profiler.recommend.text import render
    from profiler.summarise import summarise
    from quant.units import parse_duration_s

    limits = Limits(
        max_memory_bytes=_bytes(max_memory),
        min_decode_tps=_positive("--min-decode", min_decode),
        min_prefill_tps=_positive("--min-prefill", min_prefill),
        max_ttft_ms=_positive("--max-ttft", parse_duration_s(max_ttft) * 1000) if max_ttft is not None else None,
        max_kld=_positive("--max-kld", max_kld),
        n_ctx=n_ctx,
    )
    wanted = read_weights(prefer) if prefer is not None else None
    found = load(results)
    summaries = narrowed(summarise(found), model=model, workload=workload)
    if not summaries:
        raise UserError(f"{results[0].name} holds no measured cells yet; measure some with slmprof profile")
    chosen = choose(
        summaries,
        limits,
        prefer=wanted,
        flagged=flagged,
        artifacts=found.artifacts,
        results_name=results[0].name,
    )
    click.echo(to_json(chosen) if as_json else render(chosen, found.environments), nl=False)
    return 0 if any(choice.chosen for choice in chosen.choices) else 1


def _bytes(text: str | None) -> int | None:
    from quant.units import parse_bytes

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
