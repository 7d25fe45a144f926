"""Disturbed rounds in a sweep: measured again, within the patience, and the quieter record counts."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from profiler.analysis.disturbance import foreign_of
from profiler.analysis.summarise import summarise
from profiler.measure.worker import Answer, Job
from profiler.records.failure import Failure
from profiler.records.round import Round
from profiler.results.file import read_results
from profiler.results.writer import ResultsWriter
from profiler.sweep.plan import Options, history_of
from tests.support.cells import artifact, cell, script
from tests.support.picks import around
from tests.support.scripted_worker import work
from tests.support.summaries import ENVIRONMENT
from tests.support.sweeps import Seen, sweep

CELLS = [cell(n_ctx=64 + more) for more in range(4)]
SHA = CELLS[0].artifact_sha256


class Machine:
    """Runs jobs on the scripted engine, each while others use a share of one CPU."""

    def __init__(self, load_of: Callable[[int], float | None]) -> None:
        self._load_of = load_of  # by the number of the process, from 0; None: it fails
        self.n_runs = 0

    def run(self, job: Job) -> Answer:
        load = self._load_of(self.n_runs)
        self.n_runs += 1
        if load is None:
            return Answer(failure=Failure(kind="abort", message="it broke"))
        answer = work(job)
        assert answer.measured is not None
        before, after = around(load)
        samples = tuple(msgspec.structs.replace(each, before=before, after=after) for each in answer.measured.samples)
        return msgspec.structs.replace(answer, measured=msgspec.structs.replace(answer.measured, samples=samples))


class Clock:
    """Every look at it is a second later: so each process takes a second."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 1.0
        return self.now_s


def swept(tmp_path: Path, load_of: Callable[[int], float | None], **options: object) -> tuple[Path, Machine, Seen]:
    path, machine, view = tmp_path / "results.jsonl", Machine(load_of), Seen()
    defaults: dict[str, object] = {"rounds": 3, "reps": 1, "patience": 0.5}
    with ResultsWriter(path, fresh=False, say=view.lines.append) as writer:
        if not writer.results.artifacts:
            writer.write(ENVIRONMENT)
            writer.write(artifact(SHA))
        history = history_of(writer.results, ENVIRONMENT.id)
        outcome = sweep(
            CELLS, script(tmp_path / "model.json"), Options(**(defaults | options)),  # type: ignore[arg-type]
            run=machine.run, write=writer.write, history=history, view=view, now_s=Clock(),
        )  # fmt: skip
    assert outcome.n_left == 0
    return path, machine, view


def every_record(path: Path) -> list[Round]:
    lines = [line for line in path.read_bytes().splitlines() if line.startswith(b'{"type":"round"')]
    return [msgspec.json.decode(line, type=Round) for line in lines]


def loads_of(path: Path) -> list[float]:
    found = [foreign_of([record]) for record in read_results([path]).rounds]
    return [each.cpus for each in found if each is not None]


def test_a_disturbed_round_is_measured_again_after_the_others_of_its_number(tmp_path: Path) -> None:
    path, machine, view = swept(tmp_path, lambda run: 0.4 if run == 1 else 0.0)
    assert machine.n_runs == 13
    records = every_record(path)
    # The second process of the first four is the disturbed one; the fifth repeats it.
    assert (records[4].cell, records[4].round, records[4].repeated) == (records[1].cell, 0, 1)
    assert view.n_more == 1
    results = read_results([path])
    assert results.warnings == []
    assert loads_of(path) == []
    assert all((each.rounds, each.flags, each.notes) == (3, (), ()) for each in summarise(results))


def test_the_quieter_record_counts_also_where_it_is_the_first(tmp_path: Path) -> None:
    path, machine, _ = swept(tmp_path, lambda run: {1: 0.4, 4: 0.8}.get(run, 0.0))
    assert machine.n_runs == 13  # the repeat was no quieter: the disturbance lasts
    first, again, kept = (
        each for each in every_record(path) if each.round == 0 and each.cell == every_record(path)[1].cell
    )
    assert [first.repeated, again.repeated, kept.repeated] == [0, 1, 2]
    assert msgspec.structs.replace(kept, repeated=0) == first
    assert loads_of(path) == pytest.approx([0.4])
    assert read_results([path]).warnings == []


def test_a_repeat_that_fails_costs_nothing_that_was_measured(tmp_path: Path) -> None:
    path, _, _ = swept(tmp_path, lambda run: {1: 0.4, 4: None}.get(run, 0.0))
    assert all(each.status == "ok" and each.rounds == 3 for each in summarise(read_results([path])))


def test_the_most_disturbed_comes_first_and_the_patience_ends(tmp_path: Path) -> None:
    loads = {0: 0.3, 1: 0.5, 2: 0.2}
    path, machine, _ = swept(tmp_path, lambda run: loads.get(run, 0.0), rounds=1)
    assert machine.n_runs == 4 + 2  # half of four seconds
    assert loads_of(path) == pytest.approx([0.2])
    assert swept(tmp_path, lambda run: 0.0, rounds=1)[1].n_runs == 0  # what is done is done


def test_without_patience_or_in_a_load_that_lasts_little_is_repeated(tmp_path: Path) -> None:
    assert swept(tmp_path, lambda _: 0.4, patience=0.0)[1].n_runs == 12
    (tmp_path / "results.jsonl").unlink()
    path, machine, _ = swept(tmp_path, lambda _: 0.4)
    assert machine.n_runs == 12 + 3  # one in each of the three numbers shows that it lasts
    assert all(each.flags == ("busy",) for each in summarise(read_results([path])))
    tries = Counter((record.cell.key, record.round) for record in every_record(path))
    assert max(tries.values()) <= 3


def test_a_target_counts_the_record_that_counts(tmp_path: Path) -> None:
    path, _, view = swept(tmp_path, lambda run: 0.4 if run == 1 else 0.0, rounds=6, target=0.1)
    assert all(each.rounds == 6 for each in summarise(read_results([path])))
    assert len({key for key, _, _ in view.stops}) == 4


def test_drift_control_reads_the_reference_once_per_number(tmp_path: Path) -> None:
    disturbed = {5, 9}
    path, _, _ = swept(tmp_path, lambda run: 0.4 if run in disturbed else 0.0, drift_control=True)
    quiet = tmp_path / "quiet"
    quiet.mkdir()
    other, _, _ = swept(quiet, lambda _: 0.0, drift_control=True)
    assert len(read_results([path]).anchors) == len(read_results([other]).anchors)
