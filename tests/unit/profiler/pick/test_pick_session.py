"""A pick on planted truth: to its end, stopped and resumed, out of time, out of candidates."""

import math
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from profiler.measure.corpus import Text
from profiler.quality.adaptive import AdaptiveScores, ScoreTools
from profiler.quality.session import QualityOptions
from profiler.quality.worker import ScoreAnswer, ScoreJob
from profiler.recommend.records import Limits
from profiler.records.failure import Failure
from profiler.records.quality import QualityRecord
from profiler.records.round import Round
from quant.base.errors import UserError
from quant.sources.prepare import Prepared
from tests.support.picks import Planted, facts
from tests.support.quality import Scoring, model

SPEEDS = {"Q4_0": 40.0, "Q6_K": 30.0, "Q8_0": 20.0}
QUALITY_WINS = Limits(min_decode_tps=22.0)  # Q8_0 meets it with two threads only


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Planted:
    monkeypatch.setenv("SLMPROF_CACHE", str(tmp_path / "cache"))
    (tmp_path / "models").mkdir()
    return Planted(tmp_path / "models", SPEEDS)


def test_without_limits_the_fastest_wins_and_alone_keeps_its_file(planted: Planted) -> None:
    pick = planted.run()
    assert pick.verdict.decided
    assert pick.verdict.chosen == "Q4_0 t2"
    assert pick.chosen is not None
    assert pick.chosen.artifact.level == "Q4_0"
    assert planted.levels_there() == {"Q4_0"}
    assert pick.events[-1].step == len(pick.events) == pick.n_measured == len(planted.jobs)
    assert any(line.startswith("out: Q8_0") for line in planted.said)


def test_with_a_limit_the_best_quality_that_meets_it_wins(planted: Planted) -> None:
    pick = planted.run(limits=QUALITY_WINS, keep_all=True)
    assert pick.verdict.chosen == "Q8_0 t2"
    assert "Q8_0" in planted.levels_there()
    assert planted.levels_there() == set(planted.files.made)  # none was deleted, and none made twice


def test_stopped_at_any_round_it_goes_on_and_measures_none_twice(planted: Planted, tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    whole = Planted(tmp_path / "whole", SPEEDS)
    expected = whole.run()
    for stop_after in (1, 4, 7):
        planted.stop_after = stop_after
        with pytest.raises(KeyboardInterrupt):
            planted.run()
    planted.stop_after = None
    pick = planted.run()
    assert pick.verdict == expected.verdict
    assert planted.taken() == whole.taken()
    assert len(set(planted.taken())) == len(planted.taken())
    again = planted.run()
    assert again.n_measured == 0
    assert again.verdict == expected.verdict
    assert planted.files.made == []


def test_a_budget_that_is_too_short_ends_with_the_best_answer_so_far(planted: Planted) -> None:
    pick = planted.run(budget_s=4.0)
    assert pick.over_budget
    assert not pick.verdict.decided
    assert pick.verdict.chosen is not None
    assert pick.verdict.error > pick.most_error
    assert len(planted.jobs) == 4
    assert planted.run().verdict.decided  # the same command again


def test_no_round_is_begun_that_the_budget_would_cut(planted: Planted) -> None:
    whole = planted.run()
    planted.records.clear()
    planted.jobs.clear()
    repeated = next(
        place for place, each in enumerate(whole.events) if each.key in [e.key for e in whole.events[:place]]
    )
    planted.now_s = 0.0
    pick = planted.run(budget_s=repeated + 0.5)
    assert pick.over_budget
    assert len(planted.jobs) == repeated
    assert planted.now_s <= repeated


def test_a_disturbed_round_is_measured_again_and_the_quieter_record_counts(planted: Planted) -> None:
    planted.loads = {4: 0.3, 5: 0.9}
    pick = planted.run(patience=0.3)
    records = [each for each in planted.records if isinstance(each, Round)]
    first, again, kept = records[3:6]
    assert [each.repeated for each in (first, again, kept)] == [0, 1, 2]
    assert msgspec.structs.replace(kept, repeated=0) == first
    assert [each.observed.disturbed for each in pick.events if each.observed].count(True) == 1
    assert planted.run(patience=0.3).verdict == pick.verdict  # from the records
    planted.records.clear()
    planted.jobs.clear()
    planted.run(patience=0.0)
    assert len(set(planted.taken())) == len(planted.taken())


def test_nothing_fits(planted: Planted) -> None:
    pick = planted.run(limits=Limits(min_decode_tps=1000.0))
    assert pick.verdict.decided
    assert pick.verdict.chosen is None
    assert pick.chosen is None
    assert planted.levels_there() == set()
    assert planted.run(limits=Limits(max_file_bytes=1)).verdict.eliminated[0].at_step == 0
    assert planted.files.made == []


def test_a_failure_ends_an_entry_and_is_a_record(planted: Planted) -> None:
    planted.fail["Q4_0"] = Failure(kind="abort", message="GGML_ASSERT: on purpose")
    pick = planted.run()
    assert pick.verdict.chosen == "Q6_K t2"
    out = [each for each in pick.verdict.eliminated if each.by == "failure"]
    assert {each.key for each in out} <= {"Q4_0 t1", "Q4_0 t2"}
    assert "on purpose" in out[0].why


def test_a_level_that_cannot_be_made_is_absent_and_a_source_that_cannot_is_an_error(planted: Planted) -> None:
    planted.run(budget_s=3.0)
    planted.cannot_make["Q6_K"] = UserError("the disk is full")
    pick = planted.run()
    assert pick.verdict.chosen == "Q4_0 t2"
    planted.records.clear()
    planted.cannot_make |= {level: UserError("no such repository") for level in SPEEDS}
    with pytest.raises(UserError, match="no such repository"):
        planted.run()


def test_a_level_that_misses_a_limit_on_accuracy_is_never_timed(planted: Planted) -> None:
    planted.lacking = {"Q4_0": "answers as few as 12.0 % of quiz rightly"}
    pick = planted.run(limits=Limits(min_accuracy=(("quiz", 0.5),)))
    assert pick.verdict.chosen == "Q6_K t2"
    assert not any("Q4_0" in str(job.path) for job in planted.jobs)
    (out,) = {each.why for each in pick.verdict.eliminated if each.key.startswith("Q4_0")}
    assert "12.0 % of quiz" in out
    planted.lacking = dict.fromkeys(SPEEDS, "too little")
    planted.records.clear()
    assert planted.run(limits=Limits(min_accuracy=(("quiz", 0.5),))).verdict.chosen is None


def test_another_file_under_a_level_s_name_is_refused(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    planted.run(budget_s=3.0)
    known = planted.known()
    known.sha256 = dict.fromkeys(known.sha256, "f" * 64)
    monkeypatch.setattr(planted, "known", lambda: known)
    with pytest.raises(UserError, match="--fresh"):
        planted.run()


LOGITS = {"F16": [0.0, math.log(3)], "Q8_0": [0.0, math.log(2.9)], "Q6_K": [0.0, math.log(2.8)], "Q4_0": [0.0, 0.0]}


def scored(folder: Path, scoring: Scoring, **reference: str) -> AdaptiveScores:
    """Return what scores files of planted logits; `reference` changes the script of the unquantized one."""
    files = {level: model(folder, level, logits).path for level, logits in LOGITS.items()}
    files["F16"] = model(folder, "F16", LOGITS["F16"], **reference).path

    def run(job: ScoreJob, on_progress: Callable[[bytes], None]) -> ScoreAnswer:
        level = Path(job.path).stem.removeprefix("tiny-")
        return scoring.score(msgspec.structs.replace(job, path=str(files[level])), on_progress)

    tools = ScoreTools(scratch=folder / "scratch", run=run, available_bytes=lambda: 8 << 30)
    unquantized = Prepared(artifact=facts("F16"), path=files["F16"])
    text = Text(name="digits", content=b"00000101" * 20)
    return AdaptiveScores(lambda: unquantized, text, QualityOptions(n_ctx=8), "e", tools)


def test_quality_is_measured_of_what_is_in_the_race_and_no_window_twice(planted: Planted, tmp_path: Path) -> None:
    planted.synthetic = False
    scoring = Scoring(tmp_path)
    planted.stop_after = 6
    with pytest.raises(KeyboardInterrupt):
        planted.run(scored(tmp_path, scoring))
    planted.stop_after = None
    pick = planted.run(scored(tmp_path, scoring))
    # Q4_0 is the fastest, and loses too much.
    assert pick.verdict.chosen == "Q6_K t2"
    windows = [
        (Path(job.path).stem, number) for job in scoring.jobs for number in range(job.first, job.first + job.n_windows)
    ]
    assert 0 < len(windows) == len(set(windows))
    records = [each for each in planted.records if isinstance(each, QualityRecord)]
    assert all(record.adaptive and record.status == "ok" for record in records)
    assert not (tmp_path / "scratch").exists()


def test_without_a_reference_bits_per_weight_decide(planted: Planted, tmp_path: Path) -> None:
    planted.synthetic = False
    pick = planted.run(scored(tmp_path, Scoring(tmp_path), fail="decode"))
    assert pick.verdict.chosen == "Q4_0 t2"
    assert any("bits per weight decide" in line for line in planted.said)
    planted.records.clear()
    with pytest.raises(UserError, match="--max-kld"):
        planted.run(scored(tmp_path, Scoring(tmp_path), fail="decode"), limits=Limits(max_kld=0.1))
