"""The published levels beside one's own: places of levels and threads, which models count, and when it is drawn."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest
from click.testing import CliRunner
from matplotlib.container import ErrorbarContainer

from plots.canvas.chart_input import ChartInput, Picture
from plots.canvas.panels import distinct, panels
from plots.canvas.style import STYLES, drawing, looks
from plots.canvas.theme import Theme
from plots.charts.published_levels import load_levels, published_levels_chart
from plots.cli.plot import plot
from plots.render.draw import DrawOptions, _sheets
from profiler.export.flat import flat
from profiler.records.cell_summary import CellSummary
from quant.base.errors import UserError
from tests.support.summaries import summary

QWEN = {"model": "mine", "arch": "qwen2", "n_params": 494_032_768}  # the shape of Qwen2.5-0.5B


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    yield
    plt.close("all")


def cells(**changes: Any) -> list[CellSummary]:
    return [
        summary(**QWEN, quant=quant, n_threads=n_threads, decode_tps=tps, decode_tps_lo=tps - 1, decode_tps_hi=tps + 1,
                **changes)
        for quant, n_threads, tps in (("Q4_0", 1, 9.0), ("Q4_0", 2, 15.0), ("Q8_0", 2, 12.0), ("Q5_0", 2, 13.0))
    ]  # fmt: skip


def drawn(own: list[CellSummary]) -> Picture | str:
    (panel,) = panels(distinct(own))
    with drawing(STYLES["paper"]):
        return published_levels_chart(panel, Theme(style=STYLES["paper"], looks=looks(panel.cells)))


def test_levels_have_rows_the_fastest_published_on_top_and_threads_have_lanes() -> None:
    made = drawn(cells())
    assert isinstance(made, Picture)
    (axis,) = [axis for axis in made.figure.axes if axis.get_visible()]
    assert axis.get_title(loc="left") == "Qwen2.5-0.5B-Instruct"
    names = [text.get_text() for text in axis.get_yticklabels()]
    assert names == ["Q4_0", "IQ4_XS", "IQ4_NL", "Q3_K_M", "Q2_K", "Q4_K_M", "Q6_K", "Q8_0"]
    lines = {tuple(line.get_xdata()): list(line.get_ydata()) for line in axis.lines}  # type: ignore[arg-type]
    published = lines[34.661, 31.214, 29.852]  # Q4_0 at 2, 3 and 4 threads, under one's own with 1
    assert published == pytest.approx([1.4, 2.4, 3.4])
    own = {each.get_label(): each.lines[0] for each in axis.containers if isinstance(each, ErrorbarContainer)}
    assert set(own) == {"Q4_0", "Q8_0"}  # Q5_0 is not published
    assert [list(own["Q4_0"].get_xdata()), list(own["Q4_0"].get_ydata())] == [[9.0, 15.0], [0, 1]]  # type: ignore[union-attr]
    kinds = [row["kind"] for row in made.rows]
    assert (kinds.count("measured"), kinds.count("published")) == (3, 24)
    assert all(row["source"] for row in made.rows if row["kind"] == "published")


def test_other_models_are_not_compared() -> None:
    assert drawn([summary()]) == (
        "none of the models that are published by level: Qwen2.5-0.5B-Instruct, Qwen2.5-1.5B-Instruct"
    )
    assert not isinstance(drawn([summary(model="Qwen2.5-0.5B-Instruct", arch="qwen2", n_params=630_000_000)]), str)


def test_it_is_drawn_with_reference_only_or_when_asked_for() -> None:
    inputs = ChartInput(cells=distinct(cells()), environments={})

    def is_drawn(**options: Any) -> bool:
        return "published-levels" in [sheet.name for sheet in _sheets(inputs, STYLES["paper"], DrawOptions(**options))]

    assert [is_drawn(), is_drawn(reference=True), is_drawn(chosen=["published-levels"])] == [False, True, True]


def test_plot_draws_estimates_without_results(tmp_path: Path) -> None:
    objects = [flat(cell) | {"tensor_bytes": 1, "tensor_types": {}} for cell in cells(kind="estimated")]
    (tmp_path / "e.json").write_text(json.dumps(objects), encoding="utf-8")
    options = ["--chart", "published-levels", "-o", str(tmp_path)]
    made = CliRunner().invoke(plot, ["--estimates", str(tmp_path / "e.json"), *options])
    assert (made.exit_code, made.stdout.strip()) == (0, str(tmp_path / "published-levels-bench-estimated.png"))
    assert isinstance(refused := CliRunner().invoke(plot, options).exception, UserError)
    assert "--estimates" in str(refused)


def test_the_published_figures_are_complete() -> None:
    assert len(load_levels()) == 34
    assert all(each.decode_tps > 0 and each.n_threads in (2, 3, 4) for each in load_levels())
