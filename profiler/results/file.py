"""results.jsonl: read it whole, append to it safely.

The file is append-only, one JSON object a line, synced after each. Whatever breaks off in the middle of a line (a kill,
a full disk) costs that line and nothing else. Of several records of one round the last one counts.
"""

import atexit
import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from filelock import FileLock, Timeout

from profiler.records.config import Cell
from profiler.records.record import SCHEMA, AnchorRound, Environment, QualityRecord, Record, Round, Status
from profiler.results.stored import Head, Line, StoredRounds
from quant.base.errors import UserError
from quant.base.ints import Int64
from quant.gguf_io.artifact import Artifact

MAX_LINE_BYTES = 16 << 20
_BUFFER_BYTES = 1 << 20  # a round's line is as long as the usual buffer, which costs a call for each
_START = b'{"type":"'  # how every line of this program begins
_ROUND_START = b'{"type":"round"'
_decoder = msgspec.json.Decoder(Environment | Artifact | Round | AnchorRound | QualityRecord)
_encoder = msgspec.json.Encoder()


class _Head(msgspec.Struct, tag="round", tag_field="type"):
    """What a round's line is known by; the rest of it is looked at when the round is asked for."""

    env_id: str
    cell: msgspec.Raw
    round: Int64
    status: Status
    started_at: str
    seed: Int64
    order: Int64
    target: float | None = None
    read_ceiling_bytes_per_s: float | None = None
    doubt: object = None


class _Tail(msgspec.Struct):
    read_ceiling_bytes_per_s: float | None = None
    doubt: object = None


_head_decoder = msgspec.json.Decoder(_Head)
_tail_decoder = msgspec.json.Decoder(_Tail)
# Between them are a round's samples, three quarters of its line.
_SAMPLES, _MEMORY = b',"samples":[', b'],"memory":{'
_cell_decoder = msgspec.json.Decoder(Cell)


def _head_of(line: bytes) -> _Head:
    """Decode a round's head without its samples, where they stand as this program writes them.

    No string of JSON holds these marks, for its quotes are escaped; if they belong to an inner object, what is left is
    no JSON, and the line is taken whole.
    """
    first, last = line.find(_SAMPLES), line.rfind(_MEMORY)
    # A torn line with another behind it is no such line. The other's n_ctx has an x, which samples hardly have, and to
    # look for one letter takes a tenth of the time.
    if 0 < first < last and (line.find(b"x", first, last) < 0 or line.find(_ROUND_START, 1) < 0):
        try:
            head = _head_decoder.decode(line[:first] + b"}")
            tail = _tail_decoder.decode(b"{" + line[last + 2 :])
        except msgspec.DecodeError:
            return _head_decoder.decode(line)
        if tail.read_ceiling_bytes_per_s is not None:
            head.read_ceiling_bytes_per_s = tail.read_ceiling_bytes_per_s
        if tail.doubt is not None:
            head.doubt = tail.doubt
        return head
    return _head_decoder.decode(line)


class Results(msgspec.Struct):
    """What stands in one or more results files."""

    environments: dict[str, Environment] = {}
    artifacts: dict[str, Artifact] = {}
    rounds: Sequence[Round] = []  # of each round the last record, in the order of the file
    anchors: list[AnchorRound] = []  # every one, in the order of the file; no part of any cell's figures
    qualities: list[QualityRecord] = []  # of each file, text, window and reference the last
    warnings: list[str] = []


def read_results(paths: Iterable[Path]) -> Results:
    """Read files written by `profile`, together. Rounds are only found; `StoredRounds` decodes them when asked.

    Raises:
        UserError: a file is missing, or a line is no record of this program.
    """
    reading = _Reading()
    for path in map(_lasting, paths):
        for record in _scan(path, reading):
            reading.take(record)
    return reading.results()


def _lasting(path: Path) -> Path:
    """Keep what a pipe gives, as in `slmprof show <(zcat old.jsonl.gz)`: it can be read only once."""
    if not path.is_fifo():
        return path
    handle, name = tempfile.mkstemp(prefix="slmprof-", suffix=".jsonl")
    atexit.register(Path(name).unlink, missing_ok=True)
    with os.fdopen(handle, "wb") as copy, path.open("rb") as pipe:
        shutil.copyfileobj(pipe, copy)
    return Path(name)


class _Reading:
    """What was found so far."""

    def __init__(self) -> None:
        self._results = Results()
        self._paths: list[Path] = []
        self._latest: dict[tuple[str, str, int], tuple[Head, Line]] = {}
        self._qualities: dict[object, QualityRecord] = {}
        self._cells: dict[bytes, Cell] = {}  # a sweep writes the same few again and again
        self._n_clashes = 0
        self.good_bytes = 0  # of the file at hand, that hold whole lines
        self.torn = False  # whether something torn follows

    def begin(self, path: Path) -> None:
        self._paths.append(path)
        self.good_bytes, self.torn = 0, False

    def tear(self) -> None:
        self.torn = True
        self._results.warnings.append(f"the last line of {self._paths[-1].name} is incomplete and is left out")

    def decode(self, line: bytes, number: int) -> Record | None:
        """Decode a line, but of a round only the head."""
        if not line.startswith(_ROUND_START):
            record = _decode(line)
            if not isinstance(record, Round) or isinstance(record, AnchorRound):
                return record
            found: Round | _Head = record  # another program wrote its fields in another order
            cell = record.cell
        else:
            found = _head_of(line)
            raw = bytes(found.cell)
            if raw not in self._cells:
                self._cells[raw] = _cell_decoder.decode(raw)
            cell = self._cells[raw]
        head = Head(
            cell=cell,
            env_id=found.env_id,
            round=found.round,
            status=found.status,
            started_at=found.started_at,
            seed=found.seed,
            order=found.order,
            target=found.target,
            doubted=found.doubt is not None,
            read_ceiling_bytes_per_s=found.read_ceiling_bytes_per_s,
        )
        where = Line(len(self._paths) - 1, self.good_bytes, len(line), number)
        key = (cell.key, head.env_id, head.round)
        # A sweep measures a round again where it failed or is in doubt, and no other.
        before = self._latest[key][0] if key in self._latest else head
        self._n_clashes += before.status == "ok" and not before.doubted and before.started_at != head.started_at
        self._latest[key] = (head, where)
        return None

    def take(self, record: Record) -> None:
        results = self._results
        if isinstance(record, Environment):
            results.environments[record.id] = record
        elif isinstance(record, Artifact):
            results.artifacts[record.sha256] = record
        elif isinstance(record, AnchorRound):
            results.anchors.append(record)
        elif isinstance(record, QualityRecord):
            self._qualities[record.key] = record

    def results(self) -> Results:
        results = self._results
        rounds = StoredRounds(self._paths, decode_round)
        for head, line in self._latest.values():
            rounds.heads.append(head)
            rounds.lines.append(line)
        results.rounds = rounds
        results.qualities = list(self._qualities.values())
        if n := self._n_clashes:
            results.warnings.append(
                f"{n} round{'' if n == 1 else 's'} stand there twice with different figures, and the later one counts: "
                "two devices that look alike, or one that was measured twice; "
                "take one file of each, or hold them against each other with slmprof compare"
            )
        measured = dict.fromkeys(head.cell.artifact_sha256 for head in rounds.heads)
        for sha256 in (*measured, *(record.artifact_sha256 for record in results.qualities)):
            if sha256 not in results.artifacts:
                raise UserError(
                    f"the results hold rounds of file {sha256[:12]}… but no line that describes it; "
                    "give the whole results file"
                )
        return results


def _scan(path: Path, reading: _Reading) -> Iterable[Record]:
    """Give the records of one file that are no rounds; these go to `reading` by themselves."""
    reading.begin(path)
    try:
        with path.open("rb", buffering=_BUFFER_BYTES) as file:
            for number, line in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES), b""), 1):
                whole = line.endswith(b"\n")
                try:
                    record = reading.decode(line, number)
                    if not whole:
                        _decode(line)  # all of it: what was torn must not be taken for a round
                except (ValueError, OverflowError, RecursionError) as error:
                    if not whole and len(line) < MAX_LINE_BYTES and _is_torn(line, error):
                        reading.tear()
                        return
                    raise _no_record(path, number, error) from error
                if isinstance(record, Environment) and record.schema > SCHEMA:
                    raise UserError(
                        f"line {number} of {path} was written by a newer slmprof (schema {record.schema}, "
                        f"this one knows {SCHEMA}); update slmprof"
                    )
                if record is not None:
                    yield record
                if not whole:
                    return
                reading.good_bytes += len(line)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; give a results file") from error


def _no_record(path: Path, number: int, error: Exception) -> UserError:
    return UserError(f"line {number} of {path} is no slmprof record ({_reason(error)}); is it a results file?")


def decode_round(line: bytes, path: Path, number: int) -> Round:
    """Decode the line of a round.

    Raises:
        UserError: it is no record of this program.
    """
    try:
        record = _decode(line)
    except (ValueError, OverflowError, RecursionError) as error:
        raise _no_record(path, number, error) from error
    if not isinstance(record, Round):
        raise UserError(f"line {number} of {path} changed while it was read; run the same command again")
    return record


def _is_torn(line: bytes, error: Exception) -> bool:
    """Tell the beginning of a record from a line that this program never wrote: only the former may be cut off."""
    if isinstance(error, msgspec.ValidationError) or not isinstance(error, msgspec.DecodeError | UnicodeDecodeError):
        return False  # the JSON was whole, or wrong as far as it went
    begun = line.rstrip(b"\0")  # what a file system leaves behind after a loss of power
    return begun.startswith(_START) or _START.startswith(begun)


def _decode(line: bytes) -> Record | None:
    if not line.strip():
        return None
    record: Record = _decoder.decode(line)
    return record


def _reason(error: Exception) -> str:
    return str(error)[:160]


class ResultsWriter:
    """Append records to one file, alone; `results` is what stood there at the start.

    Raises:
        UserError: another process writes this file, it cannot be written, or it is no results file.
    """

    def __init__(self, path: Path, *, fresh: bool = False, say: Callable[[str], None] = lambda line: None) -> None:
        self._path, self._fresh, self._say = path, fresh, say
        self._lock = FileLock(str(path.parent / f".{path.name}.lock"), timeout=0)
        self._file: Any = None
        self.results = Results()

    def __enter__(self) -> "ResultsWriter":
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except Timeout as error:
            raise UserError(f"another slmprof writes {self._path}; wait for it, or give another -o") from error
        except OSError as error:
            raise UserError(f"cannot write {self._path}: {error.strerror}; give another -o") from error
        try:
            self._open()
        except BaseException as error:
            self._lock.release()
            if isinstance(error, OSError):
                raise UserError(f"cannot write {self._path}: {error.strerror}; give another -o") from error
            raise
        return self

    def _open(self) -> None:
        path = self._path
        if self._fresh and path.is_file():
            path.replace(path.with_name(f"{path.name}.bak"))
        if path.exists():
            reading = _Reading()
            for record in _scan(path, reading):
                reading.take(record)
            self.results = reading.results()
            for _ in self.results.rounds:  # each is looked at whole, before anything is measured
                pass
            if reading.torn:
                self._say(f"the last line of {path} was incomplete and is removed")
                os.truncate(path, reading.good_bytes)
        if path.exists() and not os.access(path, os.W_OK):
            raise UserError(f"cannot write {path}: it is read-only; give another -o")

    def _opened(self) -> Any:
        """Open the file for the first record: what fails before leaves no empty file behind."""
        if self._file is None:
            # Unbuffered: a line that failed must not be written later by a buffer that still holds it.
            self._file = self._path.open("ab", buffering=0)
        return self._file

    def write(self, record: Record) -> None:
        """Append one record; it is on the disk when this returns.

        Raises:
            UserError: the disk is full or gone. The file then ends with the record before.
        """
        start = None
        try:
            file = self._opened()
            start = self._path.stat().st_size
            gap = b"" if start == 0 or _ends_with_newline(self._path) else b"\n"
            line = memoryview(gap + _encoder.encode(record) + b"\n")
            while line:
                line = line[file.write(line) :]
            os.fsync(file.fileno())
        except OSError as error:
            if start is not None:
                with contextlib.suppress(OSError):
                    os.truncate(self._path, start)
            raise UserError(
                f"cannot write {self._path}: {error.strerror}; make room and run the same command again"
            ) from error

    def __exit__(self, *_: object) -> None:
        try:
            if self._file is not None:
                with contextlib.suppress(OSError):  # what was written is synced; what failed was reported
                    self._file.close()
        finally:
            self._lock.release()


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
