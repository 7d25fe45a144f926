"""`slmprof quality`: what the levels make of a text, into the same results as their speed."""

from pathlib import Path
from typing import Any

import click

from profiler.cli.options import imatrix_option, levels_of, pre_option


@click.command()
@click.argument("source", metavar="SOURCE")
@click.option(
    "-q",
    "--levels",
    metavar="LEVELS",
    help="Quantization levels, as in slmprof profile. The unquantized file is added where it is missing.  "
    "[default: Q4_0,Q4_K_M,Q5_K_M,Q6_K,Q8_0; a .gguf file as it is]",
)
@click.option(
    "--text",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The text that is predicted, in UTF-8.  [default: one that comes with slmprof, of prose, dialogue and code]",
)
@click.option(
    "--n-ctx",
    metavar="N",
    type=click.IntRange(8, 1 << 20),
    default=512,
    show_default=True,
    help="Tokens of a window; the predictions in its second half are scored.",
)
@click.option("--chunks", metavar="N", type=click.IntRange(1, 1 << 30), help="Windows to score.  [default: all]")
@click.option(
    "-t", "--threads", metavar="N", type=click.IntRange(1, 512), help="Threads.  [default: the physical cores]"
)
@imatrix_option
@pre_option
@click.option(
    "--timeout",
    metavar="TIME",
    default="0",
    show_default=True,
    help="Give up on a file whose process takes longer; 0 waits for ever.",
)
@click.option(
    "-o",
    "--output",
    "results",
    type=click.Path(path_type=Path),
    required=True,
    help="The results file, as that of slmprof profile; new records are appended.",
)
def quality(source: str, results: Path, **options: Any) -> int:
    """Measure what quantization costs: perplexity on a text, and divergence from the unquantized model.

    Definitions are llama-perplexity's: the text is cut into windows, and the second half of each is scored. Beside
    perplexity stand, against the unquantized model, the mean Kullback-Leibler divergence and its 90 %, 99 % and largest
    values, how often the most probable token is the same, and how far the right token's probability moves. What is in
    the results file is not measured again. Only figures of the same text are shown beside speed.

    \b
    slmprof quality smollm2-135m -q F16,Q8_0,Q4_K_M -o results.jsonl
    slmprof quality ./my-checkpoint -q all --text wiki.txt --chunks 20 -o results.jsonl
    """
    from profiler.cli.results import load
    from profiler.quality.table import quality_table
    from quant.base.files import cache_dir
    from quant.base.units import parse_duration_s
    from quant.sources.prepare import Wishes

    wishes = Wishes(
        levels=levels_of(options["levels"]),
        models_dir=cache_dir() / "models",
        imatrix=options["imatrix"],
        pre=options["pre"],
    )
    n_failed = measure_quality(
        [source],
        wishes,
        results,
        text=options["text"],
        n_ctx=options["n_ctx"],
        n_chunks=options["chunks"],
        n_threads=options["threads"],
        timeout_s=parse_duration_s(options["timeout"]) or None,
    )
    click.echo(quality_table(load([results])), nl=False)
    return 1 if n_failed else 0


def measure_quality(
    sources: list[str],
    wishes: Any,
    results: Path,
    *,
    text: Path | None = None,
    n_ctx: int = 512,
    n_chunks: int | None = None,
    n_threads: int | None = None,
    timeout_s: float | None = None,
    repack: bool = True,
) -> int:
    """Score the files of all sources and append their records; give how many could not be scored.

    Raises:
        UserError: a source cannot be scored, as one with synthetic weights, or the results file cannot be written.
    """
    import hashlib

    from profiler.cli.progress.bar import progress_bar
    from profiler.device.environment import available_memory_bytes, physical_cores, probe_backend, read_environment
    from profiler.measure.corpus import default_text, read_text
    from profiler.measure.launch import run_in_child
    from profiler.measure.repack_probe import repack_in_force
    from profiler.quality.choose import choose
    from profiler.quality.session import Options, Tools, run_quality
    from profiler.quality.worker import ScoreAnswer
    from profiler.results.file import ResultsWriter
    from quant.base.files import cache_dir

    def say(line: str) -> None:
        click.echo(line, err=True)

    scored = read_text(text) if text else default_text()
    # One folder for each results file, which is locked: what a killed run left there is removed by the next.
    folder = hashlib.sha256(str(results.absolute()).encode()).hexdigest()[:16]
    n_failed = 0
    with ResultsWriter(results, say=say) as writer:
        backend = probe_backend()
        environment = read_environment(backend)
        options = Options(
            n_ctx=n_ctx,
            n_chunks=n_chunks,
            n_threads=n_threads or physical_cores(),
            timeout_s=timeout_s,
            repack=repack_in_force(repack, say),
        )
        for source in sources:
            with progress_bar() as progress:
                chosen = choose(source, wishes, progress=progress, say=say)
                known = writer.results
                if environment.id not in known.environments:
                    writer.write(environment)
                    known.environments[environment.id] = environment
                for file in chosen.files:
                    if known.artifacts.get(file.artifact.sha256) != file.artifact:
                        writer.write(file.artifact)
                tools = Tools(
                    scratch=cache_dir() / "quality" / folder,
                    write=writer.write,
                    run=lambda job, on_news: run_in_child(
                        "profiler.quality.worker",
                        job,
                        ScoreAnswer,
                        Path(job.path).parent,
                        timeout_s=timeout_s,
                        on_news=on_news,
                    ),
                    available_bytes=available_memory_bytes,
                    progress=progress,
                    say=say,
                )
                outcome = run_quality(chosen, scored, options, environment, known=known, tools=tools)
            n_failed += outcome.n_failed
            if outcome.n_there:
                say(f"{outcome.n_there} file{'' if outcome.n_there == 1 else 's'} of {source} scored already")
    return n_failed
