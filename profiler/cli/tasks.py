"""`slmprof tasks`: what each level can still do, through lm-evaluation-harness."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from profiler.cli.options import (
    PATH,
    imatrix_option,
    levels_of,
    number_option,
    pre_option,
    results_option,
    sources_argument,
    threads_option,
)
from quant.base.errors import UserError
from quant.base.progress import say
from quant.base.text import counted

if TYPE_CHECKING:
    from profiler.tasks.session import TaskOptions
    from quant.sources.prepare import PrepareOptions

_MOST_SHOTS = 100


@dataclass(frozen=True, kw_only=True)
class CommandOptions:
    """The options as typed."""

    levels: str | None
    names: str
    shots: str | None
    limit: int | None
    n_ctx: int | None
    include: Path | None
    trust_include: bool
    execute_code: bool
    threads: int | None
    imatrix: Path | None
    pre: str | None
    timeout: str
    results: Path


@click.command()
@sources_argument
@click.option(
    "-q",
    "--levels",
    metavar="LEVELS",
    help="Quantization levels, as in slmprof profile.  "
    "[default: Q4_0,IQ4_NL,IQ4_XS,Q4_K_M,Q5_K_M,Q6_K,Q8_0; a .gguf file as it is]",
)
@click.option(
    "--tasks",
    "names",
    metavar="NAMES",
    required=True,
    help="Names of lm-evaluation-harness like hellaswag,arc_easy, or sets: common-sense, in-context, math, code, "
    "survey (all of these, as the survey asked), offline (200 questions that come with slmprof).",
)
@click.option(
    "--shots",
    metavar="LIST",
    help="Examples before each question, like 0,1,5. Tasks with a fixed prompt ignore it.  [default: each task's own]",
)
@number_option("--limit", least=1, most=1 << 30, help="Items of each task at most, the first ones.  [default: all]")
@number_option(
    "--n-ctx",
    least=32,
    most=1 << 24,
    help="Tokens of the longest input; longer ones lose their beginning.  [default: as the model was trained]",
)
@click.option(
    "--include",
    metavar="DIR",
    type=PATH,
    help="Also read the task files of this folder. They may be YAML only; paths in them are relative to the file.",
)
@click.option("--trust-include", is_flag=True, help="Let those task files run Python, with !function.")
@click.option(
    "--execute-code",
    is_flag=True,
    help="Run the code that the model writes, in a process without network and with little memory and time.",
)
@threads_option
@imatrix_option
@pre_option
@click.option(
    "--timeout",
    metavar="TIME",
    default="0",
    help="Time limit for one task of one file; it is then marked failed. 0 disables it.",
)
@results_option
def tasks(sources: tuple[str, ...], **options: Any) -> int:
    """Measure what a model can still do at each level: accuracy in tasks of lm-evaluation-harness.

    Tasks, prompts, examples and metrics are the harness's own, so that figures can be compared with published ones; the
    model runs on llama.cpp. Levels of one model are compared item by item. Data comes from a Hugging Face hub or its
    cache; the set offline needs neither. What is in the results already is not asked again.

    \b
    slmprof tasks smollm2-135m -q F16,Q8_0,Q4_K_M --tasks offline -o results.jsonl
    slmprof tasks smollm2-135m -q F16,Q4_K_M --tasks hellaswag,arc_easy --shots 0,5 --limit 200 -o results.jsonl
    slmprof tasks model.gguf --tasks my_task --include my-tasks/ -o results.jsonl
    """
    return run_command(sources, CommandOptions(**options))


def run_command(sources: tuple[str, ...], typed: CommandOptions) -> int:
    """Put the tasks to the sources' files, print the tables, and return the exit status."""
    from profiler.cli.results import load
    from profiler.device.environment import physical_cores
    from profiler.tasks.session import TaskOptions
    from profiler.tasks.table import tasks_table
    from quant.base.files import readable_again
    from quant.base.units import parse_duration_s
    from quant.sources.prepare import PrepareOptions

    options = TaskOptions(
        names=names_of(typed.names),
        shots=shots_of(typed.shots),
        n_limit=typed.limit,
        n_ctx=typed.n_ctx,
        include=typed.include,
        trust_include=typed.trust_include,
        execute_code=typed.execute_code,
        n_threads=typed.threads or physical_cores(),
        timeout_s=parse_duration_s(typed.timeout) or None,
    )
    prepare_options = PrepareOptions(levels=levels_of(typed.levels), imatrix=typed.imatrix, pre=typed.pre)
    with readable_again(typed.results) as results:
        n_failed = measure_tasks(list(sources), prepare_options, results, options)
        table = tasks_table(load([results]))
    click.echo(table, nl=False)
    return 1 if n_failed else 0


def names_of(text: str) -> tuple[str, ...]:
    """Parse --tasks.

    Raises:
        UserError: there is no name in it.
    """
    names = tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    if not names:
        raise UserError("--tasks names no task; see slmprof tasks --help")
    return names


def shots_of(text: str | None) -> tuple[int, ...] | None:
    """Parse --shots.

    Raises:
        UserError: it is no list of small numbers.
    """
    from profiler.cli.options.values import ints_of

    return tuple(dict.fromkeys(ints_of(text, "--shots", most=_MOST_SHOTS))) or None


def measure_tasks(sources: list[str], prepare_options: "PrepareOptions", results: Path, options: "TaskOptions") -> int:
    """Put the tasks to the files of all sources, append their records, and return how many failed.

    Raises:
        UserError: the harness is missing, weights are synthetic, a task is refused, or the results cannot be written.
    """
    import msgspec

    from profiler.cli.progress.bar import progress_bar
    from profiler.device.environment import probe_backend, read_environment
    from profiler.measure.repack_probe import repack_in_force
    from profiler.results.writer import ResultsWriter
    from profiler.tasks.session import HarnessProcess
    from quant.sources.prepare import prepare
    from quant.sources.real_weights import refusal

    if prepare_options.synthetic:
        raise refusal(sources[0])
    options = msgspec.structs.replace(options, repack=repack_in_force(options.repack))
    with HarnessProcess(options) as harness, ResultsWriter(results, say=say) as writer, progress_bar():
        environment = read_environment(probe_backend())
        files = prepare(sources, prepare_options)
        known = writer.results
        if environment.id not in known.environments:
            writer.write(environment)
        for file in files:
            if known.artifacts.get(file.artifact.sha256) != file.artifact:
                writer.write(file.artifact)
        counts = harness.ask(files, environment, known=known, write=writer.write)
    if counts.n_known:
        say(f"{counted(counts.n_known, 'task')} answered already")
    return counts.n_failed
