"""The charts of one panel: labels, series, plotted values, bars, looks and words. Pictures are looked at by people."""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import msgspec
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.text import Text

import plots.render.draw
from plots.canvas.caption import caption
from plots.canvas.chart_input import ChartInput, Picture
from plots.canvas.panels import distinct, panels
from plots.canvas.style import STYLES, drawing, looks
from plots.canvas.theme import Theme
from plots.charts.latency import latency_chart
from plots.charts.memory import PARTS, parts_of
from plots.charts.published import Published
from plots.render.draw import CHARTS, DrawOptions, draw_all
from profiler.records.cell_summary import CellSummary
from profiler.records.environment import Environment
from quant.base.errors import UserError
from tests.support.commandline import assert_one_line, slmprof
from tests.support.summaries import ENVIRONMENT, MIB, changed, environment, failed, request, summary

LATENCY, ACTIVE, THREADS, MEMORY, SIZE, *_ = CHARTS
FIRST = (LATENCY, THREADS, MEMORY, SIZE)
MODELS = {"small": 100_000_000, "large": 400_000_000}
LEVELS = {"F16": (16.0, 200), "Q8_0": (8.5, 106), "Q4_0": (4.5, 56)}


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    yield
    plt.close("all")


def draw(name: str, cells: list[CellSummary], style: str = "paper", **changes: Any) -> Figure | str:
    """Draw one chart of cells that belong together."""
    (panel,) = panels(distinct(cells))
    with drawing(STYLES[style]):
        theme = Theme(
            style=STYLES[style], looks=looks(panel.cells), environments={panel.env_id: environment(**changes)}
        )
        made = CHARTS[name](panel, theme)
    return made if isinstance(made, str) else made.figure


def drawn(name: str, cells: list[CellSummary], style: str = "paper", **changes: Any) -> Figure:
    figure = draw(name, cells, style, **changes)
    assert isinstance(figure, Figure), figure
    return figure


def axes_of(figure: Figure) -> list[Axes]:
    return [axis for axis in figure.axes if axis.get_visible()]


def series(axis: Axes) -> dict[str, ErrorbarContainer]:
    return {str(each.get_label()): each for each in axis.containers if isinstance(each, ErrorbarContainer)}


def points(container: ErrorbarContainer) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in container.lines[0].get_xydata()]  # type: ignore[union-attr]


def ends(container: ErrorbarContainer, along: int = 1) -> list[tuple[float, float]]:
    """Both ends of each bar."""
    (bars,) = container.lines[2]
    assert isinstance(bars, LineCollection)
    return [(float(low[along]), float(high[along])) for low, high in bars.get_segments()]


def words(figure: Figure) -> str:
    """The caption as one line."""
    return " ".join(max((text.get_text() for text in figure.texts), key=len).split())


def told(cells: list[CellSummary]) -> str:
    """The caption of a chart that draws all figures, without drawing it."""
    (panel,) = panels(distinct(cells))
    theme = Theme(style=STYLES["paper"], looks=looks(panel.cells), environments={ENVIRONMENT.id: ENVIRONMENT})
    return caption(panel, panel.cells, theme)


def draw_charts(
    cells: list[CellSummary],
    folder: Path,
    environments: Mapping[str, Environment] = {},
    say: Callable[[str], None] = lambda line: None,
    **options: Any,
) -> list[Path]:
    """Draw all charts of some cells into a folder."""
    return draw_all(
        ChartInput(cells=distinct(cells), environments=environments), folder, DrawOptions(**options), say=say
    )


def grid(**changes: Any) -> list[CellSummary]:
    """Two models, three levels, three thread counts."""
    return [
        summary(model=model, n_params=n_params, quant=level, bpw=bpw, file_bytes=mib * MIB * n_params // 100_000_000,
                n_threads=threads, **changes)
        for model, n_params in MODELS.items()
        for level, (bpw, mib) in LEVELS.items()
        for threads in (1, 2, 4)
    ]  # fmt: skip


def test_more_models_than_a_caption_can_name_are_counted() -> None:
    few = told([summary(model=f"m{n}", n_params=n * 10**8) for n in range(1, 31)])
    assert "m1 100.0M, m2 200.0M" in few
    many = told([summary(model=f"m{n}", n_params=n * 10**8) for n in range(1, 32)])
    assert many.startswith("31 models of 100.0M to 3.10B unique parameters, named in the CSV file")


# Latency against parameters, and by level

THREE = {"small": 100_000_000, "medium": 200_000_000, "large": 400_000_000}


def three(**changes: Any) -> list[CellSummary]:
    return [summary(model=model, n_params=n, **changes) for model, n in THREE.items()]


def test_latency_has_a_panel_per_figure_and_a_series_per_level() -> None:
    cells = [request(model=model, n_params=n, quant=level, bpw=LEVELS[level][0]) for model, n in THREE.items()
             for level in LEVELS]  # fmt: skip
    axes = axes_of(drawn(LATENCY, cells))
    titles = [axis.get_title(loc="left") for axis in axes]
    assert titles == ["prefill, ms per token", "time to first token, ms", "decode, ms per token"]
    for axis in axes:
        assert axis.get_xlabel() == "unique parameters, million"
        assert (axis.get_xscale(), axis.get_yscale()) == ("log", "log")
        assert list(series(axis)) == ["F16", "Q8_0", "Q4_0"]


def test_latency_is_the_reciprocal_of_speed_with_its_interval() -> None:
    cells = [request(model=model, n_params=n) for model, n in THREE.items()]
    prefill, ttft, decode = axes_of(drawn(LATENCY, cells))
    assert points(series(prefill)["Q8_0"]) == [(100, pytest.approx(5.0)), (200, pytest.approx(5.0)),
                                               (400, pytest.approx(5.0))]  # fmt: skip
    assert ends(series(prefill)["Q8_0"])[0] == (pytest.approx(4.0), pytest.approx(6.25))
    assert points(series(ttft)["Q8_0"])[0] == (100, 640.0)
    assert ends(series(ttft)["Q8_0"])[0] == (pytest.approx(600.0), pytest.approx(700.0))
    assert points(series(decode)["Q8_0"])[0] == (100, pytest.approx(50.0))
    assert ends(series(decode)["Q8_0"])[0] == (pytest.approx(40.0), pytest.approx(62.5))


def test_a_thin_line_joins_three_models_of_a_level() -> None:
    (prefill, _) = axes_of(drawn(LATENCY, [*three(), *three(quant="Q4_0", bpw=4.5, prefill_tps=100.0)]))
    joined = {line.get_color(): line.get_xydata().tolist() for line in prefill.lines if line.get_linewidth() < 0.6}
    colours = {level: series(prefill)[level].lines[0].get_color() for level in ("Q8_0", "Q4_0")}
    assert joined == {
        colours["Q8_0"]: [[100, pytest.approx(5)], [200, pytest.approx(5)], [400, pytest.approx(5)]],
        colours["Q4_0"]: [[100, pytest.approx(10)], [200, pytest.approx(10)], [400, pytest.approx(10)]],
    }


@pytest.mark.parametrize("models", [{"small": 100_000_000}, MODELS])
def test_latency_of_one_or_two_models_is_a_row_per_level_and_has_no_axis_of_parameters(models: dict[str, int]) -> None:
    cells = [summary(model=model, n_params=n, quant=level, bpw=LEVELS[level][0]) for model, n in models.items()
             for level in LEVELS]  # fmt: skip
    figure = drawn(LATENCY, cells)
    prefill, decode = axes_of(figure)
    assert [axis.get_xlabel() for axis in (prefill, decode)] == ["prefill, ms per token", "decode, ms per token"]
    assert [label.get_text() for label in prefill.get_yticklabels()] == list(LEVELS) * len(models)
    assert {text.get_text() for text in prefill.texts} == (set(models) if len(models) > 1 else set())
    rows = [row for name, each in series(prefill).items() for _, row in points(each)]
    assert sorted(rows) == ([0, 1, 2] if len(models) == 1 else [1, 2, 3, 5, 6, 7])
    assert [x for each in series(prefill).values() for x, _ in points(each)] == pytest.approx([5.0] * len(rows))
    assert ends(series(prefill)["Q8_0"], along=0)[0] == (pytest.approx(4.0), pytest.approx(6.25))
    assert any("Latency by level" in text.get_text() for text in figure.texts)


def test_published_results_give_one_model_its_axis_of_parameters() -> None:
    other = Published(device="Board", model="x", level="Q4_0", engine="e", source="s", n_params=120_000_000,
                      prefill_tps=10.0, decode_tps=5.0)  # fmt: skip
    (panel,) = panels([summary()])
    with drawing(STYLES["paper"]):
        made = latency_chart(panel, Theme(style=STYLES["paper"], looks=looks(panel.cells)), published=[other])
    assert isinstance(made, Picture)
    assert axes_of(made.figure)[0].get_xlabel() == "unique parameters, million"
    assert made.rows[-1]["source"] == "s"


def test_mixtures_of_experts_have_a_chart_against_their_active_parameters(tmp_path: Path) -> None:
    models = {
        "dense": (100_000_000, 100_000_000),
        "old": (200_000_000, None),
        "experts": (7_000_000_000, 1_000_000_000),
    }
    cells = [summary(model=name, n_params=n, n_params_active=active) for name, (n, active) in models.items()]
    figure = drawn(ACTIVE, cells)
    assert [axis.get_xlabel() for axis in axes_of(figure)] == ["active parameters, million"] * 2
    assert [x for x, _ in points(series(axes_of(figure)[0])["Q8_0"])] == [100, 200, 1000]
    assert "experts (7.00B, 1.00B active)" in words(figure)
    assert draw(ACTIVE, cells[:2]) == "no model is a mixture of experts"
    assert [path.stem for path in draw_charts(cells, tmp_path / "some", chosen=None) if "active" in path.stem]
    assert not [path.stem for path in draw_charts(three(), tmp_path / "none", chosen=None) if "active" in path.stem]


def test_separate_mode_has_no_time_to_first_token() -> None:
    titles = [axis.get_title(loc="left") for axis in axes_of(drawn(LATENCY, three()))]
    assert titles == ["prefill, ms per token", "decode, ms per token"]


def test_under_six_rounds_bars_are_smallest_and_largest_and_the_caption_says_so() -> None:
    few = {"prefill_tps_lo": None, "prefill_tps_hi": None, "decode_tps_lo": None, "decode_tps_hi": None, "rounds": 3}
    figure = drawn(LATENCY, three(**few))
    assert ends(series(axes_of(figure)[0])["Q8_0"])[0] == (pytest.approx(2.5), pytest.approx(10.0))
    assert "Medians over 3 rounds of 3 repetitions; error bars: smallest and largest round (an interval" in words(
        figure
    )


def test_a_single_round_has_no_bars_and_the_caption_says_so() -> None:
    one = {f"{name}_{end}": value for name, value in (("prefill_tps", 200.0), ("decode_tps", 20.0))
           for end, value in (("lo", None), ("hi", None), ("min", value), ("max", value))}  # fmt: skip
    cell = summary(**one, rounds=1, reps=1)
    figure = drawn(LATENCY, [cell])
    assert [container.lines[2] for axis in axes_of(figure) for container in series(axis).values()] == [(), ()]
    assert "Medians over 1 round of 1 repetition: one round has no range." in words(figure)
    assert "tie" not in words(drawn(SIZE, [cell]))


def test_levels_are_side_by_side_at_each_model_without_moving_the_data() -> None:
    (axis, _) = axes_of(drawn(LATENCY, [*three(), *three(quant="Q4_0", bpw=4.5)]))
    lines = [container.lines[0] for container in series(axis).values()]
    assert [line.get_xdata()[0] for line in lines] == [100, 100]
    left, right = (line.get_transform().transform((100, 5.0))[0] for line in lines)
    assert right - left > 2


def test_in_a_report_a_caption_has_only_what_is_its_own() -> None:
    (panel,) = panels([summary(), failed(quant="F16")])
    theme = Theme(style=STYLES["paper"], looks={}, environments={ENVIRONMENT.id: ENVIRONMENT}, in_report=True)
    assert (
        caption(panel, panel.cells, theme) == "Workload bench, 1 thread. Failed, so not drawn: tiny F16 with 1 thread."
    )
    other = environment(board="Other Board")
    both = msgspec.structs.replace(theme, environments={ENVIRONMENT.id: ENVIRONMENT, other.id: other})
    assert caption(panel, panel.cells, both).startswith("Workload bench on Test Board 5, 1 thread.")


# Speed against threads


def test_speed_has_a_row_per_model_with_prefill_and_decode() -> None:
    axes = axes_of(drawn(THREADS, grid()))
    assert [axis.get_title(loc="left") for axis in axes] == ["small", "", "large", ""]
    assert [axis.get_ylabel() for axis in axes] == ["prefill, tokens/s", "decode, tokens/s"] * 2
    assert all(axis.get_xlabel() == "threads" for axis in axes)
    assert all(axis.get_ylim()[0] == 0 for axis in axes)
    assert all(list(axis.get_xticks()) == [1, 2, 4] for axis in axes)


def test_speed_is_plotted_over_its_own_threads_with_its_interval() -> None:
    cells = [summary(n_threads=1, n_threads_batch=3), summary(n_threads=2, n_threads_batch=6, decode_tps=24.0)]
    prefill, decode = axes_of(drawn(THREADS, cells))
    assert points(series(prefill)["Q8_0"]) == [(3, 200.0), (6, 200.0)]
    assert ends(series(prefill)["Q8_0"]) == [(160.0, 250.0)] * 2
    assert points(series(decode)["Q8_0"]) == [(1, 20.0), (2, 24.0)]
    assert ends(series(decode)["Q8_0"]) == [(16.0, 25.0)] * 2


def test_of_cells_that_differ_in_the_other_threads_the_equal_one_is_plotted_not_the_fastest() -> None:
    cells = [
        summary(n_threads=1, n_threads_batch=2, prefill_tps=240.0),
        summary(n_threads=2, n_threads_batch=2, prefill_tps=210.0),
        summary(n_threads=4, n_threads_batch=2, prefill_tps=230.0),
        summary(n_threads=1, n_threads_batch=1),
    ]
    prefill, _ = axes_of(drawn(THREADS, cells))
    assert points(series(prefill)["Q8_0"]) == [(1, 200.0), (2, 210.0)]


def test_the_dotted_line_scales_the_fastest_level_at_the_fewest_threads() -> None:
    cells = [summary(n_threads=threads, quant=level, decode_tps=speed) for threads in (2, 4)
             for level, speed in (("Q8_0", 20.0), ("Q4_0", 22.0))]  # fmt: skip
    _, decode = axes_of(drawn(THREADS, cells))
    (dotted,) = [line for line in decode.lines if line.get_linestyle() == ":"]
    assert dotted.get_xydata().tolist() == [[2, 22.0], [4, 44.0]]


def test_a_missing_point_is_left_out_and_the_failed_cell_is_named() -> None:
    cells = [
        cell
        for cell in grid()
        if (cell.artifact.model, cell.artifact.level, cell.config.n_threads) != ("large", "F16", 4)
    ]
    figure = drawn(THREADS, [*cells, failed(model="large", n_params=400_000_000, quant="F16", n_threads=4)])
    _, decode = axes_of(figure)[2:]
    assert [x for x, _ in points(series(decode)["F16"])] == [1, 2]
    assert [x for x, _ in points(series(decode)["Q8_0"])] == [1, 2, 4]
    assert "Failed, so not drawn: large F16 with 4 threads." in words(figure)


# Memory by part


def bars(axis: Axes) -> dict[str, list[tuple[float, float]]]:
    """Start and length of each part's bars."""
    found = [each for each in axis.containers if isinstance(each, BarContainer)]
    return {str(each.get_label()): [(bar.get_x(), bar.get_width()) for bar in each] for each in found}


def test_memory_stacks_the_parts_up_to_the_measured_peak_with_its_range() -> None:
    figure = drawn(MEMORY, [summary()])
    (axis,) = axes_of(figure)
    assert bars(axis) == {
        "weights": [(0, 100)],
        "repacked weights": [(100, 50)],
        "KV cache": [(150, 20)],
        "compute buffer": [(170, 10)],
        "runtime": [(180, 0)],
        "remainder": [(180, 20)],
    }
    assert points(series(axis)["peak"]) == [(200, 0)]
    assert ends(series(axis)["peak"], along=0) == [(190, 220)]
    assert axis.get_xlabel() == "resident memory, MiB"
    assert [label.get_text() for label in axis.get_yticklabels()] == ["Q8_0"]
    assert [text.get_text() for text in axis.texts] == ["200"]
    assert "error bars: smallest and largest round." in words(figure)
    assert "95 %" not in words(figure)


def test_the_level_with_the_most_bits_stands_on_top() -> None:
    (axis,) = axes_of(drawn(MEMORY, [summary(quant="Q4_0", bpw=4.5), summary(quant="F16", bpw=16.0)]))
    assert [label.get_text() for label in axis.get_yticklabels()] == ["F16", "Q4_0"]
    assert axis.yaxis_inverted()


def test_where_the_parts_exceed_the_peak_the_weights_are_cut_and_the_caption_says_so() -> None:
    figure = drawn(MEMORY, [summary(model_rss_bytes=150 * MIB, model_rss_bytes_min=None, model_rss_bytes_max=None)])
    parts = bars(axes_of(figure)[0])
    assert parts["weights"] == [(0, 70)]
    assert parts["remainder"] == [(150, 0)]
    assert "Where the parts exceed the peak (by up to 30 MiB), weights are cut" in words(figure)
    assert "exceed" not in words(drawn(MEMORY, [summary()]))


@pytest.mark.parametrize("changes", [{"model_rss_bytes": None}, {"model_rss_bytes": -5}, {"weights_bytes": None}])
def test_memory_without_its_figures_is_not_drawn(changes: dict[str, Any]) -> None:
    assert parts_of(summary(**changes)) is None
    assert draw(MEMORY, [summary(**changes)]) == "the memory's parts are not known"


def test_a_file_of_which_the_parts_are_not_known_has_an_empty_row_and_is_named() -> None:
    cells = [summary(), summary(quant="Q4_0", bpw=4.5), summary(model="other", n_params=9),
             summary(model="other", n_params=9, quant="Q4_0", bpw=4.5, weights_bytes=None)]  # fmt: skip
    figure = drawn(MEMORY, cells)
    other, _ = axes_of(figure)
    assert [text.get_text() for text in other.texts] == ["200", "no figures"]
    assert "Not drawn, without these figures: other Q4_0." in words(figure)


def test_a_part_that_no_file_has_stays_out_of_the_legend() -> None:
    legend = drawn(MEMORY, [summary(repacked_bytes=None)]).legends[0]
    assert [text.get_text() for text in legend.get_texts()] == [
        "weights", "KV cache", "compute buffer", "remainder", "measured peak",
    ]  # fmt: skip


# Decode against file size


def test_decode_is_plotted_over_the_files_size_with_its_interval() -> None:
    (axis,) = axes_of(drawn(SIZE, [summary(), summary(quant="Q4_0", bpw=4.5, file_bytes=50 * MIB, decode_tps=25.0)]))
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("file size, MiB", "decode, tokens/s")
    assert points(series(axis)["Q8_0"]) == [(100, 20.0)]
    assert ends(series(axis)["Q8_0"]) == [(16.0, 25.0)]
    assert points(series(axis)["Q4_0"]) == [(50, 25.0)]
    assert axis.get_xscale() == "log"
    assert (axis.get_yscale(), axis.get_ylim()[0]) == ("linear", 0)


def test_speeds_far_apart_stand_on_a_logarithmic_axis() -> None:
    far = {"decode_tps": 400.0, "decode_tps_lo": 390.0, "decode_tps_hi": 410.0}
    (axis,) = axes_of(drawn(SIZE, [summary(), summary(quant="Q4_0", bpw=4.5, **far)]))
    assert axis.get_yscale() == "log"


def test_a_grey_line_joins_the_files_of_a_model_and_bears_its_name() -> None:
    figure = drawn(SIZE, grid())
    (axis,) = axes_of(figure)
    joined = [line.get_xdata().tolist() for line in axis.lines if line.get_color() == "#B0B0B0"]
    assert joined == [[56, 106, 200], [224, 424, 800]]
    assert {text.get_text() for text in axis.texts} == {"small", "large"}
    assert "A grey line joins the files of one model. Overlapping error bars are a tie." in words(figure)


def test_a_file_of_no_size_is_no_point() -> None:
    assert draw(SIZE, [summary(file_bytes=0)]) == "no decode was measured"


# All charts


def test_a_level_has_one_colour_in_every_chart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(plots.render.draw, "_save", lambda figure, path, form: figures.append(figure) or path)
    # The second load lacks the first level, which must not move the others' colours.
    second = [request(quant=level, bpw=LEVELS[level][0], n_threads=n) for level in ("Q8_0", "Q4_0") for n in (1, 2)]
    draw_charts([*grid(), *second], tmp_path, chosen=FIRST)
    assert len(figures) == 8
    seen: dict[str, set[Any]] = {}
    for figure in figures:
        for axis in axes_of(figure):
            for level, container in series(axis).items():
                line = container.lines[0]
                seen.setdefault(level, set()).add(line.get_color())
        for handle in figure.legends[0].legend_handles if figure.legends else ():
            if handle.get_label() in LEVELS:
                seen[handle.get_label()].add(handle.get_color())
    assert {level: len(seen[level]) for level in LEVELS} == {"F16": 1, "Q8_0": 1, "Q4_0": 1}
    assert len(set.union(*(seen[level] for level in LEVELS))) == 3
    assert not {colour for colour, _ in PARTS.values()} & {colour for level in LEVELS for colour in seen[level]}


@pytest.mark.parametrize("name", [LATENCY, THREADS, SIZE])
def test_estimates_are_hollow_and_dashed_and_measurements_full(name: str) -> None:
    for kind, face in (("estimated", "white"), ("measured", None)):
        figure = drawn(name, grid(kind=kind))
        for container in series(axes_of(figure)[0]).values():
            line = container.lines[0]
            assert line.get_markerfacecolor() == (face or line.get_color())
            if name == THREADS and (kind == "estimated" or container.get_label() == "F16"):
                # Measured lines of some levels have dashes of their own.
                assert line.get_linestyle() == ("--" if kind == "estimated" else "-")
            assert (line.get_linestyle() == "None") == (name != THREADS)
        assert ("estimated, not measured" in [text.get_text() for text in figure.texts]) == (kind == "estimated")
        assert ("Estimated, not measured" in words(figure)) == (kind == "estimated")
        assert ("Medians" in words(figure)) == (kind == "measured")


def test_estimated_memory_is_hollow() -> None:
    figure = drawn(MEMORY, [summary(kind="estimated")])
    faces = {bar.get_facecolor() for each in axes_of(figure)[0].containers if isinstance(each, BarContainer)
             for bar in each}  # fmt: skip
    assert faces == {(1.0, 1.0, 1.0, 1.0)}
    assert "estimated peak" in [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize("name", FIRST)
def test_the_caption_tells_device_build_load_setting_threads_and_repeats(name: str) -> None:
    text = words(drawn(name, grid()))
    assert "Models and unique parameters: small 100.0M, large 400.0M." in text
    assert "Test Board 5, Test CPU, 4 cores; llama.cpp c0ffee, CPU, openmp threads." in text
    assert "Workload bench: prefill of 512 and decode of 128 tokens, each at depth 0; context 768" in text
    assert "batch 2048/512, KV cache f16, flash attention auto, load mode auto" in text
    assert f"load mode auto, {'1, 2, 4' if name == THREADS else '4'} threads." in text
    assert "Medians over 6 rounds of 3 repetitions; error bars: " in text
    assert ("95 % interval of the median." in text) == (name != MEMORY)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"mode": "request", "workload": "chat", "n_prompt": 128, "decode_depth": 128},
         "Workload chat: 128 tokens in, 128 out, decode at depth 128;"),
        ({"n_gen": 0, "decode_tps": None}, "Workload bench: prefill of 512 tokens, at depth 0;"),
        ({"n_prompt": 0, "prefill_tps": None}, "Workload bench: decode of 128 tokens, at depth 0;"),
        ({"type_k": "q8_0"}, "KV cache q8_0/f16,"),
        ({"repack": False}, "weights not repacked,"),
        ({"cores": (0, 2)}, "on CPUs 0, 2,"),
        ({"label": "my build"}, "openmp threads, build my build."),
        ({"backend": "CPU+BLAS"}, "llama.cpp c0ffee, CPU+BLAS,"),
        ({"n_threads_batch": 4}, "1 thread in decode, 4 threads in prefill."),
        ({"flags": ("noisy", "busy")}, "Disturbed: tiny Q8_0 with 1 thread (busy, noisy)."),
    ],
)  # fmt: skip
def test_the_caption_tells_what_is_special(changes: dict[str, Any], sentence: str) -> None:
    assert sentence in told([summary(**changes)])


def test_rounds_that_differ_are_told_with_both_kinds_of_bars() -> None:
    few = {"prefill_tps_lo": None, "prefill_tps_hi": None, "decode_tps_lo": None, "decode_tps_hi": None, "rounds": 4}
    text = told([summary(), summary(quant="Q4_0", **few)])
    assert "over 4 to 6 rounds of 3 repetitions; error bars: 95 % interval of the median, under six rounds" in text


def test_what_failed_or_was_skipped_is_told() -> None:
    gone = [
        failed(quant="F16"),
        failed(quant="BF16", status="skipped"),
        summary(quant="Q4_0", status="failed", rounds=4),
    ]
    text = told([summary(), *gone])
    assert "Failed, so not drawn: tiny F16 with 1 thread." in text
    assert "Failed in some rounds: tiny Q4_0 with 1 thread." in text
    assert "Skipped, so not drawn: tiny BF16 with 1 thread." in text
    many = told([summary(), *[failed(quant=f"L{number}") for number in range(5)]])
    assert "Failed, so not drawn: 5 cells." in many


def test_a_file_that_was_not_measured_at_the_charts_threads_is_told() -> None:
    cells = [*grid(), summary(model="late", n_params=7, n_threads=8)]
    assert "Not drawn, without these figures: late Q8_0." in words(drawn(SIZE, cells))


@pytest.mark.parametrize("name", FIRST)
def test_made_up_weights_are_marked_under_the_title_and_in_the_caption(name: str) -> None:
    figure = drawn(name, grid(weights="synthetic", standin_for="real-name"))
    assert "synthetic weights" in [text.get_text() for text in figure.texts]
    assert "Synthetic weights in the shape of real-name." in words(figure)
    assert not any("ynthetic" in text.get_text() for text in drawn(name, grid()).texts)


def test_some_made_up_weights_are_marked_at_the_models_name() -> None:
    figure = drawn(THREADS, [*grid(), *grid(weights="synthetic", standin_for="tiny")])
    assert "some weights synthetic" in [text.get_text() for text in figure.texts]
    titles = [axis.get_title(loc="left") for axis in axes_of(figure)]
    assert [title for title in titles if title] == ["small", "small (synthetic)", "large", "large (synthetic)"]


@pytest.mark.parametrize("name", FIRST)
def test_markup_in_a_models_name_is_text(name: str) -> None:
    odd = r"a$\frac{b}$c_{d}<b>&amp;%"
    cells = [
        summary(model=model, n_params=n, file_bytes=n, n_threads=threads)
        for model, n in ((odd, 100_000_000), ("z", 300_000_000))
        for threads in (1, 2)
    ]
    figure = drawn(name, cells)
    assert odd in words(figure)
    assert not any(text.get_parse_math() for text in figure.findobj(Text))
    with drawing(STYLES["paper"]):
        figure.canvas.draw()


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", FIRST)
def test_no_text_is_cut_off_and_neither_legend_nor_caption_covers_a_panel(name: str, style: str) -> None:
    cells = [
        changed(cell, model=f"{cell.artifact.model}-Organisation-Name-Language-Model-500M-Chat-Instruct-v0.3-final")
        for cell in grid(weights="synthetic", standin_for="x" * 90)
    ]
    figure = drawn(name, cells, style)
    with drawing(STYLES[style]):
        figure.set_dpi(200)
        figure.canvas.draw()
        inches = figure.get_tightbbox()
        assert min(inches.x0, inches.y0) >= 0
        assert (inches.x1 <= figure.get_figwidth(), inches.y1 <= figure.get_figheight()) == (True, True)
        below = max(figure.texts, key=lambda text: len(text.get_text())).get_window_extent()
        legend = figure.legends[0].get_window_extent() if figure.legends else below
        assert below.y1 <= legend.y0 or legend is below
        assert legend.y1 <= min(axis.get_tightbbox().y0 for axis in axes_of(figure))


# Reasons


@pytest.mark.parametrize(
    ("name", "cells", "reason"),
    [
        (THREADS, [summary()], "only one thread count was measured"),
        # Decode's threads vary, but there is no decode.
        (THREADS, [summary(n_gen=0, decode_tps=None, n_threads=n, n_threads_batch=1) for n in (1, 2)],
         "only one thread count was measured"),
        (THREADS, [failed()], "no cell has figures"),
        (LATENCY, [failed()], "no cell has figures"),
        (MEMORY, [failed()], "the memory's parts are not known"),
        (SIZE, [summary(n_gen=0, decode_tps=None)], "no decode was measured"),
    ],
)  # fmt: skip
def test_a_chart_without_figures_gives_its_reason(name: str, cells: list[CellSummary], reason: str) -> None:
    assert draw(name, cells) == reason
    assert plt.get_fignums() == []


def test_what_is_left_out_is_said_and_the_rest_is_drawn(tmp_path: Path) -> None:
    said: list[str] = []
    paths = draw_charts([summary()], tmp_path, {ENVIRONMENT.id: ENVIRONMENT}, say=said.append, chosen=FIRST)
    assert [path.name for path in paths] == [f"{name}-bench.png" for name in (LATENCY, MEMORY, SIZE)]
    assert said == ["charts not drawn: speed-vs-threads of bench (only one thread count was measured)"]


# Files


@pytest.mark.parametrize(("form", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_every_format_is_written_with_the_same_bytes_each_time(form: str, magic: bytes, tmp_path: Path) -> None:
    # Memory has hatches, the most changeable of what is written.
    first, second = (draw_charts([summary()], tmp_path / name, formats=(form,), chosen=[MEMORY]) for name in ("a", "b"))
    assert [path.name for path in first] == [f"{MEMORY}-bench.{form}"]
    assert first[0].read_bytes().startswith(magic)
    assert first[0].read_bytes() == second[0].read_bytes()
    assert not re.search(rb"CreationDate|dc:date|20\d\d-\d\d-\d\dT", first[0].read_bytes())
    assert sorted((tmp_path / "a").iterdir()) == sorted([*first, tmp_path / "a" / f"{MEMORY}-bench.csv"])


def test_text_in_an_svg_file_stays_text_and_the_file_is_well_formed(tmp_path: Path) -> None:
    odd = "a$b$<script>&\x00\x1b"
    (path,) = draw_charts([summary(model=odd), summary(model="b")], tmp_path, formats=("svg",), chosen=[SIZE])
    texts = ["".join(each.itertext()) for each in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")]
    assert "file size, MiB" in texts
    assert "Q8_0" in texts
    assert any("a$b$<script>&" in text for text in texts)


def test_a_letter_that_the_font_lacks_is_no_warning(tmp_path: Path) -> None:
    assert draw_charts([summary(model="千问")], tmp_path, chosen=[LATENCY])


def test_two_environments_get_files_of_their_own_and_figures_that_never_mix(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = environment(board="Other Board")
    figures: list[Figure] = []
    monkeypatch.setattr(plots.render.draw, "_save", lambda figure, path, form: figures.append(figure) or path)
    cells = [summary(), summary(env_id=other.id, model="elsewhere")]
    paths = draw_charts(cells, tmp_path, {ENVIRONMENT.id: ENVIRONMENT, other.id: other}, chosen=FIRST)
    names = [f"{name}-bench-{env_id}.png" for env_id in (ENVIRONMENT.id, other.id) for name in (LATENCY, MEMORY, SIZE)]
    assert [path.name for path in paths] == names
    assert ["Other Board" in words(figure) for figure in figures] == [False] * 3 + [True] * 3
    assert ["elsewhere" in words(figure) for figure in figures] == [False] * 3 + [True] * 3


def test_many_models_go_on_in_another_figure_and_none_is_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found: dict[str, Figure] = {}
    monkeypatch.setattr(
        plots.render.draw, "_save", lambda figure, path, form: found.update({path.stem: figure}) or path
    )
    names = [f"m{number}" for number in range(5)]
    draw_charts([summary(model=name, n_params=10**8 + place, n_threads=threads) for place, name in enumerate(names)
              for threads in (1, 2)], tmp_path, chosen=[THREADS])  # fmt: skip
    rows = [stem for stem in found if stem.startswith(THREADS)]
    assert rows == [f"{THREADS}-bench", f"{THREADS}-bench-page2"]
    titles = [axis.get_title(loc="left") for stem in rows for axis in axes_of(found[stem])]
    assert [title for title in titles if title] == names
    # A page of a journal is some 9 inches high.
    assert all(found[stem].get_figheight() < 9.5 for stem in rows)


@pytest.mark.parametrize("wrong", [{"formats": ("gif",)}, {"style": "poster"}])
def test_an_unknown_format_or_style_is_refused(wrong: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="choose from"):
        draw_charts([summary()], tmp_path, **wrong)


@pytest.mark.parametrize("cells", [[], [failed(), failed(quant="Q4_0")]])
def test_nothing_to_draw_is_one_error_and_no_folder(cells: list[CellSummary], tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(UserError, match="nothing to draw"):
        draw_charts(cells, tmp_path / "charts", say=said.append)
    assert said == []
    assert list(tmp_path.iterdir()) == []


def test_plot_of_results_without_cells_is_one_line_and_status_2(tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    results.write_text("")
    done = slmprof("plot", results, "-o", tmp_path / "charts", cache=tmp_path)
    assert_one_line(done, "nothing to draw", "slmprof show")
    assert not (tmp_path / "charts").exists()


# Choosing


def with_loss() -> list[CellSummary]:
    """Three levels of one model with what each lost."""
    return [
        summary(quant=level, bpw=bpw, decode_tps=speed, decode_tps_lo=speed - 1, decode_tps_hi=speed + 1,
                model_rss_bytes=mib * MIB, model_rss_bytes_min=mib * MIB, model_rss_bytes_max=mib * MIB,
                kld=kld, kld_se=0.001)
        for level, bpw, speed, mib, kld in (("F16", 16.0, 10.0, 200, 0.0), ("Q8_0", 8.5, 20.0, 106, 0.01),
                                            ("Q4_0", 4.5, 30.0, 56, 0.2))
    ]  # fmt: skip


def test_levels_stand_over_their_divergence_where_all_have_one() -> None:
    speed, memory = axes_of(drawn("pareto", with_loss()))
    assert speed.get_xlabel() == memory.get_xlabel() == "KLD, nats"
    assert speed.xaxis_inverted()
    assert {name: points(each) for name, each in series(speed).items()} == {
        "F16": [(0.0, 10.0)], "Q8_0": [(0.01, 20.0)], "Q4_0": [(0.2, 30.0)],
    }  # fmt: skip
    assert points(series(memory)["Q8_0"]) == [(0.01, 106.0)]


def test_levels_stand_over_bits_where_one_has_no_divergence() -> None:
    cells = with_loss()
    cells[1] = changed(cells[1], kld=None, kld_se=None)
    figure = drawn("pareto", cells)
    assert axes_of(figure)[0].get_xlabel() == "bits per weight"
    assert "Bits per weight replace quality, which was not measured for all." in words(figure)
    assert points(series(axes_of(figure)[0])["Q8_0"]) == [(8.5, 20.0)]


def test_a_level_s_speed_and_loss_stand_over_its_memory() -> None:
    speed, loss = axes_of(drawn("level-tradeoff", with_loss()))
    assert (speed.get_ylabel(), loss.get_ylabel()) == ("decode, tokens/s", "KLD, nats")
    assert points(series(speed)["Q4_0"]) == [(56.0, 30.0)]
    assert points(series(loss)["Q4_0"]) == [(56.0, 0.2)]
    ((low, high),) = ends(series(loss)["Q4_0"])
    assert (low, high) == (pytest.approx(0.198), pytest.approx(0.202))
