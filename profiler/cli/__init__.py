"""The command line. This module holds names only; a command's module is imported when the command is called."""

import errno
import importlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from profiler import __version__
from profiler.results import collect_rarely
from quant.base.errors import UserError
from quant.base.progress import watch
from quant.base.text import message_line

# name -> module, and its line in the list of commands. Each module has a command of the same name.
# The plots package is named here, never imported.
COMMANDS = {
    "run": ("plots.cli.run", "Convert, quantize, measure and plot in one go."),
    "pick": ("plots.cli.pick", "Choose a level and threads with the fewest measurements."),
    "models": ("profiler.cli.models", "List the models in the registry."),
    "doctor": ("profiler.cli.doctor", "Describe the device and what would spoil a measurement."),
    "cache": ("profiler.cli.cache", "List or empty the cache folder."),
    "pull": ("profiler.cli.pull", "Download a checkpoint from a Hugging Face hub."),
    "synthesize": ("profiler.cli.synthesize", "Make a model of a given shape with random weights."),
    "convert": ("profiler.cli.convert", "Convert a checkpoint to a GGUF file."),
    "quantize": ("profiler.cli.quantize", "Quantize a GGUF file to one or more levels."),
    "imatrix": ("profiler.cli.imatrix", "Compute an importance matrix from calibration text."),
    "profile": ("profiler.cli.profile", "Measure speed and memory; append to a results file."),
    "show": ("profiler.cli.results", "Print the table of a results file."),
    "recommend": ("profiler.cli.recommend", "Choose a level and a thread count within limits."),
    "export": ("profiler.cli.results", "Export results as JSON, CSV, Markdown or llama-bench records."),
    "calibrate": ("profiler.cli.calibrate", "Time this device's operations, to predict speeds."),
    "estimate": ("profiler.cli.estimate", "Estimate file size and memory without weights."),
    "operators": ("profiler.cli.operators", "Break down the time of prefill and decode by operator."),
    "quality": ("profiler.cli.quality", "Measure perplexity and KLD of quantized files."),
    "tasks": ("profiler.cli.tasks", "Measure accuracy in tasks of lm-evaluation-harness."),
    "compare": ("plots.cli.compare", "Compare two results files, cell by cell."),
    "study": ("plots.cli.study", "Repeat a published study on this board: study survey."),
    "plot": ("plots.cli.plot", "Draw charts of a results file."),
    "report": ("plots.cli.report", "Write a report as one HTML page or as Markdown."),
}


_IMPATIENCE_S = 2.0  # between signals of one wish to stop


class ReaderGone(Exception):  # noqa: N818  not an error: it ends the program
    """The reader of stdout has closed it, as in `slmprof show results.jsonl | head`."""


@contextmanager
def _broken_pipe_is_no_failure() -> Iterator[None]:
    """Rename a broken pipe: click would exit with status 1, which means that a cell failed."""
    try:
        yield
    except BrokenPipeError as error:
        raise ReaderGone from error


class LazyGroup(click.Group):
    """A group that imports a command when it is called."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Parse the arguments; --help prints here."""
        with _broken_pipe_is_no_failure():
            return super().make_context(*args, **kwargs)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Print the help text if there are no arguments."""
        return super().parse_args(ctx, args or ([] if ctx.resilient_parsing else ["--help"]))

    def invoke(self, ctx: click.Context) -> Any:
        """Call the command; what it reports goes to stderr."""
        with _broken_pipe_is_no_failure(), watch(say=lambda line: click.echo(line, err=True)):
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands' names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        module, _ = COMMANDS[cmd_name]
        command = getattr(importlib.import_module(module), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Suggest the nearest command for a misspelled one."""
        import difflib

        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f"did you mean '{near[0]}'?" if near else "see slmprof --help"
            raise UserError(f"there is no command '{args[0]}'; {hint}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True},
)
@click.version_option(__version__, prog_name="slmprof")
def root() -> None:
    """Choose a small language model and a GGUF quantization level for your board.

    \b
    slmprof run smollm2-135m -q Q4_K_M,Q8_0 -t 1,2,4 -o results/
    slmprof profile model.gguf -p 512 -n 128 -o results.jsonl
    slmprof show results.jsonl
    """


def main() -> None:
    """Run the command line. A user error is one line on stderr and exit status 2."""
    _handle_termination()
    collect_rarely()
    try:
        status = root.main(prog_name="slmprof", standalone_mode=False)
    except UserError as error:
        _print_error(str(error))
        sys.exit(2)
    except click.ClickException as error:
        hint = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "slmprof"
        # click wraps and indents some messages.
        _print_error(f"{' '.join(error.format_message().split()).rstrip('.')}; see {hint} --help")
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # nothing is left to stop
        _print_error("stopped")
        sys.exit(130)  # 128 plus the number of SIGINT, as in a shell
    except ReaderGone:
        _discard_stdout()
        sys.exit(0)
    except (OSError, MemoryError, ImportError) as error:
        _print_error(problem_of(error))
        _discard_stdout()
        sys.exit(2)
    sys.exit(status if isinstance(status, int) else 0)


def problem_of(error: Exception) -> str:
    """Return in one line what the system refused, and what to do."""
    if isinstance(error, MemoryError):
        return "Python has no memory left; close programs, or raise the limit (ulimit -v)"
    if not isinstance(error, OSError):
        # numpy writes a page of advice first, and the loader's own words last.
        what = message_line(" ".join(str(error).split()).rpartition("Original error was: ")[2])
        return f"a library cannot be loaded ({what}); raise the memory limit (ulimit -v), or reinstall slmprof"
    reason = error.strerror or str(error)
    if "temporary directory" in reason:
        return "no temporary folder can be written; set TMPDIR to one that can"
    if error.filename is not None:
        return str(UserError(f"{os.fsdecode(error.filename)}: {reason}; check the file and who owns it"))
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"cannot write to stdout: {reason}; free space"
    return f"the system refused: {reason}; check limits (ulimit -a) and where stdout goes"


def _discard_stdout() -> None:
    """Lose what is left to print: flushing it at exit must not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _handle_termination() -> None:
    """Treat SIGTERM and SIGHUP as Ctrl-C, so that unfinished files are removed.

    A second Ctrl-C right after the first does not interrupt that.
    """
    stopped_s = -_IMPATIENCE_S

    def stop(number: int, _frame: object) -> None:
        nonlocal stopped_s
        if time.monotonic() - stopped_s < _IMPATIENCE_S:
            return
        stopped_s = time.monotonic()
        raise KeyboardInterrupt

    for name in ("SIGTERM", "SIGHUP", "SIGINT"):
        number = getattr(signal, name, None)
        # nohup ignores one, a shell's background job another.
        if number is not None and signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, stop)


def _print_error(line: str) -> None:
    click.echo(f"slmprof: {line}", err=True)
