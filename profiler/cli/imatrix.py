"""`slmprof imatrix`: an importance matrix from calibration text, for quantizing to few bits."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from profiler.cli.options import FILE, number_option, pre_option, threads_option
from quant.base.errors import UserError
from quant.base.progress import progress, say

if TYPE_CHECKING:
    from profiler.imatrix.worker import ImatrixAnswer, ImatrixJob
    from quant.sources.prepare import Prepared


@dataclass(frozen=True, kw_only=True)
class ImatrixOptions:
    """The options as typed."""

    text: Path | None
    output: Path
    n_ctx: int
    chunks: int | None
    threads: int | None
    process_output: bool
    pre: str | None


@click.command()
@click.argument("source", metavar="SOURCE")
@click.option(
    "--text",
    metavar="FILE",
    type=FILE,
    help="Calibration text in UTF-8.  [default: the one that comes with slmprof, 28 KiB]",
)
@click.option("-o", "--output", metavar="FILE", type=FILE, required=True, help="The new file, ending in .gguf.")
@number_option(
    "--n-ctx", least=32, most=1 << 20, default=512, help="Tokens in a window; an incomplete last window is skipped."
)
@number_option("--chunks", least=1, help="Windows to read at most.  [default: the whole text]")
@threads_option
@click.option(
    "--process-output", is_flag=True, help="Also collect for output.weight, as llama-imatrix does on request."
)
@pre_option
def imatrix(source: str, **options: Any) -> None:
    """Compute an importance matrix from calibration text: how large the inputs of each weight matrix are.

    With it, quantizing is most precise for the weights that meet large inputs; the smallest levels require one. SOURCE
    is an unquantized GGUF file (or Q8_0), or a checkpoint, which is converted first. The file has llama-imatrix's
    format: pass it to --imatrix, here or in llama-quantize.

    \b
    slmprof imatrix ./checkpoint -o imatrix.gguf
    slmprof imatrix model-F16.gguf --text mine.txt --chunks 100 -o imatrix.gguf
    slmprof quantize model-F16.gguf -q IQ3_XXS,Q2_K --imatrix imatrix.gguf -o models/
    """
    compute_imatrix(source, ImatrixOptions(**options))


def compute_imatrix(source: str, options: ImatrixOptions) -> None:
    """Compute an importance matrix and print the new file's path.

    Raises:
        UserError: the text or the model cannot be used, or the file cannot be written.
    """
    from profiler.cli.progress.bar import progress_bar
    from profiler.device.environment import physical_cores
    from profiler.imatrix.worker import ImatrixJob
    from profiler.measure.corpus import default_text, read_text
    from quant.base.files import atomic_path

    if options.output.suffix != ".gguf":
        raise UserError(f"-o {options.output} must end in .gguf; choose such a name")
    text = read_text(options.text) if options.text else default_text()
    with progress_bar():
        file = _prepare(source, options.pre)
        with atomic_path(options.output) as part:
            job = ImatrixJob(
                path=str(file.path),
                out=str(part),
                text=text.content.decode(),
                dataset=text.name,
                n_ctx=options.n_ctx,
                n_chunks=options.chunks,
                n_threads=options.threads or physical_cores(),
                with_output=options.process_output,
            )
            answer = _collect(file, job)
    say(f"{answer.n_tensors} tensors, {answer.n_windows} windows of {options.n_ctx} tokens of {text.name}")
    if answer.unused:
        others = f" and {len(answer.unused) - 1} others" if len(answer.unused) > 1 else ""
        say(f"no token chose some experts of {answer.unused[0]}{others}; use a longer --text")
    click.echo(options.output)


def _prepare(source: str, pre: str | None) -> "Prepared":
    """Return the file to run: the named one, or the checkpoint converted without quantizing.

    Raises:
        UserError: there is none, or its weights are synthetic.
    """
    from quant.sources.prepare import PrepareOptions, prepare
    from quant.sources.resolve import resolve

    level = None if resolve(source).kind == "gguf" else _unquantized_level(source)
    prepare_options = PrepareOptions(levels=level, pre=pre)
    (file,) = prepare([source], prepare_options)
    if file.artifact.weights == "synthetic":
        raise UserError(f"the weights of {source} are synthetic, so their inputs mean nothing; use real weights")
    return file


def _unquantized_level(source: str) -> str:
    """Return the level that keeps a checkpoint's weights exactly; F16 where they are not here yet, or are wider."""
    from quant.convert.checkpoint import open_checkpoint
    from quant.sources.resolve import resolve

    found = resolve(source)
    if found.path is None or not found.path.is_dir():
        return "F16"
    matrices = [each for each in open_checkpoint(found.path).tensors.values() if len(each.shape) > 1]
    return "BF16" if any(each.dtype == "BF16" for each in matrices) else "F16"


def _collect(file: "Prepared", job: "ImatrixJob") -> "ImatrixAnswer":
    """Run the worker.

    Raises:
        UserError: it failed, or the text is too short.
    """
    import msgspec

    from profiler.imatrix.worker import ImatrixAnswer, WindowsDone
    from profiler.measure.launch import run_in_child

    def on_progress(line: bytes) -> None:
        news = msgspec.json.decode(line, type=WindowsDone)
        progress("imatrix", news.done, news.total)

    answer = run_in_child(
        "profiler.imatrix.worker", job, ImatrixAnswer, file.path.parent, timeout_s=None, on_progress=on_progress
    )
    if answer.failure is not None:
        raise UserError(
            f"{file.artifact.file_name} could not read {job.dataset}: {answer.failure.message}; check the file"
        )
    if not answer.n_windows:
        raise UserError(
            f"{job.dataset} has {answer.n_tokens} tokens, less than a window of {job.n_ctx}; "
            "use a longer --text or a smaller --n-ctx"
        )
    return answer
