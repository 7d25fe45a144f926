"""`slmprof imatrix`: what enters a model's matrices on a text, for quantizing to few bits."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from profiler.cli.options import pre_option
from quant.base.errors import UserError

if TYPE_CHECKING:
    from profiler.imatrix.worker import ImatrixAnswer
    from quant.base.progress import Progress
    from quant.sources.prepare import Prepared

_PATH = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("source", metavar="SOURCE")
@click.option(
    "--text", metavar="FILE", type=_PATH, help="The text to read, in UTF-8.  [default: one of our own, 28 KiB]"
)
@click.option("-o", "--output", metavar="FILE", type=_PATH, required=True, help="The new file, ending in .gguf.")
@click.option("--n-ctx", metavar="N", type=click.IntRange(32, 1 << 20), default=512, show_default=True,
              help="Tokens in a window; a last window that is not full is left out.")  # fmt: skip
@click.option("--chunks", metavar="N", type=click.IntRange(1), help="Read so many windows.  [default: all]")
@click.option("-t", "--threads", metavar="N", type=click.IntRange(1, 512),
              help="Threads.  [default: the physical cores]")  # fmt: skip
@click.option(
    "--process-output", is_flag=True, help="Collect for output.weight as well, as llama-imatrix does if asked."
)
@pre_option
def imatrix(
    source: str,
    text: Path | None,
    output: Path,
    n_ctx: int,
    chunks: int | None,
    threads: int | None,
    process_output: bool,
    pre: str | None,
) -> None:
    """Let a model read a text, and keep how large the inputs of each matrix were: an importance matrix.

    With it, quantizing rounds most carefully what meets large inputs; the smallest levels cannot be made without.
    SOURCE is an unquantized GGUF file (or Q8_0), or a checkpoint, which is converted first. The file is as
    llama-imatrix writes it: it serves in --imatrix here and in llama-quantize.

    \b
    slmprof imatrix ./checkpoint -o imatrix.gguf
    slmprof imatrix model-F16.gguf --text mine.txt --chunks 100 -o imatrix.gguf
    slmprof quantize model-F16.gguf -q IQ3_XXS,Q2_K --imatrix imatrix.gguf -o models/
    """
    from profiler.cli.progress.bar import progress_bar
    from profiler.device.environment import physical_cores
    from profiler.measure.corpus import default_text, read_text
    from quant.base.files import atomic_path

    if output.suffix != ".gguf":
        raise UserError(f"-o {output} must end in .gguf; give a file's name")
    read = read_text(text) if text else default_text()
    name, words = read.name, read.content.decode()
    with progress_bar() as progress:
        file = _file_of(source, pre, progress)
        with atomic_path(output) as part:
            answer = _collect(
                file, part, name, words, n_ctx, chunks, threads or physical_cores(), process_output, progress
            )
    _say(f"{answer.n_tensors} tensors, {answer.n_windows} windows of {n_ctx} tokens of {name}")
    if answer.unused:
        _say(f"{answer.unused[0]} and {len(answer.unused) - 1} others have experts that no token chose; read more text")
    click.echo(output)


def _say(line: str) -> None:
    click.echo(line, err=True)


def _file_of(source: str, pre: str | None, progress: "Progress") -> "Prepared":
    """Give the file that is run: the one that was named, or the checkpoint's, unquantized.

    Raises:
        UserError: there is none, or its weights are made up.
    """
    from quant.base.files import cache_dir
    from quant.sources.prepare import Wishes, prepare
    from quant.sources.resolve import resolve

    found = resolve(source)
    level = None if found.kind == "gguf" else _unquantized_level(source)
    wishes = Wishes(levels=level, models_dir=cache_dir() / "models", pre=pre)
    file = prepare([source], wishes, progress=progress, say=_say)[0]
    if file.artifact.weights == "synthetic":
        raise UserError(
            f"the weights of {source} are synthetic: what enters their matrices means nothing; give real weights"
        )
    return file


def _unquantized_level(source: str) -> str:
    """Give the level that keeps a checkpoint's weights as they are; F16 where they are not here yet, or wider."""
    from quant.convert.checkpoint import open_checkpoint
    from quant.sources.resolve import resolve

    found = resolve(source)
    if found.path is None or not found.path.is_dir():
        return "F16"
    matrices = [each for each in open_checkpoint(found.path).tensors.values() if len(each.shape) > 1]
    return "BF16" if any(each.dtype == "BF16" for each in matrices) else "F16"


def _collect(
    file: "Prepared",
    part: Path,
    name: str,
    text: str,
    n_ctx: int,
    n_chunks: int | None,
    n_threads: int,
    with_output: bool,
    progress: "Progress",
) -> "ImatrixAnswer":
    import msgspec

    from profiler.imatrix.worker import ImatrixAnswer, ImatrixJob, WindowsDone
    from profiler.measure.launch import run_in_child

    def on_news(line: bytes) -> None:
        news = msgspec.json.decode(line, type=WindowsDone)
        progress("imatrix", news.done, news.total)

    job = ImatrixJob(
        path=str(file.path),
        out=str(part),
        text=text,
        dataset=name,
        n_ctx=n_ctx,
        n_chunks=n_chunks,
        n_threads=n_threads,
        with_output=with_output,
    )
    answer = run_in_child(
        "profiler.imatrix.worker", job, ImatrixAnswer, file.path.parent, timeout_s=None, on_news=on_news
    )
    if answer.failure is not None:
        raise UserError(f"{file.artifact.file_name} could not read {name}: {answer.failure.message}; check the file")
    if not answer.n_windows:
        raise UserError(
            f"{name} has {answer.n_tokens} tokens, less than a window of {n_ctx}; "
            "give a longer text or a smaller --n-ctx"
        )
    return answer
