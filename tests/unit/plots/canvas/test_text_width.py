"""Text and ticks that fit: wrapping, shortening, enough numbers on an axis."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from plots.canvas.sheet import count_ticks, log_ticks, plain
from plots.canvas.style import STYLES, drawing
from plots.canvas.text_width import printable, shortened, width_in, wrapped

NAME = "Unreasonably-Long-Organisation-Name-Small-Language-Model-500M-Chat"
FONT_PT = 8.0


@pytest.fixture(autouse=True)
def _paper() -> Iterator[None]:
    with drawing(STYLES["paper"]):
        yield


def test_a_line_is_measured_in_inches() -> None:
    # DejaVu Sans gives every digit 1303 of 2048 units. Source: the font's hmtx table.
    assert width_in("0000", 72) == pytest.approx(4 * 1303 / 2048, abs=0.01)


@given(st.text(alphabet="abcdefghij WM-.", max_size=200), st.floats(0.5, 3.0))
def test_no_wrapped_line_is_wider_than_its_room_and_no_letter_is_lost(text: str, room_in: float) -> None:
    lines = wrapped(text, room_in, FONT_PT).split("\n")
    assert all(width_in(line, FONT_PT) <= room_in for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())


def test_lines_are_as_full_as_they_can_be() -> None:
    room_in = width_in("iiii iiii", FONT_PT) + 0.001
    assert wrapped("iiii iiii WWWWWWWW", room_in, FONT_PT).split("\n")[0] == "iiii iiii"


def test_a_name_that_fits_is_left_alone_and_a_longer_one_keeps_both_ends() -> None:
    assert shortened("tiny", 1.0, FONT_PT) == "tiny"
    short = shortened(NAME, 1.5, FONT_PT)
    assert width_in(short, FONT_PT) <= 1.5
    head, tail = short.split("…")
    assert NAME.startswith(head)
    assert NAME.endswith(tail)
    assert abs(len(head) - len(tail)) <= 1


@given(st.text(max_size=300))
def test_printable_text_is_one_line(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert len(shown) <= 200


@given(st.floats(0.001, 1e5), st.floats(1.5, 1e6))
def test_a_logarithmic_axis_has_three_to_ten_numbered_ticks(low: float, span: float) -> None:
    axis = Figure().subplots()
    axis.set_xscale("log")
    axis.set_xlim(low, low * span)
    log_ticks(axis.xaxis, *axis.get_xlim())
    ticks = [tick for tick in axis.get_xticks() if low <= tick <= low * span]
    assert 3 <= len(ticks) <= 10
    assert [axis.xaxis.get_major_formatter()(tick) for tick in ticks] == [f"{tick:.10g}" for tick in ticks]
    assert len(axis.get_xticks(minor=True)) == 0


def test_ticks_are_written_as_people_write_them() -> None:
    assert [plain(value) for value in (0.5, 20.0, 1500.0, 2.5, 1000000.0)] == ["0.5", "20", "1500", "2.5", "1000000"]


def ticks_of(counts: list[int]) -> list[str]:
    axis = Figure(figsize=(3.5, 2)).subplots()
    axis.plot(counts, counts)
    count_ticks(axis.xaxis, counts, 2.8, FONT_PT)
    assert list(axis.get_xticks()) == counts
    return [label.get_text() for label in axis.get_xticklabels()]


def test_every_thread_count_has_its_tick_and_where_numbers_would_meet_powers_of_two_have_theirs() -> None:
    assert ticks_of([1, 2, 3, 4]) == ["1", "2", "3", "4"]
    assert ticks_of([1, 2, 3, 4, 6, 8, 12, 16, 24, 32]) == ["1", "", "", "4", "", "8", "12", "16", "24", "32"]
