"""The command line as a user calls it: a process, its two streams and its status."""

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import click

from profiler.cli import root
from profiler.cli.options.measure import MeasureOptions
from profiler.sweep.session import Request

ROOT = Path(__file__).resolve().parents[2]


class Done(NamedTuple):
    """How a call ended."""

    status: int
    out: str
    err: str


def environment(cache: Path) -> dict[str, str]:
    """The parent's variables with a cache of the test's own and no network."""
    found = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "SLMPROF_"))}
    return found | {
        "SLMPROF_CACHE": str(cache),
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(cache / "hf"),
        "PYTHONPATH": str(ROOT),
    }


def slmprof(*arguments: str | Path, cache: Path, cwd: Path | None = None, timeout: float = 900) -> Done:
    """Call it and wait."""
    done = subprocess.run(
        [sys.executable, "-m", "profiler", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd or ROOT,
        env=environment(cache),
        timeout=timeout,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def assert_one_line(done: Done, *words: str) -> None:
    """Check that a call was refused as it should be: status 2, one line on stderr, no traceback, these words."""
    assert done.status == 2, done
    assert done.out == ""
    lines = done.err.strip().splitlines()
    assert len(lines) == 1, done.err
    assert lines[0].startswith("slmprof: ")
    for word in words:
        assert word in lines[0], lines[0]


def parse_example(line: str) -> click.Context:
    """Parse a line of a help text or a document as the command line would, and run nothing."""
    program, name, *arguments = shlex.split(line, comments=True)
    assert program == "slmprof"
    command = root.get_command(click.Context(root), name)
    assert command is not None, f"there is no command {name}"
    if isinstance(command, click.Group):
        name, *arguments = arguments
        command = command.commands[name]
    return command.make_context(name, arguments)


def measure_request(context: click.Context) -> Request:
    """Return the request that a parsed `profile` or `run` makes."""
    options = {name: context.params[name] for name in MeasureOptions.__struct_fields__}
    return MeasureOptions(**options).request(
        context.params["sources"], Path("results.jsonl"), models_dir=Path(), default_workload="bench"
    )
