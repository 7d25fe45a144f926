"""The charts of rounds, depths, devices and operators: plotted values, reasons, and the figures beside each picture."""

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import msgspec
import pytest

from plots.canvas.chart_input import ChartInput, Picture, chart_input, csv_of
from plots.canvas.panels import distinct
from plots.canvas.style import STYLES, drawing, looks
from plots.canvas.theme import Theme
from plots.charts.depth import depth_charts
from plots.charts.devices import device_charts
from plots.charts.drift import drift_charts
from plots.charts.intervals import interval_charts
from plots.charts.memory import parts_of
from plots.charts.operators import operator_charts, read_reports
from plots.charts.pareto_front import dominators
from plots.charts.published import load_published
from plots.charts.roofline import roofline_charts
from plots.render.draw import NAMES, DrawOptions, draw_all
from profiler.analysis.summarise import summarise
from profiler.records.cell_summary import CellSummary
from profiler.records.round import AnchorRound, Round
from profiler.results.file import Results
from quant.base.errors import UserError
from tests.support.cells import artifact
from tests.support.rounds import a_round, results, sample, with_cell
from tests.support.studies import operators_report
from tests.support.summaries import ENVIRONMENT, MIB, changed, environment, summary


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    yield
    plt.close("all")


def made(charts: Any, inputs: ChartInput) -> dict[str, Picture | str]:
    theme = Theme(style=STYLES["paper"], looks=looks(inputs.cells), environments=inputs.environments)
    with drawing(STYLES["paper"]):
        return dict(charts(inputs, theme))


def of(found: Results) -> ChartInput:
    return chart_input(summarise(found), found)


def draw_charts(
    cells: list[CellSummary], folder: Path, say: Callable[[str], None] = lambda line: None, **options: Any
) -> list[Path]:
    """Draw charts of cells that have no records."""
    return draw_all(ChartInput(cells=distinct(cells), environments={}), folder, DrawOptions(**options), say=say)


def picture(found: dict[str, Picture | str], name: str) -> Picture:
    each = found[name]
    assert isinstance(each, Picture), each
    return each


# Gaps between tokens


def test_gaps_are_pooled_and_their_range_is_that_of_rounds() -> None:
    quick, slow = sample(decode_ms=[10] * 20), sample(decode_ms=[30] * 20)
    rounds = [with_cell(each, n_gen=20) for each in (a_round(0, quick), a_round(1, slow))]
    (chart,) = made(interval_charts, of(results(*rounds))).values()
    assert isinstance(chart, Picture)
    at = {row["share"]: row for row in chart.rows}
    assert (at[0.25]["gap_ms"], at[0.95]["gap_ms"], at[0.5]["n_gaps"]) == (10, 30, 40)
    assert (at[0.5]["gap_ms_from"], at[0.5]["gap_ms_to"]) == (10, 30)
    (axis,) = chart.figure.axes
    assert (axis.get_xlabel(), axis.get_xscale()) == ("gap to the next token, ms", "log")


def test_few_gaps_are_no_distribution() -> None:
    assert list(made(interval_charts, of(results(a_round()))).values()) == ["no cell has 20 gaps between tokens"]


# Depth


def test_speed_stands_over_what_is_in_the_cache_and_contexts_may_grow_with_it() -> None:
    cells = [
        summary(n_depth=0, decode_depth=0, n_ctx=768),
        summary(n_depth=1024, decode_depth=1024, n_ctx=1792, decode_tps=15.0, decode_tps_lo=14.0, decode_tps_hi=16.0),
    ]
    chart = picture(made(depth_charts, ChartInput(cells=cells, environments={})), "bench")
    decode = chart.figure.axes[1]
    assert decode.containers[0].lines[0].get_xydata().tolist() == [[0, 20.0], [1024, 15.0]]
    assert decode.get_xlim()[0] < 0 < 1024 < decode.get_xlim()[1]
    deep = chart.rows[-1]
    assert (deep["phase"], deep["depth"], deep["tokens_per_s_from"]) == ("decode", 1024, 14.0)


def test_a_line_over_depths_keeps_its_thread_count() -> None:
    cells = [
        summary(n_depth=depth, decode_depth=depth, n_threads=n, n_threads_batch=n)
        for depth, threads in ((0, (1, 2, 4)), (1024, (1, 2)))
        for n in threads
    ]
    chart = picture(made(depth_charts, ChartInput(cells=cells, environments={})), "bench")
    assert {(row["depth"], row["n_threads"]) for row in chart.rows} == {(0, 2), (1024, 2)}


def test_one_depth_is_no_axis() -> None:
    (reason,) = made(depth_charts, ChartInput(cells=[summary()], environments={})).values()
    assert reason == "one depth only, use -d"


# Roofline


def test_the_roof_is_bandwidth_over_bytes_and_utilisation_the_share_of_it() -> None:
    # 4 tokens in 100 ms are 40 tokens/s. Of 1,000,000 bytes of weights, and of a cache of 256 cells of 1,000 bytes
    # 2.5 on the average, each token reads 1,002,500.
    file = artifact(decode_weight_bytes=1_000_000)
    buffers = msgspec.structs.replace(a_round().buffers, kv_cache_bytes=256_000)  # type: ignore[type-var]
    record = a_round(buffers=buffers, read_ceiling_bytes_per_s=80_200_000.0)
    (chart,) = made(roofline_charts, of(results(record, artifacts=[file]))).values()
    assert isinstance(chart, Picture)
    (row,) = chart.rows
    assert (row["bytes_per_token"], row["ceiling_tps"], row["decode_tps"]) == (1_002_500, 80.0, 40.0)
    assert row["utilisation"] == pytest.approx(0.5)
    assert [text.get_text() for text in chart.figure.axes[0].texts] == ["50%"]


def test_without_a_measured_ceiling_there_is_no_roof() -> None:
    (reason,) = made(roofline_charts, of(results(a_round()))).values()
    assert "run slmprof doctor --bandwidth" in str(reason)


# Drift


def test_rounds_are_told_against_their_cell_and_anchors_against_their_first_two() -> None:
    rounds = [a_round(number, sample(decode_ms=[ms] * 4)) for number, ms in enumerate((20, 25, 25, 50))]
    anchors = [
        AnchorRound(
            **{name: getattr(a_round(number, sample(None, [ms] * 4)), name) for name in Round.__struct_fields__}
        )
        for number, ms in enumerate((10, 10, 20))
    ]
    found = results(*rounds)
    found.anchors = anchors
    chart = picture(made(drift_charts, of(found)), "")
    decode = [row["change_pct"] for row in chart.rows if row["what"] == "decode"]
    assert decode == [pytest.approx(25), pytest.approx(0), pytest.approx(0), pytest.approx(-50)]
    assert [row["change_pct"] for row in chart.rows if row["what"] == "anchor"] == [0, 0, pytest.approx(-50)]
    assert [row["time_s"] for row in chart.rows if row["what"] == "decode"] == [0, 60, 120, 180]


def test_a_single_round_cannot_drift() -> None:
    assert made(drift_charts, of(results(a_round())))[""] == "fewer than 4 rounds were measured"


def test_a_round_without_a_readable_time_is_left_out() -> None:
    times = ("2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z", "yesterday", "2026-13-41T00:00:00Z")
    rounds = [a_round(number, started_at=time) for number, time in enumerate(times)]
    assert made(drift_charts, of(results(*rounds)))[""] == "fewer than 4 rounds were measured"
    more = [a_round(number + 4, started_at=f"2026-01-01T00:0{number}:30Z") for number in range(3)]
    chart = picture(made(drift_charts, of(results(*rounds, *more))), "")
    assert len([row for row in chart.rows if row["what"] == "decode"]) == 5


# Devices


def test_devices_stand_below_each_other_each_with_its_own_figures() -> None:
    other = environment(board="Other Board")
    cells = [summary(), summary(env_id=other.id, decode_tps=30.0, decode_tps_lo=29.0, decode_tps_hi=31.0)]
    study = ChartInput(cells=cells, environments={ENVIRONMENT.id: ENVIRONMENT, other.id: other})
    chart = picture(made(device_charts, study), "bench")
    assert [(row["device"], row["decode_tps"]) for row in chart.rows] == [
        ("Test Board 5, 1 thr.", 20.0),
        ("Other Board, 1 thr.", 30.0),
    ]
    words = " ".join(" ".join(text.get_text().split()) for text in chart.figure.texts)
    assert "Devices: Test Board 5, Test CPU, 4 cores; llama.cpp c0ffee, CPU, openmp threads; Other Board" in words


def test_other_loads_on_another_device_are_not_compared() -> None:
    cells = [summary(), summary(env_id="other", n_prompt=64)]
    (reason,) = made(device_charts, ChartInput(cells=cells, environments={})).values()
    assert reason == "one device only"


# The levels worth having


def levels(**speeds: float) -> list[CellSummary]:
    bits = {"Q8_0": 8.5, "Q6_K": 6.6, "Q4_0": 4.5}
    return [
        summary(quant=level, bpw=bits[level], decode_tps=tps, decode_tps_lo=tps - 1, decode_tps_hi=tps + 1,
                model_rss_bytes=round(bits[level] * 20) * MIB, model_rss_bytes_min=round(bits[level] * 20) * MIB,
                model_rss_bytes_max=round(bits[level] * 20) * MIB)
        for level, tps in speeds.items()
    ]  # fmt: skip


def test_what_is_slower_larger_and_no_better_is_beaten_and_a_tie_is_not() -> None:
    assert dominators(levels(Q8_0=20.0, Q6_K=25.0, Q4_0=30.0)) == {}
    # Of measured divergence Q4_0 loses no more than Q6_K: then the larger and slower file has nothing for it.
    lossy = [changed(cell, kld=0.01, kld_se=0.001) for cell in levels(Q6_K=25.0, Q4_0=30.0)]
    assert list(dominators(lossy).values()) == ["Q4_0"]
    assert dominators([*levels(Q8_0=20.0), *(changed(c, model="b") for c in lossy[:1])]) == {}


# Memory


def test_memory_that_is_known_by_part_is_shown_as_it_was_seen() -> None:
    parts = parts_of(
        summary(mapped_bytes=98 * MIB, compute_touched_bytes=4 * MIB, output_buffer_bytes=MIB, runtime_bytes=30 * MIB,
                remainder_bytes=-3 * MIB)
    )  # fmt: skip
    assert parts == {
        "weights": 98, "repacked weights": 50, "KV cache": 20, "compute buffer": 5, "runtime": 30, "remainder": 0,
    }  # fmt: skip


# Operators


def test_a_report_becomes_a_chart_with_a_panel_per_phase(tmp_path: Path) -> None:
    path = tmp_path / "operators.json"
    path.write_bytes(msgspec.json.encode(operators_report()))
    study = ChartInput(cells=[], environments={}, operators=read_reports([path]))
    chart = picture(made(operator_charts, study), "smollm2-135m-Q4_K_M-t2")
    prefill, _ = chart.figure.axes
    assert prefill.get_title(loc="left").startswith("prefill of 512 tokens")
    assert [round(bar.get_width(), 6) for bar in prefill.patches][:2] == [71, 12]
    # Eleven operators: nine by name, and the rest as one.
    names = [label.get_text() for label in prefill.get_yticklabels()]
    assert (names[0], names[-1], len(names)) == ("MUL_MAT", "2 others", 10)


@pytest.mark.parametrize("text", ["", "[]", '{"type":"round"}', "\xff"])
def test_a_file_that_is_no_report_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match="operators --json"):
        read_reports([path])


# Published results


def test_published_results_have_sizes_and_sources_and_no_figure_that_nobody_published() -> None:
    found = load_published()
    assert len(found) > 50
    assert all(each.source and 5e7 < each.n_params < 2e10 for each in found)
    pi = next(each for each in found if (each.device, each.model) == ("Raspberry Pi 5", "Qwen2.5-0.5B"))
    assert pi.ms("decode_ms_per_token") == pytest.approx(1000 / 20.35)
    assert (pi.ms("prefill_ms_per_token"), pi.ms("ttft_ms")) == (None, None)


# Choosing, and the figures beside


def test_only_the_charts_asked_for_are_drawn_each_with_its_figures(tmp_path: Path) -> None:
    paths = draw_charts([summary()], tmp_path, chosen=["decode-vs-size"])
    assert [path.name for path in paths] == ["decode-vs-size-bench.png"]
    (row,) = csv.DictReader((tmp_path / "decode-vs-size-bench.csv").read_text().splitlines())
    assert (row["quant"], row["decode_tps"], row["decode_tps_from"], row["file_bytes"]) == (
        "Q8_0", "20.0", "16.0", str(100 * MIB),
    )  # fmt: skip


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot"):
        draw_charts([summary()], tmp_path / "file", chosen=["decode-vs-size", "pareto"])


def test_a_chart_that_does_not_exist_is_refused_with_the_names_of_those_that_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"no chart 'pie'; choose from {', '.join(NAMES)}"):
        draw_charts([summary()], tmp_path, chosen=["pie"])


def test_all_charts_without_data_are_in_one_line_each_reason_once(tmp_path: Path) -> None:
    said: list[str] = []
    cells = [summary(), summary(workload="long", n_prompt=1024)]
    draw_charts(cells, tmp_path, chosen=["decode-vs-size", "speed-vs-threads", "drift"], say=said.append)
    (line,) = said
    assert line.count("\n") == 0
    assert "speed-vs-threads of bench, long (only one thread count was measured)" in line
    assert "drift (" in line


def test_a_formula_in_a_strangers_name_is_text_in_the_figures_beside() -> None:
    assert csv_of([{"model": "=1+1", "x": None}, {"model": "b", "y": 2}]) == "model,x,y\n'=1+1,,\nb,,2\n"


def test_a_cell_of_the_same_threads_is_one_mark_whatever_its_rounds() -> None:
    two = results(a_round(0), a_round(1), with_cell(a_round(0), n_threads=2))
    assert len(summarise(two)) == 2
