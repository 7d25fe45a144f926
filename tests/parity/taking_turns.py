"""Programs that take turns: each stays loaded, and waits before every repetition until it is its turn.

What else a machine does changes within seconds and moves a whole process by more than a comparison wants to see. Of
programs that take turns of a fraction of a second, the same moment's repetitions are compared. Ours waits in the
measuring loop (turn_worker.py), llama-bench in a `llama_memory_clear` of the test's, which it calls before each
repetition, untimed; the library that brings it is loaded before llama-bench's own and also places ggml's work buffer,
which llama-bench leaves to chance and repeats in every run (profiler/engine/memory_layout.py). Only with glibc.
"""

import os
import random
import select
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

TURNS = "TURNS"  # the variable with the paths of two pipes: where a program says that it waits, and where it is called
_TIMEOUT_S = 300


class Program(NamedTuple):
    """One that takes turns."""

    command: Sequence[str]
    variables: Mapping[str, str]
    n_untimed: int = 0  # waits before its first repetition


def take_turns(
    folder: Path, programs: Mapping[str, Program], n_turns: int, order: random.Random
) -> dict[str, tuple[str, str]]:
    """Let programs of n_turns + 1 repetitions take turns, in a random order each; the last is nobody's turn.

    Returns:
        What each wrote to stdout and stderr.

    Raises:
        SystemExit: one failed.
    """
    with ExitStack() as stack:
        running = {
            name: stack.enter_context(_started(folder / f"turns-{number}", program))
            for number, (name, program) in enumerate(programs.items())
        }
        for name, program in programs.items():
            running[name].wait()
            for _ in range(program.n_untimed):
                running[name].turn()
        for _ in range(n_turns):
            for name in order.sample(sorted(running), len(running)):
                running[name].turn()
        return {name: each.rest() for name, each in running.items()}


class _Running:
    """A program that was started, and the ends of its pipes."""

    def __init__(self, process: "subprocess.Popen[str]", shown: str, waiting: int, called: int) -> None:
        self._process, self._shown, self._waiting, self._called = process, shown, waiting, called

    def wait(self) -> None:
        """Return when it waits for its turn."""
        if not select.select([self._waiting], [], [], _TIMEOUT_S)[0]:
            raise SystemExit(f"{self._shown}: it does not take its turn")
        os.read(self._waiting, 1)

    def turn(self) -> None:
        """Let it take one turn."""
        os.write(self._called, b"1")
        self.wait()

    def rest(self) -> tuple[str, str]:
        """Let it end; return what it wrote."""
        os.write(self._called, b"1")
        output, errors = self._process.communicate(timeout=_TIMEOUT_S)
        if self._process.returncode:
            raise SystemExit(f"{self._shown}: it failed: {errors}")
        return output, errors


@contextmanager
def _started(folder: Path, program: Program) -> Iterator[_Running]:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    paths = [folder / "waiting", folder / "called"]
    for path in paths:
        os.mkfifo(path)
    waiting, called = (os.open(path, os.O_RDWR) for path in paths)
    process = subprocess.Popen(
        list(program.command),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **program.variables, TURNS: f"{paths[0]}:{paths[1]}"},
    )
    try:
        yield _Running(process, " ".join(program.command), waiting, called)
    finally:
        process.kill()
        process.wait()
        os.close(waiting)
        os.close(called)
