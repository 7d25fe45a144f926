"""The script that looks at charts: it finds what overlaps or is cut off, and the charts have none of it."""

import csv
from pathlib import Path

from matplotlib.figure import Figure

from plots.canvas.style import STYLES, drawing
from tests.benchmarks.charts_look import look
from tests.support.extents import faults


def test_texts_that_overlap_or_leave_the_canvas_are_found() -> None:
    with drawing(STYLES["paper"]):
        figure = Figure(figsize=(3, 2))
        figure.text(0.1, 0.5, "first words")
        figure.text(0.15, 0.5, "second words")
        figure.text(0.9, 0.9, "beyond the edge")
        figure.text(0.1, 0.1, "alone")
        assert faults(figure) == ["'beyond the edge' leaves the canvas", "'first words' covers 'second words'"]


def test_a_row_without_a_panel_is_found() -> None:
    figure = Figure(figsize=(3, 6))
    for axes in figure.subplots(3, 2)[1:, :].flat:
        axes.set_visible(False)
    found = [fault for fault in faults(figure) if fault.startswith("row")]
    assert found == ["row 2 of the panels is empty", "row 3 of the panels is empty"]


def test_ten_boards_are_one_study_in_which_nothing_overlaps_and_no_environment_is_mixed(tmp_path: Path) -> None:
    assert look(tmp_path, names=["ten-boards"], charts=["device-comparison", "device-facets"], widths=(1,)) == []
    text = (tmp_path / "ten-boards-1" / "device-comparison-bench.csv").read_text()
    rows = list(csv.DictReader(text.splitlines()))
    # Three models at three levels on each; a device's name goes with one environment only.
    assert len(rows) == 90
    assert len({row["env_id"] for row in rows}) == 10
    assert len({(row["env_id"], row["device"]) for row in rows}) == 10
