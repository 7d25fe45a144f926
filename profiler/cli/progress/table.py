"""A sweep as a table that fills, on a terminal's stderr.

It is drawn between two rounds and never while one is measured: refreshing the screen would take time from the cores
that are being measured.
"""

from typing import TYPE_CHECKING

from profiler.cli.progress.state import Row, SweepState, describe_result
from profiler.cli.progress.view import SweepView
from profiler.records.round import Round
from profiler.tables.format import figure
from quant.base.units import format_duration

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

_OTHER_ROWS = 5  # the line above, the table's head and rule, the line below, and the cursor's
_FEWEST_ROWS = 1
_NARROW = 70  # columns under which only the decode's speed is shown; under half of it not even the rounds
_GAP = 2


class TableView(SweepView):
    """The table, the current cell, the time left, the temperature and the latest warnings; failures stay above it."""

    def __init__(self, console: "Console | None" = None) -> None:
        super().__init__()
        self._console = console
        self._live: Live | None = None

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def show_start(self) -> None:
        """Begin to draw; stdout is left alone."""
        from rich.live import Live

        from profiler.cli.progress.bar import console

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
        self.show_turn()

    def show_turn(self) -> None:
        """Draw the table."""
        if self._live is not None and self._console is not None:
            # The size is read each time: it may have changed.
            self._live.update(picture(self.state, *self._console.size), refresh=True)

    def show_round(self, record: Round) -> None:
        """Draw the table; a line for a round without samples stays above it."""
        if record.error is not None:
            self.say(f"{self.state.now}: {describe_result(record)}")
        self.show_turn()

    def say(self, line: str) -> None:
        """Write a line above the table."""
        if self._live is None or self._console is None:
            super().say(line)
        else:
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def picture(state: SweepState, width: int, height: int) -> "Group":
    """Return what to draw on a terminal of this size. Names are untrusted text, not markup."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    n_warnings = len(state.warnings) if height > _OTHER_ROWS + len(state.warnings) + _FEWEST_ROWS else 0
    shown = state.shown(max(height - _OTHER_ROWS - n_warnings, _FEWEST_ROWS))
    columns = _columns(state, width)
    states = [_status(row, key == state.current) for key, row in shown]
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
        table.add_row(*cells, style="bold" if key == state.current else "")
    parts: list[Text | Table] = [_line(_head(state), "bold")]
    if shown:
        parts.append(table)
    if left := len(state.rows) - len(shown):
        parts.append(_line(f"{left} more cells", "dim"))
    parts += [_line(text, "yellow") for text in state.warnings[len(state.warnings) - n_warnings :]]
    if state.current is not None:
        parts.append(_line(f"now {state.now}", ""))
    return Group(*parts)


def _head(state: SweepState) -> str:
    """Return a line on how far the sweep is, how long it will take, and how warm the device is."""
    parts = [f"{state.n_over} of {state.n_turns} rounds"]
    if state.n_before:
        parts[0] += f", {state.n_before} before"
    if state.left_s:
        parts.append(f"{format_duration(state.left_s)} left")
    if state.temperature_c is not None:
        parts.append(f"{state.temperature_c:.0f} °C, at most {state.hottest_c:.0f}")
    if state.throttle:
        parts.append(f"the system reports {', '.join(state.throttle)}")
    return "; ".join(parts)


def _columns(state: SweepState, width: int) -> list[str]:
    """Return the figures that fit."""
    with_ttft = any(row.median("ttft") is not None for row in state.rows.values())
    if width < _NARROW:
        return ["decode t/s"] if width < _NARROW // 2 else ["rounds", "decode t/s"]
    return ["rounds", "prefill t/s", "decode t/s", *(["TTFT ms"] if with_ttft else [])]


def _line(text: str, style: str) -> "Text":
    from rich.text import Text

    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _figure(row: Row, name: str) -> str:
    if name == "rounds":
        return str(len(row.rounds))
    value = row.median(name)
    if value is None:
        return ""
    return figure(value)


def _status(row: Row, is_current: bool) -> tuple[str, str]:
    """Return a row's status and its colour."""
    if row.error is not None:
        return (row.end or "failed").upper(), "red"
    if row.flags:
        return ", ".join(row.flags), "yellow"
    return ("measuring", "green") if is_current else (row.end or "", "")
