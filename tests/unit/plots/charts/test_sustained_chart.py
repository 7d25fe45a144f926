"""The chart of sustained loads: what is drawn of a device that throttles, and where there is nothing to draw."""

from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from plots.canvas.chart_input import Picture, chart_input
from plots.canvas.style import STYLES, drawing, looks
from plots.canvas.theme import Theme
from plots.charts.sustained import sustained_charts
from plots.render.draw import DrawOptions, draw_all
from profiler.analysis.summarise import summarise
from profiler.results.file import Results, read_results
from tests.support.rounds import a_round, results
from tests.support.sustained import FAST_MHZ, SLOW_MHZ, SustainedDevice, sustain, sustained_cell


def charts_of(found: Results) -> dict[str, Picture | str]:
    inputs = chart_input(summarise(found), found)
    theme = Theme(style=STYLES["paper"], looks=looks(inputs.cells))
    with drawing(theme.style):
        return dict(sustained_charts(inputs, theme))


def test_minutes_are_drawn_with_clock_and_limits(tmp_path: Path) -> None:
    sustain(tmp_path / "r.jsonl", SustainedDevice(hot_after_s=200, watts=6.0))
    found = charts_of(read_results([tmp_path / "r.jsonl"]))
    picture = found["p6-n4-d0"]
    assert isinstance(picture, Picture)
    assert [row["decode_tps"] for row in picture.rows] == [pytest.approx(2.0)] * 3 + [pytest.approx(1.5)] * 7
    assert [row["mhz"] for row in picture.rows] == [FAST_MHZ] * 3 + [SLOW_MHZ] * 7
    assert [row["steady"] for row in picture.rows] == [False] * 3 + [True] * 7
    speed, clock, heat, power = picture.figure.axes
    assert [axis.get_ylabel() for axis in (speed, clock, heat, power)] == [
        "speed, t/s", "clock, GHz", "hottest, °C", "power, W",
    ]  # fmt: skip
    dots, minutes, steady, limits = speed.get_lines()
    assert len(dots.get_xdata()) == sum(int(str(row["n_requests"])) for row in picture.rows)
    assert list(minutes.get_ydata()) == [row["decode_tps"] for row in picture.rows]
    assert len(steady.get_xdata()) == 7
    assert min(limits.get_xdata()) > 200 / 60
    plt.close("all")


def test_no_other_chart_has_sustained_loads_and_without_them_there_is_no_such_chart(tmp_path: Path) -> None:
    assert "--sustain" in str(charts_of(results(a_round()))[""])
    sustain(tmp_path / "r.jsonl", SustainedDevice(), [sustained_cell(minutes=2)])
    found = read_results([tmp_path / "r.jsonl"])
    paths = draw_all(chart_input(summarise(found), found), tmp_path / "charts", DrawOptions())
    assert [path.name for path in paths] == ["sustained-p6-n4-d0.png"]
