"""Limits on what files answer: met when the whole interval meets them, and named where nobody asked."""

import msgspec
import pytest

from profiler.cli.options.limits import limits_of
from profiler.recommend.choose import recommend
from profiler.recommend.limits import limits_text
from profiler.recommend.records import Choice, Criteria, Limits
from profiler.records.cell_summary import AccuracyFigures, CellSummary, TaskAccuracy
from profiler.records.quality import Mean
from profiler.records.span import Span
from quant.base.errors import UserError
from tests.support.summaries import summary

NOTHING = dict.fromkeys(
    ("max_memory", "min_decode", "min_prefill", "max_ttft", "max_kld", "max_file", "n_ctx", "max_accuracy_loss")
) | {"min_accuracy": ()}


def cell(level: str, bpw: float, decode: float, accuracy: float, lost: float | None) -> CellSummary:
    made = summary(quant=level, bpw=bpw, decode_tps=decode, decode_tps_lo=decode, decode_tps_hi=decode)
    loss = None if lost is None else Span(lost, lost - 0.01, lost + 0.01, "interval")
    task = TaskAccuracy(
        task="quiz", group=None, n_shots=0, metric="acc", accuracy=Mean(value=accuracy, se=0.01), n_items=2000
    )
    figures = AccuracyFigures(
        mean=task.accuracy, loss=loss, tasks=("quiz",), by_task=(task,), is_reference=lost is None
    )
    return msgspec.structs.replace(made, accuracy=figures)


CELLS = [cell("F16", 16.0, 10, 0.60, None), cell("Q8_0", 8.5, 20, 0.60, 0.0), cell("Q2_K", 3.0, 40, 0.40, 0.2)]


def choice(limits: Limits) -> Choice:
    (found,) = recommend(CELLS, Criteria(limits=limits)).choices
    return found


def test_the_fastest_that_surely_answers_enough_wins() -> None:
    found = choice(Limits(min_accuracy=(("quiz", 0.5),)))
    assert found.chosen is not None
    assert found.chosen.quant == "Q8_0"
    assert "--min-accuracy quiz=0.5" in found.reason
    found = choice(Limits(min_accuracy=(("quiz", 0.3),)))
    assert found.chosen is not None
    assert found.chosen.quant == "Q2_K"  # no other quality was asked for


def test_the_whole_interval_of_what_is_lost_counts() -> None:
    found = choice(Limits(max_accuracy_loss=0.02))
    assert found.chosen is not None
    assert found.chosen.quant == "Q8_0"
    found = choice(Limits(max_accuracy_loss=0.005))  # its interval ends at 0.01
    assert found.chosen is not None
    assert found.chosen.quant == "F16"


def test_what_would_have_to_be_relaxed_is_named_with_its_task() -> None:
    found = choice(Limits(min_accuracy=(("quiz", 0.9),)))
    assert found.chosen is None
    assert found.relax is not None
    assert found.relax.option == "--min-accuracy"
    assert found.relax.value.startswith("quiz=0.5")
    assert "of quiz rightly" in found.near_misses[0].text


def test_accuracy_that_was_not_measured_is_asked_for() -> None:
    with pytest.raises(UserError, match="slmprof tasks tiny --tasks riddles"):
        choice(Limits(min_accuracy=(("riddles", 0.5),)))
    with pytest.raises(UserError, match="synthetic"):
        recommend([summary(weights="synthetic")], Criteria(limits=Limits(max_accuracy_loss=0.01)))


def test_options() -> None:
    found = limits_of(NOTHING | {"min_accuracy": ("quiz=50%", "arc_easy = 0.25"), "max_accuracy_loss": "1%"})
    assert found.min_accuracy == (("quiz", 0.5), ("arc_easy", 0.25))
    assert found.max_accuracy_loss == 0.01
    assert limits_text(found) == "--max-accuracy-loss 1%, --min-accuracy quiz=0.5, --min-accuracy arc_easy=0.25"
    for wrong in ("quiz", "quiz=", "=0.5", "quiz=0", "quiz=120%", "quiz=x"):
        with pytest.raises(UserError, match="--min-accuracy"):
            limits_of(NOTHING | {"min_accuracy": (wrong,)})
    with pytest.raises(UserError, match="--max-accuracy-loss"):
        limits_of(NOTHING | {"max_accuracy_loss": "-1%"})
