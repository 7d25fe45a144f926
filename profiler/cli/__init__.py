"""The command line. This module holds names only: a command's module is imported when the command is called."""

import importlib
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from profiler import __version__
from quant.base.errors import UserError

# name -> module, command, and the line in the list of commands. The plots package is named, never imported here.
COMMANDS = {
    "run": ("plots.cli.run", "run", "Do everything: files, measurements, tables, charts."),
    "models": ("profiler.cli.files", "models", "List the models that are known by name."),
    "doctor": ("profiler.cli.doctor", "doctor", "Describe the device and what would spoil a measurement."),
    "cache": ("profiler.cli.files", "cache", "Show or empty the folder of kept files."),
    "pull": ("profiler.cli.files", "pull", "Fetch a checkpoint from a Hugging Face hub."),
    "synthesize": ("profiler.cli.files", "synthesize", "Make a checkpoint of a shape with random weights."),
    "convert": ("profiler.cli.files", "convert", "Turn a checkpoint into a GGUF file."),
    "quantize": ("profiler.cli.files", "quantize", "Quantize a GGUF file to one or more levels."),
    "imatrix": ("profiler.cli.imatrix", "imatrix", "Make an importance matrix, which quantizing to few bits needs."),
    "profile": ("profiler.cli.profile", "profile", "Measure speed and memory; append to a results file."),
    "show": ("profiler.cli.results", "show", "Print the table of a results file."),
    "recommend": ("profiler.cli.recommend", "recommend", "Choose a level and threads within limits, and say why."),
    "export": (
        "profiler.cli.results",
        "export",
        "Write results as JSON, CSV, Markdown or llama-bench records.",
    ),
    "estimate": ("profiler.cli.estimate", "estimate", "Tell size and memory of models without their weights."),
    "operators": (
        "profiler.cli.operators",
        "operators",
        "Tell where the time of prefill and decode goes.",
    ),
    "quality": ("profiler.cli.quality", "quality", "Measure what quantization costs on a text."),
    "compare": ("plots.cli.compare", "compare", "Compare two results files, cell by cell."),
    "plot": ("plots.cli.plot", "plot", "Draw charts of a results file."),
    "report": ("plots.cli.report", "report", "Write a report as one HTML page, or as Markdown."),
}


class ReaderGone(Exception):  # noqa: N818  it ends the program, and is no error
    """Nobody reads the output any more, as in `slmprof show results.jsonl | head`."""


@contextmanager
def _broken_pipe_is_no_failure() -> Iterator[None]:
    """Rename a broken pipe: click would end the program with status 1, which says that a cell failed."""
    try:
        yield
    except BrokenPipeError as error:
        raise ReaderGone from error


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Parse the arguments; a help text is printed here."""
        with _broken_pipe_is_no_failure():
            return super().make_context(*args, **kwargs)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take no arguments at all for a call for help."""
        return super().parse_args(ctx, args or ([] if ctx.resilient_parsing else ["--help"]))

    def invoke(self, ctx: click.Context) -> Any:
        """Call the command."""
        with _broken_pipe_is_no_failure():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands in the order in which they are used."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        module, name, _ = COMMANDS[cmd_name]
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in COMMANDS.items()])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Suggest the nearest command for a misspelt one."""
        import difflib

        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f"did you mean '{near[0]}'?" if near else "see slmprof --help"
            raise UserError(f"there is no command '{args[0]}'; {hint}")
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="slmprof")
def root() -> None:
    """Choose a small language model and a GGUF quantization level for your board.

    \b
    slmprof run smollm2-135m -q Q4_K_M,Q8_0 -t 1,2,4 -o results/
    slmprof profile model.gguf -p 512 -n 128 -o results.jsonl
    slmprof show results.jsonl
    """


def main() -> None:
    """Run the command line. A user's mistake is one line on stderr and exit status 2."""
    _end_in_order()
    try:
        status = root.main(prog_name="slmprof", standalone_mode=False)
    except UserError as error:
        _say(str(error))
        sys.exit(2)
    except click.ClickException as error:
        hint = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "slmprof"
        # click breaks some messages into lines and indents them.
        _say(f"{' '.join(error.format_message().split()).rstrip('.')}; see {hint} --help")
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        _say("stopped")
        sys.exit(130)  # 128 and the number of SIGINT, as shells count
    except ReaderGone:
        # What is still buffered must not fail once more when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    sys.exit(status if isinstance(status, int) else 0)


def _end_in_order() -> None:
    """Take a request to end, or a terminal that is gone, as Ctrl-C: what is unfinished is removed."""

    def stop(number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:  # nohup has it ignored
            signal.signal(number, stop)


def _say(line: str) -> None:
    click.echo(f"slmprof: {line}", err=True)
