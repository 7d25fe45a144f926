"""`slmprof operators`: where the time goes inside a prefill and a decode step."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from profiler.cli.options import imatrix_option, no_repack_option, pre_option, weights_option
from quant.base.errors import UserError

if TYPE_CHECKING:
    from profiler.operators.records import Seen
    from profiler.operators.report import Report
    from quant.sources.prepare import Prepared


@click.command()
@click.argument("source", metavar="SOURCE")
@click.option("-q", "--level", metavar="LEVEL", help="One quantization level.  [default: a .gguf file as it is]")
@click.option(
    "-t", "--threads", metavar="N", type=click.IntRange(1, 512), help="Threads.  [default: the physical cores]"
)
@click.option(
    "--prefill",
    metavar="N",
    type=click.IntRange(1, 1 << 20),
    default=128,
    show_default=True,
    help="Prompt tokens; the decode steps follow them.",
)
@click.option(
    "--depth",
    metavar="N",
    type=click.IntRange(0, 1 << 20),
    default=0,
    show_default=True,
    help="Tokens that the KV cache holds before the prefill.",
)
@click.option(
    "-n",
    "--gen",
    metavar="N",
    type=click.IntRange(1, 4096),
    default=16,
    show_default=True,
    help="Decode steps in each repetition; one step's medians are told.",
)
@click.option(
    "-r",
    "--reps",
    metavar="N",
    type=click.IntRange(1, 1000),
    default=5,
    show_default=True,
    help="Repetitions, each once observed and once not.",
)
@click.option(
    "--fa", type=click.Choice(["on", "off", "auto"]), default="auto", show_default=True, help="Flash attention."
)
@no_repack_option
@weights_option
@imatrix_option
@pre_option
@click.option(
    "--timeout", metavar="TIME", default="30m", show_default=True, help="Give up after this time; 0 waits for ever."
)
@click.option(
    "--seed", metavar="N", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Decides the tokens."
)
@click.option("--json", "as_json", is_flag=True, help="Print one object instead of the tables; times in nanoseconds.")
@click.option(
    "--trace",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write one prefill and one decode step as a Chrome trace, to be opened in Perfetto.",
)
def operators(source: str, **options: Any) -> int:
    """Time every node of llama.cpp's graph, and tell where a prefill and a decode step spend their time.

    Told per operator and per part of the model: calls, time, share, bytes moved, GB/s and GFLOP/s; per layer a strip.
    Being observed costs time, so the same runs are also timed without, and both stand side by side.

    \b
    slmprof operators smollm2-135m -q Q4_0 -t 1
    slmprof operators model.gguf -t 4 --prefill 512 --trace trace.json
    """
    from profiler.device.environment import physical_cores, read_environment
    from profiler.device.llama_build import probe_backend
    from profiler.measure.repack_probe import repack_in_force
    from profiler.operators.records import Look
    from profiler.operators.report import report_of
    from profiler.operators.table import render
    from quant.base.units import parse_duration_s

    timeout_s = parse_duration_s(options["timeout"]) or None
    trace: Path | None = options["trace"]
    if trace is not None and not trace.absolute().parent.is_dir():
        raise UserError(f"the folder of {trace} is not there; make it first")
    file = _file_of(source, options)
    backend = probe_backend()
    environment = read_environment(backend)
    repack = repack_in_force(not options["no_repack"], lambda line: click.echo(line, err=True))
    n_threads = options["threads"] or physical_cores()
    look = Look(
        n_prefill=options["prefill"],
        n_depth=options["depth"],
        n_gen=options["gen"],
        reps=options["reps"],
        seed=options["seed"],
    )
    seen = _look(file, look, n_threads=n_threads, flash_attn=options["fa"], repack=repack, timeout_s=timeout_s)
    if seen is None:
        return 1
    report = report_of(
        seen,
        file.artifact,
        environment,
        look,
        n_threads=n_threads,
        repack=repack,
        ceiling_bytes_per_s=_ceiling_bytes_per_s(environment.id, n_threads),
    )
    if trace is not None:
        _write_trace(trace, seen, report)
    if options["as_json"]:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(report), indent=1).decode())
    else:
        click.echo(render(report), nl=False)
    return 0


def _ceiling_bytes_per_s(env_id: str, n_threads: int) -> float | None:
    """Give what this device reads per second with so many threads; None where doctor --bandwidth did not measure it."""
    from profiler.device.bandwidth_record import load_ceiling

    ceiling = load_ceiling(env_id)
    return ceiling.read_bytes_per_s(n_threads) if ceiling else None


def _file_of(source: str, options: dict[str, Any]) -> "Prepared":
    """Make the one file that is looked at.

    Raises:
        UserError: there would be none, or several.
    """
    from profiler.cli.progress.bar import progress_bar
    from quant.base.files import cache_dir
    from quant.gguf_io.levels import parse_levels
    from quant.sources.prepare import Wishes, prepare
    from quant.sources.resolve import resolve

    level = options["level"]
    if level is None and resolve(source).kind != "gguf":
        raise UserError(f"operators looks at one file; name one level of {source} with -q, like -q Q4_K_M")
    if level is not None and len(parse_levels(level)) != 1:
        raise UserError(f"operators looks at one file, and {level} are several levels; name one, like -q Q4_K_M")
    wishes = Wishes(
        levels=level,
        models_dir=cache_dir() / "models",
        synthetic=options["weights"] == "synthetic",
        imatrix=options["imatrix"],
        pre=options["pre"],
    )
    with progress_bar() as progress:
        files = prepare([source], wishes, progress=progress, say=lambda line: click.echo(line, err=True))
    return files[0]


def _look(
    file: "Prepared", look: Any, *, n_threads: int, flash_attn: str, repack: bool, timeout_s: float | None
) -> "Seen | None":
    from profiler.measure.launch import run_in_child
    from profiler.operators.collect import config_of
    from profiler.operators.worker import LookAnswer, LookJob

    config = config_of(look, n_threads=n_threads, flash_attn=flash_attn, repack=repack)
    job = LookJob(path=str(file.path), config=config, look=look)
    answer = run_in_child("profiler.operators.worker", job, LookAnswer, file.path.parent, timeout_s=timeout_s)
    if answer.failure is not None:
        click.echo(f"slmprof: {file.artifact.file_name} could not be looked at: {answer.failure.message}", err=True)
        return None
    assert answer.seen is not None
    return answer.seen


def _write_trace(path: Path, seen: "Seen", report: "Report") -> None:
    import json

    from profiler.operators.trace import trace_of
    from quant.base.files import write_text

    try:
        write_text(path, json.dumps(trace_of(seen, report)))
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    click.echo(f"wrote {path}; open it at https://ui.perfetto.dev", err=True)
