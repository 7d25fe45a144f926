"""`slmprof quality`: perplexity and KLD of each level and KV cache, into the same results as their speed."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from profiler.cli.options import (
    FILE,
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
    from profiler.measure.corpus import Text
    from profiler.quality.choose import Chosen
    from profiler.quality.session import QualityCounts, QualityOptions
    from profiler.records.config import KvTypes
    from profiler.records.environment import Environment
    from profiler.results.writer import ResultsWriter
    from quant.sources.prepare import PrepareOptions


@dataclass(frozen=True, kw_only=True)
class CommandOptions:
    """The options as typed."""

    levels: str | None
    reference: Path | None
    text: Path | None
    n_ctx: int
    chunks: int | None
    ctk: str
    ctv: str
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
    help="Quantization levels, as in slmprof profile. The unquantized file is added if missing.  "
    "[default: Q4_0,IQ4_NL,IQ4_XS,Q4_K_M,Q5_K_M,Q6_K,Q8_0; a .gguf file as it is]",
)
@click.option(
    "--reference",
    metavar="FILE.gguf",
    type=FILE,
    help="Compare with this file, of any level, instead of the unquantized one. Its vocabulary must be that of the "
    "files: tokens, types, scores or merges, special ids, pre-tokenizer.",
)
@click.option(
    "--text",
    metavar="FILE",
    type=FILE,
    help="Text to score, in UTF-8.  [default: the one that comes with slmprof: prose, dialogue and code]",
)
@number_option(
    "--n-ctx",
    least=8,
    most=1 << 20,
    default=512,
    help="Tokens in a window; the predictions in its second half are scored.",
)
@number_option("--chunks", least=1, most=1 << 30, help="Windows to score at most.  [default: the whole text]")
@click.option(
    "--ctk",
    metavar="LIST",
    default="f16",
    help="Types of the keys in the KV cache: f32, f16, bf16, q8_0, q5_1, q5_0, q4_1, q4_0, iq4_nl. What the others are "
    "compared with has an f16 cache.",
)
@click.option(
    "--ctv",
    metavar="LIST",
    default="f16",
    help="Types of the values, crossed with those of the keys; quantized ones need flash attention, which llama.cpp "
    "then turns on.",
)
@threads_option
@imatrix_option
@pre_option
@click.option(
    "--timeout",
    metavar="TIME",
    default="0",
    help="Time limit for one process; its file is then marked failed. 0 disables it.",
)
@results_option
def quality(sources: tuple[str, ...], **options: Any) -> int:
    """Measure what quantization costs: perplexity on a text, and KLD from the unquantized model.

    What is quantized may be the weights, as levels or as any GGUF files, and the KV cache.

    Definitions are llama-perplexity's: the text is cut into windows, and the second half of each is scored. Besides
    perplexity, each level is compared with the unquantized model: mean Kullback-Leibler divergence (KLD) with its 90 %,
    99 % and largest values, how often the most probable token is the same, and how far the right token's probability
    moves. Files that are in the results already are not scored again. Only figures of the same text, cut into the same
    windows, are compared.

    \b
    slmprof quality smollm2-135m -q F16,Q8_0,Q4_K_M -o results.jsonl
    slmprof quality ./my-checkpoint -q all --text wiki.txt --chunks 20 -o results.jsonl
    slmprof quality UD-Q4_K_XL.gguf qat-Q4_0.gguf --reference BF16.gguf -o results.jsonl
    slmprof quality smollm2-135m -q F16,Q4_K_M --ctk f16,q8_0 --ctv f16,q8_0 --n-ctx 4096 -o results.jsonl
    """
    return run_command(sources, CommandOptions(**options))


def run_command(sources: tuple[str, ...], typed: CommandOptions) -> int:
    """Score the sources, print the table, and return the exit status."""
    from profiler.cli.results import load
    from profiler.device.environment import physical_cores
    from profiler.quality.session import QualityOptions
    from profiler.quality.table import quality_table
    from quant.base.files import readable_again
    from quant.base.units import parse_duration_s
    from quant.sources.prepare import PrepareOptions

    prepare_options = PrepareOptions(levels=levels_of(typed.levels), imatrix=typed.imatrix, pre=typed.pre)
    options = QualityOptions(
        n_ctx=typed.n_ctx,
        n_chunks=typed.chunks,
        n_threads=typed.threads or physical_cores(),
        timeout_s=parse_duration_s(typed.timeout) or None,
        caches=_caches(typed),
    )
    with readable_again(typed.results) as results:
        n_failed = measure_quality(
            list(sources), prepare_options, results, options, text=typed.text, reference=typed.reference
        )
        table = quality_table(load([results]))
    click.echo(table, nl=False)
    return 1 if n_failed else 0


def _caches(typed: CommandOptions) -> tuple["KvTypes", ...]:
    from profiler.records.config import CACHE_TYPES, crossed

    lists = {"--ctk": typed.ctk, "--ctv": typed.ctv}
    types = {name: tuple(dict.fromkeys(word.strip() for word in text.split(","))) for name, text in lists.items()}
    for name, kinds in types.items():
        for kind in kinds:
            if kind not in CACHE_TYPES:
                raise UserError(f"unknown {name} '{kind}'; choose from {', '.join(CACHE_TYPES)}")
    return crossed(types["--ctk"], types["--ctv"])


def measure_quality(
    sources: list[str],
    prepare_options: "PrepareOptions",
    results: Path,
    options: "QualityOptions",
    *,
    text: Path | None = None,
    reference: Path | None = None,
) -> int:
    """Score the files of all sources, append their records, and return how many could not be scored.

    Args:
        reference: what all are compared with; None for the unquantized file of each source.

    Raises:
        UserError: a source cannot be scored, as one with synthetic weights, or the results file cannot be written.
    """
    import msgspec

    from profiler.cli.progress.bar import progress_bar
    from profiler.device.environment import probe_backend, read_environment
    from profiler.measure.corpus import default_text, read_text
    from profiler.measure.repack_probe import repack_in_force
    from profiler.quality.choose import choose, choose_against
    from profiler.results.writer import ResultsWriter

    read = read_text(text) if text else default_text()
    n_failed = 0
    with ResultsWriter(results, say=say) as writer:
        environment = read_environment(probe_backend())
        options = msgspec.structs.replace(options, repack=repack_in_force(options.repack))
        # Each source is compared with its own unquantized file, or all with one.
        for together in [sources] if reference else [[source] for source in sources]:
            with progress_bar():
                if reference:
                    chosen = choose_against(reference, together, prepare_options)
                else:
                    chosen = choose(together[0], prepare_options)
                counts = _score(chosen, read, options, environment, writer, _scratch_folder(results))
            n_failed += counts.n_failed
            if counts.n_known:
                say(f"{counted(counts.n_known, 'file')} of {', '.join(together)} scored already")
    return n_failed


def _score(
    chosen: "Chosen",
    text: "Text",
    options: "QualityOptions",
    environment: "Environment",
    writer: "ResultsWriter",
    scratch: Path,
) -> "QualityCounts":
    from profiler.device.environment import available_memory_bytes
    from profiler.measure.launch import run_in_child
    from profiler.quality.session import Tools, run_quality
    from profiler.quality.worker import ScoreAnswer

    known = writer.results
    if environment.id not in known.environments:
        writer.write(environment)
        known.environments[environment.id] = environment
    for file in chosen.all_files:
        if known.artifacts.get(file.artifact.sha256) != file.artifact:
            writer.write(file.artifact)
    tools = Tools(
        scratch=scratch,
        write=writer.write,
        run=lambda job, on_progress: run_in_child(
            "profiler.quality.worker",
            job,
            ScoreAnswer,
            Path(job.path).parent,
            timeout_s=options.timeout_s,
            on_progress=on_progress,
        ),
        available_bytes=available_memory_bytes,
    )
    return run_quality(chosen, text, options, environment, known=known, tools=tools)


def _scratch_folder(results: Path) -> Path:
    """Return a folder for each results file, which is locked: the next run removes what a killed one left there."""
    import hashlib

    from quant.base.files import cache_dir

    return cache_dir() / "quality" / hashlib.sha256(str(results.absolute()).encode()).hexdigest()[:16]
