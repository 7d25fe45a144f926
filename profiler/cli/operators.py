"""`slmprof operators`: where the time goes inside a prefill and a decode step."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from profiler.cli.options import (
    FILE,
    MAX_SEED,
    imatrix_option,
    no_repack_option,
    number_option,
    pre_option,
    threads_option,
    weights_option,
)
from quant.base.errors import UserError
from quant.base.progress import say
from quant.base.text import pretty_json

if TYPE_CHECKING:
    from profiler.operators.records import Observation, ObservationSettings
    from profiler.operators.report import OperatorReport
    from profiler.records.config import RunConfig
    from quant.sources.prepare import Prepared


@dataclass(frozen=True, kw_only=True)
class OperatorsOptions:
    """The options as typed."""

    level: str | None
    threads: int | None
    prefill: int
    depth: int
    gen: int
    reps: int
    fa: str
    no_repack: bool
    weights: str
    imatrix: Path | None
    pre: str | None
    timeout: str
    seed: int
    as_json: bool
    trace: Path | None


@click.command()
@click.argument("source", metavar="SOURCE")
@click.option("-q", "--level", metavar="LEVEL", help="One quantization level.  [default: a .gguf file as it is]")
@threads_option
@number_option("--prefill", least=1, most=1 << 20, default=128, help="Prompt tokens; the decode steps follow them.")
@number_option("--depth", least=0, most=1 << 20, default=0, help="Tokens in the KV cache before the prefill.")
@number_option(
    "-n",
    "--gen",
    least=1,
    most=4096,
    default=16,
    help="Decode steps in each repetition; reported are the medians of one step.",
)
@number_option("-r", "--reps", least=1, most=1000, default=5, help="Repetitions, each with and without observing.")
@click.option("--fa", type=click.Choice(["on", "off", "auto"]), default="auto", help="Flash attention.")
@no_repack_option
@weights_option
@imatrix_option
@pre_option
@click.option("--timeout", metavar="TIME", default="30m", help="Time limit for the run; 0 disables it.")
@number_option("--seed", least=0, most=MAX_SEED, default=0, help="Seed of the random tokens.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of the tables; times in nanoseconds.")
@click.option(
    "--trace",
    metavar="FILE",
    type=FILE,
    help="Write one prefill and one decode step as a Chrome trace, which Perfetto opens.",
)
def operators(source: str, **options: Any) -> int:
    """Show where a prefill and a decode step spend their time, by timing every node of llama.cpp's graph.

    Per operator and per part of the model: calls, time, share, bytes moved, GB/s and GFLOP/s; per layer a strip.
    Observing costs time, so the same runs are also timed without it, and both times are shown.

    \b
    slmprof operators smollm2-135m -q Q4_0 -t 1
    slmprof operators model.gguf -t 4 --prefill 512 --trace trace.json
    """
    return run_operators(source, OperatorsOptions(**options))


def run_operators(source: str, options: OperatorsOptions) -> int:
    """Observe one file and print the report; return the exit status.

    Raises:
        UserError: there is no single file to observe, or the trace cannot be written.
    """
    from profiler.device.bandwidth_record import load_ceiling
    from profiler.device.environment import physical_cores, read_environment
    from profiler.device.llama_build import probe_backend
    from profiler.measure.repack_probe import repack_in_force
    from profiler.operators.collect import config_of
    from profiler.operators.records import ObservationSettings
    from profiler.operators.report import report_of
    from quant.base.units import parse_duration_s

    timeout_s = parse_duration_s(options.timeout) or None
    if options.trace is not None and not options.trace.absolute().parent.is_dir():
        raise UserError(f"the folder of {options.trace} does not exist; create it first")
    file = _prepare(source, options)
    environment = read_environment(probe_backend())
    settings = ObservationSettings(
        n_prefill=options.prefill, n_depth=options.depth, n_gen=options.gen, reps=options.reps, seed=options.seed
    )
    config = config_of(
        settings,
        n_threads=options.threads or physical_cores(),
        flash_attn=options.fa,
        repack=repack_in_force(not options.no_repack),
    )
    observation = _observe(file, settings, config, timeout_s)
    if observation is None:
        return 1
    ceiling = load_ceiling(environment.id)
    report = report_of(
        observation,
        file.artifact,
        environment,
        settings,
        n_threads=config.n_threads,
        repack=config.repack,
        ceiling_bytes_per_s=ceiling.read_bytes_per_s(config.n_threads) if ceiling else None,
    )
    if options.trace is not None:
        _write_trace(options.trace, observation, report)
    _print(report, as_json=options.as_json)
    return 0


def _prepare(source: str, options: OperatorsOptions) -> "Prepared":
    """Make the one file to observe.

    Raises:
        UserError: there would be none, or several.
    """
    from profiler.cli.progress.bar import progress_bar
    from quant.gguf_io.levels import parse_levels
    from quant.sources.prepare import PrepareOptions, prepare
    from quant.sources.resolve import resolve

    level = options.level
    if level is None and resolve(source).kind != "gguf":
        raise UserError(f"operators observes one file; name one level of {source} with -q, like -q Q4_K_M")
    if level is not None and len(parse_levels(level)) != 1:
        raise UserError(f"operators observes one file, and {level} are several levels; name one, like -q Q4_K_M")
    prepare_options = PrepareOptions(
        levels=level,
        synthetic=options.weights == "synthetic",
        imatrix=options.imatrix,
        pre=options.pre,
    )
    with progress_bar():
        (file,) = prepare([source], prepare_options)
    return file


def _observe(
    file: "Prepared", settings: "ObservationSettings", config: "RunConfig", timeout_s: float | None
) -> "Observation | None":
    """Observe in a worker process; None where it failed, which is reported."""
    from profiler.operators.launch import observe_in_child

    answer = observe_in_child(file.path, settings, config, timeout_s=timeout_s)
    if answer.failure is not None:
        say(f"slmprof: {file.artifact.file_name} failed: {answer.failure.message}")
        return None
    assert answer.observation is not None
    return answer.observation


def _write_trace(path: Path, observation: "Observation", report: "OperatorReport") -> None:
    import json

    from profiler.operators.trace import trace_of
    from quant.base.files import write_text

    try:
        write_text(path, json.dumps(trace_of(observation, report)))
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}; choose another --trace") from error
    say(f"wrote {path}; open it at https://ui.perfetto.dev")


def _print(report: "OperatorReport", *, as_json: bool) -> None:
    if as_json:
        click.echo(pretty_json(report))
        return
    from profiler.operators.table import render

    click.echo(render(report), nl=False)
