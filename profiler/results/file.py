"""results.jsonl, read: one JSON object a line, of several records of one round the last.

Of a round only its head is decoded here; `StoredRounds` decodes the rest when a round is accessed.
"""

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

import msgspec

from profiler.records.config import Cell
from profiler.records.environment import SCHEMA, Environment
from profiler.records.quality import QualityRecord
from profiler.records.record import Record
from profiler.records.round import AnchorRound, Round
from profiler.records.task import TaskRecord
from profiler.results.kept import kept, key_of
from profiler.results.stored import Line, RoundHead, RoundIndex, StoredRounds, cells_of
from quant.base.errors import UserError
from quant.gguf_io.artifact import Artifact

MAX_LINE_BYTES = 16 << 20
_BUFFER_BYTES = 1 << 20  # a round's line is as long as the usual buffer, which costs a call for each
_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")  # byte order marks of UTF-8 and UTF-16
_START = b'{"type":"'  # how every line of this program begins
_Other = Environment | Artifact | AnchorRound | QualityRecord | TaskRecord
_decoder = msgspec.json.Decoder(_Other | Round)
_head_decoder = msgspec.json.Decoder(_Other | RoundHead)


class Results(msgspec.Struct):
    """The content of one or more results files."""

    environments: dict[str, Environment] = {}
    artifacts: dict[str, Artifact] = {}
    rounds: Sequence[Round] = []  # of each round the last record, in the order of the file
    anchors: list[AnchorRound] = []  # every one, in the order of the file; no part of any cell's figures
    qualities: list[QualityRecord] = []  # of each file, text, window and reference the last
    tasks: list[TaskRecord] = []  # of each file, task, shots and limit the last
    warnings: list[str] = []
    key: str | None = None  # under which what is found out of all rounds of many is kept

    def cells(self) -> Iterator[tuple[list[Round], Artifact, Environment | None]]:
        """Yield the rounds of each cell with its file and environment; no more than one cell's rounds are in memory."""
        return self.described(cells_of(self.rounds))

    def described(self, cells: Iterable[list[Round]]) -> Iterator[tuple[list[Round], Artifact, Environment | None]]:
        """Yield the rounds of cells with the file and environment of each."""
        for rounds in cells:
            yield rounds, self.artifacts[rounds[0].cell.artifact_sha256], self.environments.get(rounds[0].env_id)


def read_results(paths: Iterable[Path]) -> Results:
    """Read files written by `profile`, together.

    Raises:
        UserError: a file is missing, or a line is no record of this program.
    """
    paths = list(paths)
    key = key_of(paths)
    readable = [_copied_if_pipe(path) for path in paths]
    reading = cache(lambda: Reading(readable))  # where something is not kept
    others = kept(key, "records", Results, lambda: reading().others)
    rounds = StoredRounds(readable, lambda: kept(key, "rounds", RoundIndex, lambda: reading().rounds), decode_round)
    return msgspec.structs.replace(others, rounds=rounds, key=key)


def _copied_if_pipe(path: Path) -> Path:
    """Copy a pipe, as in `slmprof show <(zcat old.jsonl.gz)`, to a file: a pipe can be read only once."""
    if not path.is_fifo():
        return path
    handle, name = tempfile.mkstemp(prefix="slmprof-", suffix=".jsonl")
    atexit.register(Path(name).unlink, missing_ok=True)
    with os.fdopen(handle, "wb") as copy, path.open("rb") as pipe:
        shutil.copyfileobj(pipe, copy)
    return Path(name)


class Reading:
    """What one pass over some files finds.

    Raises:
        UserError: a file is missing, or a line is no record of this program.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.others = Results()  # all but the rounds
        self._paths: list[Path] = []
        self._latest: dict[tuple[str, str, int], tuple[RoundHead, Line]] = {}
        self._qualities: dict[object, QualityRecord] = {}
        self._tasks: dict[object, TaskRecord] = {}
        self._cells: dict[Cell, Cell] = {}  # one of each: a sweep repeats the same few
        self._environment_lines: dict[str, str] = {}  # where each stands, by its id
        self._n_clashes = 0
        self.good_bytes = 0  # of the last file, up to the end of its last whole line
        self.torn = False  # whether a torn line follows
        for path in paths:
            self._read(path)
        self._finish()

    def results(self) -> Results:
        """Return all that was found."""
        return msgspec.structs.replace(self.others, rounds=StoredRounds(self._paths, lambda: self.rounds, decode_round))

    def _read(self, path: Path) -> None:
        self._paths.append(path)
        self.good_bytes, self.torn = 0, False
        try:
            with path.open("rb", buffering=_BUFFER_BYTES) as file:
                for number, line in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES), b""), 1):
                    self._take_line(path, line, number)
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}; name a results file") from error

    def _take_line(self, path: Path, line: bytes, number: int) -> None:
        is_whole = line.endswith(b"\n")
        _refuse_mark(line, path, number)
        try:
            if line.isspace():
                record = None
            elif is_whole:
                record = _head_decoder.decode(line)
            else:  # all of it is checked: what was torn must not be taken for a round
                _decoder.decode(line)
                record = _head_decoder.decode(line)
        except (ValueError, OverflowError, RecursionError) as error:
            if is_whole or len(line) >= MAX_LINE_BYTES or not _is_torn(line, error):
                raise _no_record(path, number, error) from error
            self.torn = True
            self.others.warnings.append(f"the last line of {path.name} is incomplete and is skipped")
            return
        if isinstance(record, Environment) and record.schema > SCHEMA:
            raise UserError(
                f"line {number} of {path} was written by a newer slmprof (schema {record.schema}, "
                f"this one knows {SCHEMA}); update slmprof"
            )
        if isinstance(record, RoundHead):
            self._take_round(record, Line(len(self._paths) - 1, self.good_bytes, len(line), number))
        elif record is not None:
            if isinstance(record, Environment):
                self._environment_lines[record.id] = f"line {number} of {path.name}"
            self._take(record)
        if is_whole:
            self.good_bytes += len(line)

    def _take_round(self, head: RoundHead, line: Line) -> None:
        head.cell = self._cells.setdefault(head.cell, head.cell)
        key = (head.cell.key, head.env_id, head.round)
        # A sweep measures a round again where it failed, is suspect or was disturbed, and no other.
        before = self._latest[key][0] if key in self._latest else head
        is_other = before.started_at != head.started_at and head.repeated <= before.repeated
        self._n_clashes += before.status == "ok" and before.doubt is None and is_other
        self._latest[key] = (head, line)

    def _take(self, record: _Other) -> None:
        results = self.others
        if isinstance(record, Environment):
            results.environments[record.id] = record
        elif isinstance(record, Artifact):
            results.artifacts[record.sha256] = record
        elif isinstance(record, AnchorRound):
            results.anchors.append(record)
        elif isinstance(record, TaskRecord):
            self._tasks[record.key] = record
        else:
            self._qualities[record.key] = record

    def _warn_of_environments(self) -> None:
        """Warn of rounds whose environment no line describes: its id is a hash of the line, and an edit changes it."""
        known = set(self.others.environments)
        named = {head.env_id for head, _ in self._latest.values()}
        if not (missing := named - known):
            return
        edited = [self._environment_lines[each] for each in known - named]
        what = f"{' and '.join(edited)} {'was' if len(edited) == 1 else 'were'} edited" if edited else "it was removed"
        self.others.warnings.append(
            f"no line describes the environment {', '.join(sorted(missing))} of some rounds: {what}; "
            "use the file as slmprof wrote it"
        )

    @property
    def rounds(self) -> RoundIndex:
        """Where the rounds are."""
        heads, lines = [head for head, _ in self._latest.values()], [line for _, line in self._latest.values()]
        return RoundIndex(heads=heads, lines=lines)

    def _finish(self) -> None:
        results = self.others
        results.qualities, results.tasks = list(self._qualities.values()), list(self._tasks.values())
        if n := self._n_clashes:
            results.warnings.append(
                f"{n} round{' is' if n == 1 else 's are'} there twice with different figures, and the later one "
                "counts: two devices that look alike, or one that was measured twice; "
                "read one file of each, or compare them with slmprof compare"
            )
        self._warn_of_environments()
        measured = dict.fromkeys(head.cell.artifact_sha256 for head, _ in self._latest.values())
        scored = (record.artifact_sha256 for record in results.qualities)
        asked = (record.artifact_sha256 for record in results.tasks)
        for sha256 in (*measured, *scored, *asked):
            if sha256 not in results.artifacts:
                raise UserError(
                    f"the results hold rounds of file {sha256[:12]}… but no line that describes it; "
                    "read the whole results file"
                )


def _refuse_mark(line: bytes, path: Path, number: int) -> None:
    if line.startswith(_MARKS):
        raise UserError(
            f"line {number} of {path} is no slmprof record (a byte order mark, which an editor or a shell added, "
            "stands before it); is it a results file? Save it as UTF-8 without the mark"
        )


def decode_round(line: bytes, path: Path, number: int) -> Round:
    """Decode the line of a round.

    Raises:
        UserError: it is no record of this program.
    """
    try:
        record: Record = _decoder.decode(line)
    except (ValueError, OverflowError, RecursionError) as error:
        raise _no_record(path, number, error) from error
    if not isinstance(record, Round):
        raise UserError(f"line {number} of {path} changed while it was read; run the same command again")
    return record


def _no_record(path: Path, number: int, error: Exception) -> UserError:
    return UserError(f"line {number} of {path} is no slmprof record ({str(error)[:160]}); is it a results file?")


def _is_torn(line: bytes, error: Exception) -> bool:
    """Return whether a line is the beginning of a record, which may be cut off; any other is no results file's."""
    if isinstance(error, msgspec.ValidationError) or not isinstance(error, msgspec.DecodeError | UnicodeDecodeError):
        return False  # the JSON was whole, or wrong as far as it went
    begun = line.rstrip(b"\0")  # what a file system leaves behind after a loss of power
    return begun.startswith(_START) or _START.startswith(begun)
