"""The table that fills during a sweep: events in, the screen out. Where no table can be drawn there are lines."""

import io
import re
import sys

import click
import msgspec
import pytest
from rich.console import Console

from profiler.cli.progress.lines import LineView
from profiler.cli.progress.state import SweepState
from profiler.cli.progress.table import TableView, picture
from profiler.cli.progress.view import SweepView, sweep_view
from profiler.records.round import Conditions, Round
from profiler.sweep.plan import Turn
from profiler.sweep.stopping import Met
from tests.support.cells import artifact
from tests.support.rounds import a_round, no_round, sample, with_cell

SMALL, LARGE = "a" * 64, "b" * 64
FILES = {SMALL: artifact(SMALL, level="Q4_0"), LARGE: artifact(LARGE, model="big [bold]one")}


def warm(temperature_c: float, *throttle: str) -> Conditions:
    return Conditions(temperature_c=temperature_c, throttle=throttle)


def play(view: SweepView, record: Round, left_s: float | None = None) -> None:
    file = FILES[record.cell.artifact_sha256]
    view.turn(Turn(record.cell, record.round), file)
    view.finished(record, file, left_s)


def lines_of(state: SweepState, width: int = 100, height: int = 24) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None, force_terminal=True)
    with console.capture() as captured:
        console.print(picture(state, width, height))
    return [line.rstrip() for line in captured.get().splitlines()]


def begin(state: SweepState, record: Round, **changes: str) -> None:
    file = msgspec.structs.replace(FILES[record.cell.artifact_sha256], **changes)
    state.begin(Turn(record.cell, record.round), file)


def state_of(*records: Round) -> SweepState:
    state = SweepState()
    state.n_turns = 12
    for record in records:
        begin(state, record)
        state.end(record, 190.0)
    return state


def test_the_table_fills_with_medians_of_the_rounds_so_far() -> None:
    state = state_of(
        a_round(0, sample(prefill_ms=60, after=warm(52))),
        with_cell(a_round(0, sample(decode_ms=(50, 50, 50, 50), after=warm(61))), LARGE),
        a_round(1, sample(prefill_ms=30, after=warm(55))),
    )
    begin(state, a_round(2))
    # Prefill of 6 tokens in 60 and in 30 ms: 100 and 200 t/s. Decode of 4 in 100 and in 200 ms.
    assert lines_of(state) == [
        "3 of 12 rounds; 3 min 10 s left; 55 °C, at most 61",
        "cell                            rounds  prefill t/s  decode t/s",
        "tiny Q4_0 t1 p6 n4 d0                2        150.0        40.0  measuring",
        "big [bold]one Q8_0 t1 p6 n4 d0       1        100.0        20.0",
        "now tiny Q4_0 t1 p6 n4 d0, round 3",
    ]


def test_a_request_has_its_time_to_first_token() -> None:
    state = state_of(a_round(0, sample(prefill_ms=60, choose_ms=1.5)))
    assert [line.split()[-1] for line in lines_of(state)[1:3]] == ["ms", "61.5"]


def test_a_warning_is_shown_when_it_comes_and_stays_in_the_row() -> None:
    hot = sample(before=warm(80, "under-voltage"), after=warm(82, "under-voltage"))
    state = state_of(a_round(0, hot), a_round(1, hot))
    shown = lines_of(state, width=200)
    assert shown[0].endswith("82 °C, at most 82; the system reports under-voltage")
    assert shown[2].split()[-1] == "throttled"
    warning = "throttled (tiny Q4_0 t1 p6 n4 d0): the system reports under-voltage in 1 of 1 "
    assert [line for line in shown if line.startswith(warning)]
    assert len(state.warnings) == 1


def test_a_failed_cell_is_marked_and_keeps_its_figures() -> None:
    shown = lines_of(state_of(a_round(0), no_round(1, message="killed")))
    assert shown[2].split()[-4:] == ["1", "100.0", "40.0", "FAILED"]


def test_a_round_measured_again_takes_the_place_of_the_first() -> None:
    shown = lines_of(state_of(a_round(0, sample(prefill_ms=600)), a_round(0, sample(prefill_ms=60))))
    assert shown[2].split()[-3:-1] == ["1", "100.0"]


@pytest.fixture(scope="module")
def full_state() -> SweepState:
    """Thirty cells, and one that is measured now and has a long name."""
    records = [with_cell(a_round(0), LARGE, n_threads=threads) for threads in range(1, 31)]
    state = state_of(*records)
    begin(state, records[20], model="x" * 300)
    return state


@pytest.mark.parametrize("width", [20, 34, 69, 70, 200])
@pytest.mark.parametrize("height", [1, 9, 60])
def test_it_fits_into_every_terminal(full_state: SweepState, width: int, height: int) -> None:
    state = full_state
    shown = lines_of(state, width, height)
    assert max(map(len, shown)) <= width
    assert len(shown) <= max(height, 5)
    if height == 60:
        assert len(shown) == 33  # the line above, the head, 30 rows, the line below
    elif height == 9:
        assert shown[6] == "26 more cells"


def test_where_rows_lack_room_the_current_one_is_shown() -> None:
    state = SweepState()
    rounds = [with_cell(a_round(0), SMALL, n_threads=threads) for threads in range(1, 21)]
    for record in rounds:
        begin(state, record)
    keys = list(state.rows)
    state.current = keys[3]
    assert [key for key, _ in state.shown(5)] == keys[1:6]
    state.current = keys[19]
    assert [key for key, _ in state.shown(5)][-1] == keys[19]
    state.current = None
    assert len(state.shown(5)) == 5


class Screen:
    """As much of a terminal as the table needs: lines, a cursor, erasing."""

    def __init__(self) -> None:
        self.lines, self.row, self.cursor_shown = [""], 0, True

    def feed(self, text: str) -> None:
        for code, characters in re.findall(r"(\x1b\[[?\d;]*[A-Za-z]|\r|\n)|([^\x1b\r\n]+)", text):
            if characters:
                self.lines[self.row] += characters
            elif code == "\n":
                self.row += 1
                self.lines += [""] * (self.row + 1 - len(self.lines))
            elif code == "\x1b[2K":
                self.lines[self.row] = ""
            elif code.endswith("A"):
                self.row -= int(code[2:-1] or 1)
                assert self.row >= 0, "nothing above its own first line is touched"
            elif code in ("\x1b[?25l", "\x1b[?25h"):
                self.cursor_shown = code.endswith("h")
            else:
                assert code == "\r" or code.endswith("m"), repr(code)

    def text(self) -> list[str]:
        return [line.rstrip() for line in self.lines if line.strip()]


def on_a_screen(width: int = 100) -> tuple[TableView, Console, io.StringIO]:
    stream = io.StringIO()
    console = Console(file=stream, width=width, height=24, force_terminal=True, color_system=None)
    return TableView(console), console, stream


def seen(stream: io.StringIO) -> Screen:
    screen = Screen()
    screen.feed(stream.getvalue())
    return screen


def test_the_screen_during_a_sweep_and_after_it() -> None:
    view, _, stream = on_a_screen()
    with view:
        view.started(4, 2)
        play(view, a_round(0), 30.0)
        play(view, with_cell(no_round(0, message="it broke"), LARGE), 20.0)
        view.met(Turn(a_round().cell, 0), FILES[SMALL], Met(target=0.02, n_rounds=6, half_widths={"decode": 0.01}), 1)
        during = seen(stream)
        assert during.text()[0] == "big [bold]one Q8_0 t1 p6 n4 d0, round 1: failed: it broke"
        assert during.text()[2] == "2 of 3 rounds, 2 before; 20 s left"
        assert [line.split()[-1] for line in during.text()[4:]] == ["done", "FAILED"]
        assert not during.cursor_shown
    after = seen(stream)
    # What went wrong stays; the table is gone, since the whole one follows on stdout.
    assert after.text() == during.text()[:2]
    assert after.cursor_shown
    assert len(view.state.rounds) == 2


def test_ctrl_c_leaves_a_usable_terminal() -> None:
    view, _, stream = on_a_screen()

    def interrupted() -> None:
        with view:
            view.started(2, 0)
            view.turn(Turn(a_round().cell, 0), FILES[SMALL])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    screen = seen(stream)
    assert screen.cursor_shown
    assert screen.text() == []


def test_it_ends_well_where_nothing_began() -> None:
    view, _, stream = on_a_screen()
    with view:
        pass
    assert stream.getvalue() == ""


def test_stdout_is_left_alone_and_other_lines_go_above_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    view, _, stream = on_a_screen()
    out = sys.stdout
    with view:
        view.say("making [files]")
        view.started(2, 0)
        assert sys.stdout is out
        click.echo("data")
        view.say("resting [30 s]")
        play(view, a_round(0))
        assert seen(stream).text()[:2] == ["resting [30 s]", "1 of 2 rounds"]
    view.say("done")
    assert tuple(capsys.readouterr()) == ("data\n", "making [files]\ndone\n")


def test_a_terminal_that_becomes_narrower_gets_a_narrower_table() -> None:
    view, console, stream = on_a_screen(width=100)
    with view:
        view.started(4, 0)
        play(view, a_round(0))
        before = len(stream.getvalue())
        console.width = 40
        play(view, a_round(1))
        assert max(len(line) for line in re.split(r"[\r\n]|\x1b\[[?\d;]*[A-Za-z]", stream.getvalue()[before:])) <= 40


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("variables", "stderr", "kind"),
    [
        ({"TERM": "xterm-256color"}, Terminal(), TableView),
        ({"TERM": "xterm-256color"}, io.StringIO(), LineView),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, Terminal(), LineView),
        ({"TERM": "dumb"}, Terminal(), LineView),
        ({}, Terminal(), LineView),
    ],
)
def test_lines_where_no_table_can_be_drawn(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], stderr: io.StringIO, kind: type[SweepView]
) -> None:
    for name in ("TERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stderr", stderr)
    assert type(sweep_view()) is kind
