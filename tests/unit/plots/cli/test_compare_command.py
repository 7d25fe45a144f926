"""`slmprof compare`: exit status, JSON, and the CSV behind the chart."""

import csv
import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from matplotlib.figure import Figure

from plots.canvas.style import STYLES, drawing
from plots.charts.comparison import compare_chart, compare_csv
from plots.cli.compare import compare
from profiler.compare.comparison import compare_results
from profiler.records.energy import EnergyReading, EnergySpan, EnergyTrace
from profiler.results.file import read_results
from tests.support.cells import artifact, cell
from tests.support.compared import rounds_of
from tests.support.rounds import a_round, no_round, results, sample, write_lines
from tests.support.summaries import ENVIRONMENT

TEN = [100.0 + place for place in range(10)]


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Results, and the same ten per cent slower."""
    return [
        str(write_lines(tmp_path / f"{name}.jsonl", ENVIRONMENT, artifact(),
                        *rounds_of([value * factor for value in TEN])))
        for name, factor in (("base", 1.0), ("new", 0.9))
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "status"),
    [([], 0), (["--fail-on-regression"], 1), (["--fail-on-regression", "--threshold", "9%"], 1),
     (["--fail-on-regression", "--threshold", "11"], 0), (["--threshold", "much"], 2)],
)  # fmt: skip
def test_the_exit_status_is_1_only_for_a_slow_down_beyond_the_threshold(
    files: list[str], options: list[str], status: int
) -> None:
    assert CliRunner().invoke(compare, [*files, *options]).exit_code == status


def test_a_cell_that_fails_since_is_a_regression(files: list[str], tmp_path: Path) -> None:
    broken = write_lines(tmp_path / "broken.jsonl", ENVIRONMENT, artifact(),
                         *(no_round(number) for number in range(len(TEN))))  # fmt: skip
    done = CliRunner().invoke(compare, [files[0], str(broken), "--fail-on-regression"])
    assert done.exit_code == 1
    assert "failed now, and measured before: tiny" in done.stderr
    assert CliRunner().invoke(compare, [files[0], str(broken)]).exit_code == 0
    assert CliRunner().invoke(compare, [str(broken), files[0], "--fail-on-regression"]).exit_code == 0


def test_json_holds_the_changes(files: list[str]) -> None:
    found = json.loads(CliRunner().invoke(compare, [*files, "--json"]).stdout)
    (change,) = [each for each in found["pairs"][0]["changes"] if each["figure"] == "decode_tps"]
    assert change["ratio"] == pytest.approx(0.9, abs=1e-4)
    assert change["significant"] is True


def test_the_csv_has_every_ratio_and_runs_no_formula() -> None:
    ours = results(*rounds_of(TEN), artifacts=[artifact(model="=1+1")])
    rows = list(csv.DictReader(compare_csv(compare_results(ours, ours)).splitlines()))
    assert [row["figure"] for row in rows] == ["decode_tps", "model_rss_bytes"]
    assert all(row["cell"].startswith("'=1+1") and float(row["ratio"]) == 1 for row in rows)


def test_the_chart_has_a_row_per_cell_and_a_dot_at_the_ratio(files: list[str], tmp_path: Path) -> None:
    target = tmp_path / "ratios.svg"
    done = CliRunner().invoke(compare, [*files, "--chart", str(target)])
    assert done.exit_code == 0, done.output
    assert "decode" in target.read_text()
    found = compare_results(read_results([Path(files[0])]), read_results([Path(files[1])]))
    with drawing(STYLES["paper"]):
        figure = compare_chart(found, STYLES["paper"], ("base", "new"))
    assert isinstance(figure, Figure)
    dots = [line.get_xydata().tolist() for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert dots == [[[pytest.approx(0.9, abs=1e-4), 0.0]]]
    assert len(list(csv.DictReader(target.with_suffix(".csv").read_text().splitlines()))) == 2


def test_a_row_of_panels_for_every_figure_that_changed() -> None:
    energy = EnergySpan(
        before=EnergyReading(at_ns=0, counters_uj={"package": 0}),
        after=EnergyReading(at_ns=10**9, counters_uj={"package": 10**6}),
    )
    trace = EnergyTrace(source="RAPL", covers="the package")
    bench = [a_round(i, msgspec.structs.replace(sample(), decode_energy=energy), energy=trace) for i in range(6)]
    chat = [a_round(i, sample(choose_ms=0.1), cell=cell(mode="request", workload="chat")) for i in range(6)]
    found = compare_results(results(*bench, *chat), results(*bench, *chat))
    titles = {"prefill", "decode", "first token", "memory", "energy per token"}
    with drawing(STYLES["paper"]):
        figure = compare_chart(found, STYLES["paper"], ("base", "new"))
    assert isinstance(figure, Figure)
    drawn = [axis for axis in figure.axes if axis.get_visible()]
    assert {axis.get_xlabel().removesuffix(", ratio") for axis in drawn} == titles
    named = [place for place, axis in enumerate(drawn) if any(label.get_text() for label in axis.get_yticklabels())]
    assert named == [0, 3]  # the first of each row
