"""A sweep as a table that fills, on a terminal's stderr.

It is drawn when something has happened, between two rounds, and never while one is measured: a screen that renews
itself would take time from the cores that are being measured.
"""

from typing import TYPE_CHECKING

from profiler.cli.progress.lines import LineView, describe_cell, describe_result
from profiler.cli.progress.state import Board, Row
from profiler.records.record import Round
from profiler.sweep.plan import Turn
from profiler.sweep.stopping import Met, describe
from quant.gguf_io.artifact import Artifact

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

_BESIDE_ROWS = 5  # the line above, the table's head and rule, the line below, and the cursor's
_FEWEST_ROWS = 1
_NARROW = 70  # columns under which only the decode's speed is shown; under half of it not even the rounds
_GAP = 2


class TableView(LineView):
    """The table, the current cell, the time left, the temperature and the latest warnings; failures stay above it."""

    def __init__(self, console: "Console | None" = None) -> None:
        super().__init__()
        self.board = Board()
        self._console = console
        self._live: Live | None = None

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def started(self, n_turns: int, n_done: int) -> None:
        """Begin to draw; stdout is left alone."""
        import time

        from rich.live import Live

        from profiler.cli.progress.bar import console

        self._n_turns = self.board.n_turns = n_turns
        self.board.n_before = n_done
        self.begun_ns = time.monotonic_ns()
        self._console = self._console or console()
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,  # click writes past it: lines come through say()
            vertical_overflow="crop",
        )
        self._live.start()
        self._draw()

    def more(self, n_turns: int) -> None:
        """Count what is measured again."""
        super().more(n_turns)
        self.board.n_turns += n_turns

    def turn(self, turn: Turn, artifact: Artifact) -> None:
        """Show what is being measured."""
        super().turn(turn, artifact)
        self.board.begin(turn.cell.key, describe_cell(turn, artifact), turn.round)
        self._draw()

    def finished(self, record: Round, artifact: Artifact, left_s: float | None) -> None:
        """Fill the row; keep a line for a round without samples."""
        self.keep(record)
        self.board.end(record, left_s)
        if record.error is not None:
            self._write(f"{self._now}: {describe_result(record)}")
        self._draw()

    def met(self, turn: Turn, artifact: Artifact, met: Met, n_spared: int) -> None:
        """Mark the row of a cell that takes no further rounds, and leave out the rounds that this spares."""
        self._n_turns -= n_spared
        self.board.n_turns -= n_spared
        self.board.rows[turn.cell.key].end = "done"
        self._write(f"{describe_cell(turn, artifact)} {describe(met)}")
        self._draw()

    def say(self, line: str) -> None:
        """Write a line above the table."""
        if self._live is None:
            super().say(line)
        else:
            self._write(line)

    def _draw(self) -> None:
        if self._live is not None and self._console is not None:
            # The size is asked anew each time: it may have changed.
            self._live.update(picture(self.board, *self._console.size), refresh=True)

    def _write(self, line: str) -> None:
        if self._console is not None:
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def picture(board: Board, width: int, height: int) -> "Group":
    """Give what is drawn, fit for a terminal of this size. Names are a stranger's text, and no markup."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    n_warnings = len(board.warnings) if height > _BESIDE_ROWS + len(board.warnings) + _FEWEST_ROWS else 0
    shown = board.shown(max(height - _BESIDE_ROWS - n_warnings, _FEWEST_ROWS))
    columns = _columns(board, width)
    states = [_state(row, key == board.current) for key, row in shown]
    table = Table(box=None, padding=(0, _GAP, 0, 0), show_edge=False, header_style="bold")
    n_state = min(max((len(word) for word, _ in states), default=0), width // 3)
    room = width - sum(len(name) + _GAP for name in columns) - n_state - 2 * _GAP
    n_name = max(min(max((len(row.name) for _, row in shown), default=0), room), len("cell"))
    table.add_column("cell", width=n_name, no_wrap=True, overflow="ellipsis")
    for name in columns:
        table.add_column(name, width=len(name), justify="right", no_wrap=True)
    table.add_column("", width=n_state, no_wrap=True, overflow="ellipsis")
    for (key, row), (word, style) in zip(shown, states, strict=True):
        figures = [_figure(row, column.split()[0].lower()) for column in columns]
        cells = [Text(row.name), *map(Text, figures), Text(word, style=style)]
        table.add_row(*cells, style="bold" if key == board.current else "")
    parts: list[Text | Table] = [_line(board.head(), "bold")]
    if shown:
        parts.append(table)
    if left := len(board.rows) - len(shown):
        parts.append(_line(f"{left} more cells", "dim"))
    parts += [_line(text, "yellow") for text in board.warnings[len(board.warnings) - n_warnings :]]
    if board.current is not None:
        parts.append(_line(f"now {board.now}", ""))
    return Group(*parts)


def _columns(board: Board, width: int) -> list[str]:
    """Choose the figures for which there is room."""
    with_ttft = any(row.middle("ttft") is not None for row in board.rows.values())
    if width < _NARROW:
        return ["decode t/s"] if width < _NARROW // 2 else ["rounds", "decode t/s"]
    return ["rounds", "prefill t/s", "decode t/s", *(["TTFT ms"] if with_ttft else [])]


def _line(text: str, style: str) -> "Text":
    from rich.text import Text

    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _figure(row: Row, name: str) -> str:
    if name == "rounds":
        return str(len(row.rounds))
    middle = row.middle(name)
    if middle is None:
        return ""
    return f"{middle:.0f}" if middle >= 1000 else f"{middle:.1f}" if middle >= 10 else f"{middle:.2f}"


def _state(row: Row, is_current: bool) -> tuple[str, str]:
    """Say what is to be known of a row, and how it is coloured."""
    if row.error is not None:
        return (row.end or "failed").upper(), "red"
    if row.flags:
        return ", ".join(row.flags), "yellow"
    return ("measuring", "green") if is_current else (row.end or "", "")
