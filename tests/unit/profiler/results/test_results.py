"""results.jsonl: what is read, what is refused, and what stands in the file after something broke."""

import errno
import os
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from profiler.records.environment import SCHEMA
from profiler.records.failure import Doubt
from profiler.records.record import Record
from profiler.records.round import Memory, Round
from profiler.results import file as results_module
from profiler.results.file import read_results
from profiler.results.writer import ResultsWriter
from quant.base.errors import UserError
from quant.gguf_io.artifact import Artifact
from tests.support.cells import artifact
from tests.support.rounds import a_round, no_round, with_cell, write_lines
from tests.support.summaries import ENVIRONMENT, environment

RECORDS = (ENVIRONMENT, artifact(), a_round(0), a_round(1))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.jsonl"


def refused(path: Path) -> str:
    """Return the one line with which reading and opening for writing refuse a file, which is left as it was."""
    before = path.read_bytes()
    with pytest.raises(UserError) as read:
        list(read_results([path]).rounds)
    with pytest.raises(UserError) as opened, ResultsWriter(path):
        pass
    assert str(opened.value) == str(read.value)
    assert path.read_bytes() == before
    text = str(read.value)
    assert text.isprintable()
    return text


def test_what_is_written_is_read_again(path: Path) -> None:
    with ResultsWriter(path) as writer:
        for record in RECORDS:
            writer.write(record)
    found = read_results([path])
    assert found.environments == {ENVIRONMENT.id: ENVIRONMENT}
    assert found.artifacts == {artifact().sha256: artifact()}
    assert found.rounds == [a_round(0), a_round(1)]
    assert found.warnings == []
    assert len(path.read_bytes().splitlines()) == 4


def test_two_devices_that_look_alike_are_not_mixed_in_silence(tmp_path: Path) -> None:
    def later(record: Round) -> Round:
        return msgspec.structs.replace(record, started_at="2026-03-01T00:00:00Z")

    one = write_lines(tmp_path / "one", ENVIRONMENT, artifact(), a_round(0), a_round(1), a_round(2))
    other = write_lines(tmp_path / "other", ENVIRONMENT, artifact(), later(a_round(0)), later(a_round(1)))
    [told] = read_results([one, other]).warnings
    assert told.startswith("2 rounds are there twice with different figures")
    joined = tmp_path / "joined"
    joined.write_bytes(one.read_bytes() + other.read_bytes())
    assert read_results([joined]).warnings == [told]
    assert read_results([one, one]).warnings == []
    doubt = Doubt(name="drifting", message="the anchor was off")
    again = [no_round(0), a_round(0), msgspec.structs.replace(a_round(0), doubt=doubt), later(a_round(0))]
    assert read_results([write_lines(tmp_path / "again", ENVIRONMENT, artifact(), *again)]).warnings == []


def test_no_record_holds_a_number_of_more_than_64_bits() -> None:
    unbounded, seen = [], set()

    def look(at: str, kind: Any) -> None:
        if isinstance(kind, msgspec.inspect.IntType):
            if (kind.le is None and kind.lt is None) or kind.ge is None:
                unbounded.append(at)
        elif isinstance(kind, msgspec.inspect.StructType):
            if kind.cls in seen:
                return
            seen.add(kind.cls)
            for field in kind.fields:
                look(f"{kind.cls.__name__}.{field.name}", field.type)
        else:
            parts = [getattr(kind, name, ()) for name in ("types", "item_types", "item_type", "key_type", "value_type")]
            for part in parts:
                for each in part if isinstance(part, tuple) else (part,):
                    look(at, each)

    look("", msgspec.inspect.type_info(Record))
    assert unbounded == []
    assert {Round, Artifact, Memory} <= seen


@pytest.mark.parametrize("number", [1 << 63, 1 << 64, 10**400])
def test_a_number_of_more_than_64_bits_is_refused(path: Path, number: int) -> None:
    line = msgspec.json.encode(a_round(0)).decode()
    broken = re.sub(r'"decode_ns":\[\d+', f'"decode_ns":[{number}', line, count=1)
    assert broken != line
    write_lines(path, ENVIRONMENT, artifact())
    path.write_text(path.read_text() + broken + "\n")
    assert "line 3" in refused(path)


def test_a_record_is_in_the_file_before_the_next_one(path: Path) -> None:
    with ResultsWriter(path) as writer:
        for count, record in enumerate(RECORDS, 1):
            writer.write(record)
            assert len(path.read_bytes().splitlines()) == count


@pytest.mark.parametrize("n_cut", [1, 2, 30])
def test_a_torn_last_line_is_left_out_with_a_warning(path: Path, n_cut: int) -> None:
    whole = write_lines(path, *RECORDS).read_bytes()
    path.write_bytes(whole[: -1 - n_cut])
    found = read_results([path])
    assert found.rounds == [a_round(0)]
    assert found.warnings == [f"the last line of {path.name} is incomplete and is skipped"]


def test_a_line_may_be_torn_anywhere(path: Path) -> None:
    line = msgspec.json.encode(a_round(1))
    before = write_lines(path, *RECORDS[:3]).read_bytes()
    for n_kept in [*range(1, 24), *range(24, len(line), 53), len(line) - 1]:
        path.write_bytes(before + line[:n_kept])
        assert read_results([path]).rounds == [a_round(0)]


@pytest.mark.parametrize("tail", [b'{"type":"rou', b"{", b"\0" * 40, b'{"type":"round","env_id":"a\0\0\0\0'])
def test_a_torn_last_line_is_cut_off_before_anything_is_written(path: Path, tail: bytes) -> None:
    whole = write_lines(path, *RECORDS[:3]).read_bytes()
    path.write_bytes(whole + tail)
    said: list[str] = []
    with ResultsWriter(path, say=said.append) as writer:
        assert path.read_bytes() == whole
        assert writer.results.rounds == [a_round(0)]
        writer.write(a_round(1))
    assert said == [f"the last line of {path} was incomplete and is removed"]
    assert read_results([path]).rounds == [a_round(0), a_round(1)]
    assert read_results([path]).warnings == []


def test_a_whole_last_line_without_its_newline_is_kept(path: Path) -> None:
    whole = write_lines(path, *RECORDS).read_bytes()
    path.write_bytes(whole[:-1])
    assert read_results([path]).rounds == [a_round(0), a_round(1)]
    assert read_results([path]).warnings == []
    with ResultsWriter(path) as writer:
        assert path.read_bytes() == whole[:-1]
        writer.write(a_round(2))
        writer.write(a_round(3))
    assert path.read_bytes().startswith(whole)
    assert read_results([path]).rounds == [a_round(index) for index in range(4)]


def test_empty_lines_are_no_records(path: Path) -> None:
    path.write_bytes(write_lines(path, *RECORDS).read_bytes() + b"\n  \n")
    assert len(read_results([path]).rounds) == 2


def test_a_later_record_of_a_round_wins(path: Path) -> None:
    write_lines(path, ENVIRONMENT, artifact(), no_round(0), a_round(1), a_round(0))
    assert {record.round: record.status for record in read_results([path]).rounds} == {0: "ok", 1: "ok"}
    write_lines(path, ENVIRONMENT, artifact(), a_round(0), no_round(0))
    assert [record.status for record in read_results([path]).rounds] == ["failed"]


def test_rounds_of_other_cells_and_environments_are_kept_apart(path: Path) -> None:
    other = environment(governor="powersave")
    rounds = [a_round(0), with_cell(a_round(0), n_threads=2), a_round(0, env_id=other.id)]
    write_lines(path, ENVIRONMENT, other, artifact(), *rounds)
    assert read_results([path]).rounds == rounds


def test_a_later_description_of_a_file_wins(path: Path) -> None:
    write_lines(path, ENVIRONMENT, artifact(), artifact(model="renamed"), a_round())
    assert read_results([path]).artifacts["a" * 64].model == "renamed"


def test_files_may_be_concatenated_or_given_together(path: Path, tmp_path: Path) -> None:
    one = write_lines(tmp_path / "one", *RECORDS)
    other = write_lines(
        tmp_path / "other", ENVIRONMENT, artifact(), artifact("b" * 64), a_round(1), with_cell(a_round(0), "b" * 64)
    )
    path.write_bytes(one.read_bytes() + other.read_bytes())
    together, concatenated = read_results([one, other]), read_results([path])
    assert together == concatenated
    assert len(together.rounds) == 3
    assert set(together.artifacts) == {"a" * 64, "b" * 64}


def test_a_newer_schema_is_refused(path: Path) -> None:
    newer = environment(schema=SCHEMA + 1)
    write_lines(path, ENVIRONMENT, newer)
    assert f"line 2 of {path} was written by a newer slmprof" in refused(path)
    # Also without its newline, where it must not pass for a torn line.
    path.write_bytes(path.read_bytes()[:-1])
    assert "update slmprof" in refused(path)


FOREIGN = [
    b"hello",
    b"[1, 2]",
    b"{}",
    b'{"a": 1}',
    b'{"type":"sample"}',
    b'{"type":"round","env_id":5}',
    b'{"type":"round","x":' + b"[" * 100_000,
    b"\xff\xfe\x00",
    b"GGUF\x03\x00\x00\x00",
]


@pytest.mark.parametrize("line", FOREIGN)
def test_a_foreign_line_is_named_by_its_number(path: Path, line: bytes) -> None:
    path.write_bytes(write_lines(path, *RECORDS).read_bytes() + line + b"\n")
    assert f"line 5 of {path} is no slmprof record (" in refused(path)


@pytest.mark.parametrize("text", [line for line in FOREIGN if not line.startswith(b'{"type":"round","x"')])
def test_a_strangers_file_without_a_newline_is_not_cut_off(path: Path, text: bytes) -> None:
    path.write_bytes(text)
    assert f"line 1 of {path} is no slmprof record (" in refused(path)


def test_a_line_of_another_kind_in_the_middle_is_refused(path: Path) -> None:
    path.write_bytes(b'{"type":"rou\n' + write_lines(path, *RECORDS).read_bytes())
    assert "line 1 of" in refused(path)


def test_a_line_without_end_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results_module, "MAX_LINE_BYTES", 1000)
    path.write_bytes(b'{"type":"round","env_id":"' + b"x" * 5000)
    assert "line 1 of" in refused(path)


def test_a_strangers_text_in_a_message_is_only_text(path: Path) -> None:
    path.write_bytes(b'{"type":"\\u001b[31mred\\n\\u202e"}\n')
    assert "[31mred" in refused(path)


def changed(record: Round, **fields: Any) -> bytes:
    """Encode a record with fields that this program would not write; a dotted name reaches inside."""
    tree = msgspec.to_builtins(record)
    for name, value in fields.items():
        *parents, last = name.split("__")
        inner = tree
        for parent in parents:
            inner = inner[int(parent)] if isinstance(inner, (list, tuple)) else inner[parent]
        inner[last] = value
    return msgspec.json.encode(tree) + b"\n"


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "fine"},
        {"status": "ok\n"},
        {"cell__config__mode": "both"},
        {"cell__config__flash_attn": "perhaps"},
        {"cell__config__n_prompt": -1},
        {"cell__config__cores": [10**9]},
        {"samples__0__prefill_ns": -5},
        {"samples__0__decode_ns": [1, -1]},
        {"samples__0__prefill_ns": 1.5},
        {"order": "1"},
    ],
)
def test_values_that_no_round_can_have_are_refused(path: Path, fields: dict[str, Any]) -> None:
    path.write_bytes(write_lines(path, *RECORDS[:2]).read_bytes() + changed(a_round(), **fields))
    assert f"line 3 of {path} is no slmprof record" in refused(path)


@pytest.mark.parametrize("n_digits", [25, 400, 5000])
def test_numbers_that_are_too_large_to_compute_with_are_refused(path: Path, n_digits: int) -> None:
    line = changed(a_round(), load_ns=123456789).replace(b"123456789", b"9" * n_digits)
    path.write_bytes(write_lines(path, *RECORDS[:2]).read_bytes() + line)
    assert f"line 3 of {path} is no slmprof record" in refused(path)


def test_a_file_without_parameters_is_refused(path: Path) -> None:
    write_lines(path, ENVIRONMENT, artifact(n_params=0))
    assert "line 2 of" in refused(path)


def test_rounds_without_the_line_of_their_file_are_refused(path: Path) -> None:
    write_lines(path, ENVIRONMENT, a_round())
    assert "rounds of file aaaaaaaaaaaa… but no line that describes it" in refused(path)


def test_a_missing_file_and_a_directory_are_named(path: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=re.escape(f"cannot read {path}: No such file")):
        read_results([path])
    for fresh in (False, True):
        with pytest.raises(UserError, match="Is a directory"), ResultsWriter(tmp_path, fresh=fresh):
            pass
    assert tmp_path.is_dir()


def test_the_folder_itself_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="Is a directory"), ResultsWriter(Path()):
        pass


class BrokenFile:
    """A file on a disk that takes so many bytes more and no others."""

    def __init__(self, file: Any, room_bytes: int) -> None:
        self._file, self._room_bytes = file, room_bytes

    def write(self, data: memoryview) -> int:
        if not self._room_bytes:
            raise OSError(errno.ENOSPC, "No space left on device")
        n_written: int = self._file.write(data[: self._room_bytes])
        self._room_bytes -= n_written
        return n_written

    def fileno(self) -> int:
        return int(self._file.fileno())

    def close(self) -> None:
        self._file.close()


@pytest.mark.parametrize("room_bytes", [0, 1, 100])
@pytest.mark.parametrize("newline", [True, False])
def test_a_full_disk_leaves_the_file_ending_with_the_record_before(
    path: Path, monkeypatch: pytest.MonkeyPatch, room_bytes: int, newline: bool
) -> None:
    before = write_lines(path, *RECORDS[:3]).read_bytes()
    before = before if newline else before[:-1]
    path.write_bytes(before)
    writer = ResultsWriter(path)
    opened = writer._opened
    with writer:
        monkeypatch.setattr(writer, "_opened", lambda: BrokenFile(opened(), room_bytes))
        with pytest.raises(UserError, match="No space left on device; make room and run the same command again"):
            writer.write(a_round(1))
        assert path.read_bytes() == before
        monkeypatch.undo()
        writer.write(a_round(2))  # there is room again
    assert read_results([path]).rounds == [a_round(0), a_round(2)]


def test_a_disk_that_takes_a_line_in_pieces_gets_all_of_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Piecewise(BrokenFile):
        def write(self, data: memoryview) -> int:
            return int(self._file.write(data[:7]))

    writer = ResultsWriter(path)
    opened = writer._opened
    monkeypatch.setattr(writer, "_opened", lambda: Piecewise(opened(), 0))
    with writer:
        for record in RECORDS:
            writer.write(record)
    assert read_results([path]).rounds == [a_round(0), a_round(1)]


def test_two_writers_cannot_have_one_file(path: Path) -> None:
    with ResultsWriter(path) as writer:
        with pytest.raises(UserError, match=r"another slmprof writes .*; wait for it, or choose another -o"):
            ResultsWriter(path).__enter__()
        writer.write(ENVIRONMENT)  # the first is not disturbed
    with ResultsWriter(path) as writer:
        assert list(writer.results.environments) == [ENVIRONMENT.id]


def test_a_file_that_was_refused_is_not_held(path: Path) -> None:
    path.write_bytes(b"hello\n")
    for _ in range(2):
        with pytest.raises(UserError, match="no slmprof record"), ResultsWriter(path):
            pass


def test_fresh_keeps_the_old_file_beside(path: Path) -> None:
    before = write_lines(path, *RECORDS).read_bytes()
    with ResultsWriter(path, fresh=True) as writer:
        assert writer.results.rounds == []
        writer.write(ENVIRONMENT)
    assert path.with_name("results.jsonl.bak").read_bytes() == before
    assert read_results([path]).rounds == []


def test_nothing_written_leaves_no_file(path: Path) -> None:
    for fresh in (False, True):
        with ResultsWriter(path, fresh=fresh):
            pass
        assert [each.name for each in path.parent.iterdir() if not each.name.endswith(".lock")] == []


def test_the_folder_is_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "results.jsonl"
    with ResultsWriter(path) as writer:
        writer.write(ENVIRONMENT)
    assert read_results([path]).environments


def test_a_folder_that_cannot_be_made_is_named(path: Path) -> None:
    path.write_text("a file")
    with pytest.raises(UserError, match=r"cannot write .*; choose another -o"), ResultsWriter(path / "results.jsonl"):
        pass


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b"\xff\xfe"])
def test_a_byte_order_mark_is_named(tmp_path: Path, mark: bytes) -> None:
    path = write_lines(tmp_path / "results.jsonl", ENVIRONMENT, artifact(), a_round())
    path.write_bytes(mark + path.read_bytes())
    with pytest.raises(UserError, match=r"line 1 of .*byte order mark"):
        read_results([path])


def test_an_edited_environment_line_is_named(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "results.jsonl", artifact(), ENVIRONMENT, a_round())
    assert read_results([path]).warnings == []
    path.write_bytes(path.read_bytes().replace(b"Test Board 5", b"Test Board 6"))
    (warning,) = read_results([path]).warnings
    assert "line 2 of results.jsonl was edited" in warning
    assert ENVIRONMENT.id in warning


def test_a_removed_environment_line_is_named(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "results.jsonl", artifact(), a_round())
    (warning,) = read_results([path]).warnings
    assert ENVIRONMENT.id in warning
    assert "removed" in warning


def test_only_a_full_disk_needs_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, room in ((errno.ENOSPC, True), (errno.EIO, False), (errno.EROFS, False)):
        with ResultsWriter(tmp_path / "results.jsonl") as writer:
            monkeypatch.setattr(os, "fsync", refusing(number))
            with pytest.raises(UserError) as caught:
                writer.write(ENVIRONMENT)
        assert ("make room" in str(caught.value)) is room


def refusing(number: int) -> Any:
    def fsync(_file: int) -> None:
        raise OSError(number, os.strerror(number))

    return fsync


def test_results_go_behind_a_link_and_keep_their_mode(tmp_path: Path) -> None:
    real = write_lines(tmp_path / "real.jsonl", ENVIRONMENT)
    real.chmod(0o600)
    (tmp_path / "link.jsonl").symlink_to("real.jsonl")
    with ResultsWriter(tmp_path / "link.jsonl", fresh=True) as writer:
        writer.write(ENVIRONMENT)
    assert (tmp_path / "link.jsonl").is_symlink()
    assert real.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "real.jsonl.bak").is_file()


def test_results_cannot_go_on_in_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="a device or a pipe"), ResultsWriter(tmp_path / "pipe"):
        pytest.fail("it must not begin")
