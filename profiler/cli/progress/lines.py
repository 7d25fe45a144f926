"""A sweep as it looks on a terminal, and in a log."""

import os
import sys
import time

import click

from profiler.analysis.stats import median
from profiler.records.record import Round
from profiler.sweep.plan import Turn
from profiler.sweep.stopping import Met, describe
from quant.base.units import format_duration
from quant.gguf_io.artifact import Artifact

_NS = 1e9


def describe_turn(turn: Turn, artifact: Artifact) -> str:
    """Name a turn in a few words."""
    return f"{describe_cell(turn, artifact)}, round {turn.round + 1}"


def describe_cell(turn: Turn, artifact: Artifact) -> str:
    """Name a turn's cell in a few words."""
    config = turn.cell.config
    threads = str(config.n_threads)
    if config.n_threads_batch != config.n_threads:
        threads += f"/{config.n_threads_batch}"
    load = config.workload
    if load == "custom":
        load = f"p{config.n_prompt} n{config.n_gen} d{config.n_depth}"
    return f"{artifact.model} {artifact.level} t{threads} {load}"


def describe_result(record: Round) -> str:
    """Give a round's speeds, or why it has none."""
    if record.error is not None:
        return f"{record.status}: {record.error.message}"
    parts = []
    config = record.cell.config
    prefill = [sample.prefill_ns for sample in record.samples if sample.prefill_ns]
    decode = [took_ns for sample in record.samples if (took_ns := sample.decode_total_ns)]
    if prefill:
        parts.append(f"prefill {config.n_prompt * _NS / median(prefill):.1f} t/s")
    if decode:
        parts.append(f"decode {config.n_gen * _NS / median(decode):.1f} t/s")
    return ", ".join(parts)


class LineView:
    """One line per finished round, for a log."""

    def __init__(self) -> None:
        self._n_turns = self._n_seen = 0
        self._now = ""
        self.rounds: list[Round] = []
        self.begun_ns = self.ended_ns = 0

    def __enter__(self) -> "LineView":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def started(self, n_turns: int, n_done: int) -> None:
        """Say how much there is, and how much of it was there before."""
        self._n_turns = n_turns
        self.begun_ns = time.monotonic_ns()
        before = f", {n_done} are there already" if n_done else ""
        click.echo(f"{n_turns} rounds to measure{before}", err=True)

    def more(self, n_turns: int) -> None:
        """Count what is measured again."""
        self._n_turns += n_turns

    def turn(self, turn: Turn, artifact: Artifact) -> None:
        """Remember what is being measured."""
        self._n_seen += 1
        self._now = describe_turn(turn, artifact)

    def finished(self, record: Round, artifact: Artifact, left_s: float | None) -> None:
        """Write one line."""
        self.keep(record)
        left = f" ({format_duration(left_s)} left)" if left_s else ""
        click.echo(f"[{self._n_seen}/{self._n_turns}] {self._now}: {describe_result(record)}{left}", err=True)

    def met(self, turn: Turn, artifact: Artifact, met: Met, n_spared: int) -> None:
        """Say why a cell is left alone, and leave out the rounds that this spares."""
        self._n_turns -= n_spared
        self._write(f"{describe_cell(turn, artifact)} {describe(met)}")

    def say(self, line: str) -> None:
        """Write a line that somebody else has to say, where it does not disturb what is drawn."""
        click.echo(line, err=True)

    def _write(self, line: str) -> None:
        click.echo(line, err=True)

    def keep(self, record: Round) -> None:
        """Keep a round and the time, for the words at the end."""
        self.rounds.append(record)
        self.ended_ns = time.monotonic_ns()


def sweep_view() -> LineView:
    """Choose by what stderr is: a table on a terminal that can draw, else lines."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM", "") in ("", "dumb")
    if plain or not sys.stderr.isatty():
        return LineView()
    from profiler.cli.progress.table import TableView

    return TableView()
