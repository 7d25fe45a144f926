"""The race of a pick as a chart: who was measured when, who went out when, and why."""

from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from plots.canvas.style import drawing, find_style
from plots.charts.race import lanes_of, race_chart
from plots.report.picked import answer_of_picks, race_charts_of
from profiler.analysis.summarise import summarise
from profiler.pick.session import Pick
from profiler.pick.text import render, to_json
from profiler.recommend.records import Limits
from profiler.results.file import Results
from tests.support.picks import Planted

# Q8_0 is too large by its estimate, Q6_K too slow.
LIMITS = Limits(max_file_bytes=8 << 20, min_decode_tps=35.0)
SPEEDS = {"Q4_0": 40.0, "Q5_K_M": 38.0, "Q6_K": 20.0, "Q8_0": 15.0}


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Planted:
    monkeypatch.setenv("SLMPROF_CACHE", str(tmp_path / "cache"))
    return Planted(tmp_path, SPEEDS)


@pytest.fixture
def pick(planted: Planted) -> Pick:
    return planted.run(limits=LIMITS)


def test_lanes_begin_with_the_choice_and_end_with_what_was_never_measured(pick: Pick) -> None:
    lanes = lanes_of(pick)
    assert lanes[0].name == pick.verdict.chosen == "Q5_K_M t2"
    assert (lanes[-1].name, lanes[-1].end, lanes[-1].keys) == ("Q8_0 t1, 2", 0, ("Q8_0 t1", "Q8_0 t2"))
    assert sorted(key for lane in lanes for key in lane.keys) == sorted(each.key for each in pick.candidates.entries)


def test_every_measurement_and_every_elimination_is_drawn(pick: Pick) -> None:
    style = find_style("paper")
    with drawing(style):
        made = race_chart(pick, style)
        assert not isinstance(made, str)
        texts = [text.get_text() for axis in made.figure.axes for text in axis.texts]
        plt.close(made.figure)
    rounds = [(row["key"], row["step"]) for row in made.rows if row["what"] == "round"]
    assert sorted(rounds) == sorted((event.key, event.step) for event in pick.events)
    out = {row["key"]: (row["step"], row["by"]) for row in made.rows if row["what"] == "out"}
    for each in pick.verdict.eliminated:
        (lane,) = (lane for lane in lanes_of(pick) if each.key in lane.keys)
        assert out[lane.name] == (each.at_step, each.by)
    assert any(text.startswith("chosen after") for text in texts)


def test_nothing_measured_is_no_chart(planted: Planted) -> None:
    pick = planted.run(limits=Limits(max_file_bytes=1))
    assert race_chart(pick, find_style("paper")) == "nothing was measured"
    assert race_charts_of([pick]) == []


def test_the_answer_of_a_report_is_the_pick_s(pick: Pick, planted: Planted) -> None:
    results = Results(
        rounds=[each for each in planted.records if hasattr(each, "round")],  # type: ignore[misc]
        artifacts={each.artifact.sha256: each.artifact for each in map(planted.files.at, SPEEDS)},
    )
    summaries = summarise(results)
    found = answer_of_picks([pick], summaries)
    assert found.headline.startswith("tiny at Q5_K_M with 2 threads: ")
    assert found.rows[0].is_best
    text = render(pick, summaries)
    assert text.startswith("## tiny (SYNTHETIC weights): Q5_K_M with 2 threads")
    assert "\nrun it: llama-server --model " in text
    assert '"decided": true' in to_json([pick], summaries)
    (chart,) = race_charts_of([pick])
    assert "The race: tiny" in chart.words
