"""Where a model was measured in another family's shape, tables and charts say so; elsewhere they are as before."""

from plots.canvas.caption import caption, marks_in_words
from plots.canvas.panels import panels
from plots.canvas.style import STYLES
from plots.canvas.theme import Theme
from profiler.tables.speed import render
from tests.support.summaries import summary

STANDIN = {
    "weights": "synthetic",
    "model": "opt-125m",
    "standin_for": "opt-125m",
    "standin_family": "opt",
    "arch": "gpt2",
}


def test_a_table_s_title_names_both_families() -> None:
    text = render([summary(**STANDIN)], {})
    assert "## opt-125m (100.0M, STAND-IN of gpt2 for opt, SYNTHETIC weights in the shape of opt-125m), bench" in text
    assert "STAND-IN" not in render([summary(weights="synthetic", standin_for="smollm2-135m")], {})


def test_a_chart_is_marked_under_its_title() -> None:
    other = summary(weights="synthetic", standin_for="x")
    assert marks_in_words([summary(**STANDIN)]) == "synthetic weights; in a stand-in's shape"
    assert marks_in_words([summary(**STANDIN), other]) == "synthetic weights; some in a stand-in's shape"
    assert marks_in_words([other]) == "synthetic weights"


def test_a_chart_s_caption_names_the_stand_ins() -> None:
    cells = [summary(**STANDIN)]
    (panel,) = panels(cells)
    assert "Stand-in: gpt2 for opt-125m (opt)." in caption(panel, cells, Theme(style=STYLES["paper"], looks={}))
