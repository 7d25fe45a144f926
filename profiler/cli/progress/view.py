"""What every view of a sweep does: keep its state. lines.py and table.py show it."""

import os
import sys

import click

from profiler.cli.progress.state import SweepState, describe_cell
from profiler.records.round import AnchorRound, Round
from profiler.sweep.plan import Turn
from profiler.sweep.stopping import Met, describe
from quant.gguf_io.artifact import Artifact


class SweepView:
    """Keep the state of a sweep, and show it through the methods at the end, which subclasses define."""

    def __init__(self) -> None:
        self.state = SweepState()

    def __enter__(self) -> "SweepView":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def started(self, n_turns: int, n_done: int) -> None:
        """Show the number of turns to do, and of those done before."""
        self.state.started(n_turns, n_done)
        self.show_start()

    def more(self, n_turns: int) -> None:
        """Count rounds that are measured again."""
        self.state.n_turns += n_turns

    def turn(self, turn: Turn, artifact: Artifact) -> None:
        """Show what is being measured."""
        self.state.begin(turn, artifact)
        self.show_turn()

    def finished(self, record: Round, artifact: Artifact, left_s: float | None) -> None:
        """Show how a turn ended."""
        self.state.end(record, left_s)
        self.show_round(record)

    def reference(self, record: AnchorRound) -> None:
        """Count the time of drift control."""
        self.state.drift_ns += record.wall_ns or 0

    def met(self, turn: Turn, artifact: Artifact, met: Met, n_spared: int) -> None:
        """Show why a cell takes no further turn."""
        self.state.close(turn.cell.key, n_spared)
        self.say(f"{describe_cell(turn, artifact)} {describe(met)}")
        self.show_turn()

    def say(self, line: str) -> None:
        """Show a line of text, where it does not disturb what is drawn."""
        click.echo(line, err=True)

    def show_start(self) -> None:
        """Show that the sweep has started."""

    def show_turn(self) -> None:
        """Show the current turn, or that there is none."""

    def show_round(self, record: Round) -> None:
        """Show a round that has ended."""


def sweep_view() -> SweepView:
    """Return a table on a terminal that can draw one, else lines."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM", "") in ("", "dumb")
    if plain or not sys.stderr.isatty():
        from profiler.cli.progress.lines import LineView

        return LineView()
    from profiler.cli.progress.table import TableView

    return TableView()
