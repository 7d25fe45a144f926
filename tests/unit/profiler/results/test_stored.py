"""Rounds are found in a file once and decoded when asked for, cell by cell."""

import os
import threading
from pathlib import Path

import msgspec
import pytest

from profiler.analysis.summarise import summarise_and_warn
from profiler.compare.match import sides_of
from profiler.results import kept
from profiler.results.file import Reading, read_results
from profiler.results.stored import StoredRounds, cells_of, heads_of, places_of
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


def test_some_rounds_can_be_kept_without_decoding_any(path: Path) -> None:
    found = read_results([path]).rounds
    assert isinstance(found, StoredRounds)
    assert found.only([place in (1, 4) for place in range(len(ROUNDS))]) == [ROUNDS[1], ROUNDS[4]]


def test_a_head_has_what_is_known_of_a_round_before_its_figures(tmp_path: Path) -> None:
    record = msgspec.structs.replace(a_round(3), read_ceiling_bytes_per_s=2.5e10)
    path = write_lines(tmp_path / "r.jsonl", ENVIRONMENT, artifact(), record)
    (head,) = heads_of(read_results([path]).rounds)
    names = [name for name in head.__struct_fields__ if getattr(head, name) != getattr(record, name)]
    assert names == []


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
def many(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let every file be a large one."""
    monkeypatch.setattr(kept, "MANY_BYTES", 1)
    monkeypatch.setenv("SLMPROF_CACHE", str(tmp_path / "cache"))


@pytest.mark.usefixtures("many")
def test_what_was_found_out_of_a_large_file_is_taken_from_the_cache(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = read_results([path])
    figures, sides = summarise_and_warn(first), sides_of(first)
    plain = read_results([path])
    plain.rounds, plain.key = list(plain.rounds), None
    assert (summarise_and_warn(plain), sides_of(plain)) == (figures, sides)
    monkeypatch.setattr(StoredRounds, "read", None)
    monkeypatch.setattr(Reading, "_read", None)
    again = read_results([path])
    assert (again.rounds.heads, again.rounds.lines) == (first.rounds.heads, first.rounds.lines)  # type: ignore[attr-defined]
    assert (summarise_and_warn(again), sides_of(again)) == (figures, sides)


@pytest.mark.usefixtures("many")
def test_a_file_or_an_analysis_that_has_changed_is_read_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = summarise_and_warn(read_results([path]))
    with path.open("ab") as file:
        file.write(msgspec.json.encode(with_cell(a_round(3), n_threads=1)) + b"\n")
    changed = read_results([path])
    assert len(changed.rounds) == len(ROUNDS) + 1
    assert summarise_and_warn(changed) != before
    monkeypatch.setattr(kept, "_code", lambda: "another")
    assert read_results([path]).key not in (None, changed.key)


@pytest.mark.usefixtures("many")
def test_the_cache_of_results_has_a_bound(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(kept, "_MOST_KEPT", 2)
    summarise_and_warn(read_results([path]))
    assert len(list((tmp_path / "cache" / "results").iterdir())) == 2
    sides_of(read_results([path]))
    assert len(list((tmp_path / "cache" / "results").iterdir())) == 2


def test_a_small_file_is_not_kept(path: Path) -> None:
    assert read_results([path]).key is None
