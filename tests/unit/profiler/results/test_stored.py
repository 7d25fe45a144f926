"""Rounds are found in a file once and decoded when asked for, cell by cell, here or in processes."""

import os
import threading
from pathlib import Path

import msgspec
import pytest

from profiler.analysis.summarise import summarise_and_warn
from profiler.compare.match import sides_of
from profiler.results import percell
from profiler.results.file import Results, read_results
from profiler.results.stored import StoredRounds, at_places, cells_of, heads_of, places_of
from quant.base.errors import UserError
from tests.support.cells import artifact
from tests.support.rounds import a_round, no_round, sample, with_cell, write_lines
from tests.support.summaries import ENVIRONMENT, environment

OTHER = environment(board="Other")
ROUNDS = [
    with_cell(a_round(number, sample(prefill_ms=60 + number), env_id=where.id), n_threads=threads)
    for where in (ENVIRONMENT, OTHER)
    for number in (1, 0, 2)
    for threads in (1, 2)
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "results.jsonl", ENVIRONMENT, OTHER, artifact(), *ROUNDS)


def test_stored_rounds_are_a_sequence_of_what_was_written(path: Path) -> None:
    found = read_results([path]).rounds
    assert isinstance(found, StoredRounds)
    assert found == ROUNDS
    assert (found[3], found[-1], found[2:4]) == (ROUNDS[3], ROUNDS[-1], ROUNDS[2:4])
    assert [head.started_at for head in heads_of(found)] == [record.started_at for record in ROUNDS]
    assert found != ROUNDS[1:] and found != ROUNDS[::-1]  # noqa: PT018


def test_cells_come_with_their_rounds_in_order(path: Path) -> None:
    for rounds in (read_results([path]).rounds, ROUNDS):
        cells = list(cells_of(rounds))
        assert [[record.round for record in cell] for cell in cells] == [[0, 1, 2]] * 4
        assert [(cell[0].env_id, cell[0].cell.config.n_threads) for cell in cells] == [
            (ENVIRONMENT.id, 1), (ENVIRONMENT.id, 2), (OTHER.id, 1), (OTHER.id, 2)
        ]  # fmt: skip
        assert len({id(cell) for cell in cells}) == 4
        key = (ROUNDS[1].cell.key, OTHER.id)
        assert list(places_of(rounds, {key})) == [key]
        assert [len(cell) for cell in cells_of(rounds, {key})] == [3]
        assert [record.round for record in next(at_places(rounds, [[0, 2]]))] == [1, 0]


def test_some_rounds_can_be_kept_without_decoding_any(path: Path) -> None:
    found = read_results([path]).rounds
    assert isinstance(found, StoredRounds)
    assert found.only([place in (1, 4) for place in range(len(ROUNDS))]) == [ROUNDS[1], ROUNDS[4]]


def test_a_head_is_the_same_whether_it_is_read_around_the_samples_or_with_them(tmp_path: Path) -> None:
    record = msgspec.structs.replace(a_round(3), read_ceiling_bytes_per_s=2.5e10)
    (tmp_path / "usual").mkdir()
    usual = write_lines(tmp_path / "usual" / "r.jsonl", ENVIRONMENT, artifact(), record)
    known = list(heads_of(read_results([usual]).rounds))
    assert [(head.round, head.read_ceiling_bytes_per_s) for head in known] == [(3, 2.5e10)]
    line = usual.read_bytes().splitlines()[-1]
    others = (
        line.replace(b'],"memory":{', b'], "memory": {'),  # another program wrote it
        line.replace(b'"seed":', b'"of":{"a":1,"samples":[],"b":[],"memory":{}},"seed":'),
        line.replace(b'"seed":', b'"of":"],\\"memory\\":{,\\"samples\\":[","seed":'),
    )
    for number, other in enumerate(others):
        assert other != line
        path = tmp_path / f"{number}.jsonl"
        path.write_bytes(usual.read_bytes().replace(line, other))
        assert list(heads_of(read_results([path]).rounds)) == known


def test_of_a_round_that_was_tried_again_the_last_counts(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "r.jsonl", ENVIRONMENT, artifact(), no_round(0), a_round(1), a_round(0))
    found = read_results([path])
    assert found.rounds == [a_round(0), a_round(1)]
    assert read_results([path, path]).rounds == [a_round(0), a_round(1)]


def test_fields_in_another_order_are_read(tmp_path: Path) -> None:
    import json

    line = json.dumps(dict(reversed(json.loads(write_lines(tmp_path / "a", a_round(0)).read_bytes()).items())))
    path = write_lines(tmp_path / "r.jsonl", ENVIRONMENT, artifact(), a_round(1))
    path.write_bytes(path.read_bytes() + line.encode() + b"\n")
    assert read_results([path]).rounds == [a_round(1), a_round(0)]


def test_a_line_with_a_wrong_value_is_named_when_it_is_asked_for(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    lines[6] = lines[6].replace(b'"load_ns":1000000000', b'"load_ns":"long"')
    path.write_bytes(b"".join(lines))
    found = read_results([path])
    with pytest.raises(UserError, match=r"line 7 of .* is no slmprof record \(Expected `int \| null`"):
        summarise_and_warn(found)


def test_a_file_that_changed_meanwhile_is_told(path: Path) -> None:
    found = read_results([path])
    write_lines(path, *[ENVIRONMENT] * 40)
    with pytest.raises(UserError, match=r"line 4 of .*results.jsonl"):
        list(found.rounds)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_read_once(path: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(path.read_bytes()))
    writer.start()
    found = read_results([pipe])
    writer.join()
    assert found.rounds == ROUNDS


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let a dozen rounds be many, on a machine of two CPUs; count what was done in a process."""
    started: list[int] = []
    elsewhere = percell._elsewhere

    def counted(results: Results, rounds: StoredRounds, task: object, cells: list[list[int]]) -> object:
        found = elsewhere(results, rounds, task, cells)  # type: ignore[arg-type]
        started.append(-1 if found is None else len(found))
        return found

    monkeypatch.setattr(percell, "MANY_ROUNDS", 12)
    monkeypatch.setattr(percell, "usable_cpus", lambda: 2)
    monkeypatch.setattr(percell, "_elsewhere", counted)
    return started


def test_processes_give_what_one_gives(path: Path, many: list[int]) -> None:
    here = read_results([path])
    here.rounds = list(here.rounds)
    there = read_results([path])
    assert summarise_and_warn(there) == summarise_and_warn(here)
    assert sides_of(there) == sides_of(here)
    assert many == [2, 2, 2, 2]


def test_what_fails_in_a_process_has_its_words_here(path: Path, many: list[int]) -> None:
    path.write_bytes(path.read_bytes().replace(b'"weights_mapped":true', b'"weights_mapped":"x"', 1))
    with pytest.raises(UserError, match=r"line 4 of .* is no slmprof record \(Expected `bool"):
        summarise_and_warn(read_results([path]))
    assert sorted(many) == [-1, 2]
