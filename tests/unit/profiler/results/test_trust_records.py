"""The anchor's records and doubts in a results file, and the flags that come of them."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from profiler.analysis.flags import flags_of
from profiler.analysis.summarise import summarise
from profiler.records.failure import Doubt
from profiler.records.round import AnchorRound, Conditions, Round
from profiler.results.file import read_results
from profiler.results.writer import ResultsWriter
from tests.support.cells import artifact
from tests.support.rounds import a_round, sample, write_lines
from tests.support.summaries import ENVIRONMENT, environment

DRIFT = Doubt(name="drifting", message="the anchor ran 9.0% slower after these rounds than at the beginning")


def anchored(index: int, **changes: Any) -> AnchorRound:
    record = a_round(index, sample(decode_ms=(1000,)), **changes)
    return AnchorRound(**{name: getattr(record, name) for name in Round.__struct_fields__})


def flags(rounds: list[Round]) -> dict[str, str]:
    return {warning.name: warning.message for warning in flags_of(rounds, environment())}


def test_an_anchors_round_is_kept_apart_from_its_cells(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    with ResultsWriter(path) as writer:
        for record in (ENVIRONMENT, artifact(), a_round(0), anchored(0), a_round(1), anchored(1)):
            writer.write(record)
    found = read_results([path])
    assert found.rounds == [a_round(0), a_round(1)]
    assert found.anchors == [anchored(0), anchored(1)]
    (summary,) = summarise(found)
    assert summary.rounds == 2
    assert summary.decode_tps.value == 40  # what the cell's own rounds say
    assert path.read_text().count('{"type":"anchor"') == 2


def test_a_doubt_supersedes_and_is_superseded(tmp_path: Path) -> None:
    doubted = msgspec.structs.replace(a_round(0), doubt=DRIFT)
    path = write_lines(tmp_path / "results.jsonl", ENVIRONMENT, artifact(), a_round(0), doubted)
    assert read_results([path]).rounds == [doubted]
    again = a_round(0, order=7)
    path = write_lines(tmp_path / "results.jsonl", ENVIRONMENT, artifact(), a_round(0), doubted, again)
    assert read_results([path]).rounds == [again]


def test_a_file_from_before_there_were_doubts_is_read(tmp_path: Path) -> None:
    old = msgspec.to_builtins(a_round(0))
    del old["doubt"]
    for each in old["samples"]:
        for moment in ("before", "after"):
            del each[moment]["governor"], each[moment]["minor_faults"]
    path = tmp_path / "results.jsonl"
    lines = [msgspec.json.encode(record) for record in (ENVIRONMENT, artifact(), old)]
    path.write_bytes(b"\n".join(lines) + b"\n")
    assert read_results([path]).rounds == [a_round(0)]


@pytest.mark.parametrize("name", ["throttled", "drifting"])
def test_a_doubt_is_a_flag_with_its_number_and_what_mends_it(name: str) -> None:
    rounds = [a_round(0), a_round(1, doubt=msgspec.structs.replace(DRIFT, name=name))]
    (message,) = flags(rounds).values()
    assert list(flags(rounds)) == [name]
    for words in ("9.0% slower", "concerns 1 of 2 rounds", "--cooldown 30s", "the same command"):
        assert words in message


def test_a_doubt_and_the_systems_own_word_are_told_together() -> None:
    hot = sample(after=Conditions(throttle=("throttled",)))
    rounds = [a_round(0, hot, doubt=msgspec.structs.replace(DRIFT, name="throttled"))]
    message = flags(rounds)["throttled"]
    assert message.startswith("the system reports throttled in 1 of 1 repetitions, and the anchor ran 9.0% slower")
    assert message.count("--cooldown 30s") == 1


def test_a_charger_that_was_pulled_is_a_drift() -> None:
    moments = [Conditions(on_battery=battery) for battery in (False, False, True, True)]
    rounds = [a_round(0, sample(before=moments[0], after=moments[1])), a_round(1, sample(before=moments[2]))]
    assert flags(rounds) == {
        "drifting": "1 of 4 readings were taken on battery, the others not; keep the charger plugged in"
    }
    assert flags(rounds[:1]) == {}


def test_a_governor_that_was_changed_is_a_drift() -> None:
    before, after = Conditions(governor="performance"), Conditions(governor="powersave")
    message = flags([a_round(0, sample(before=before, after=after))])["drifting"]
    assert message == ("the governor changed between performance and powersave; set one, see slmprof doctor")
    assert flags([a_round(0, sample(before=before, after=before))]) == {}
