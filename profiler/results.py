"""results.jsonl: read it whole, append to it safely.

The file is append-only, one JSON object a line, synced after each. Whatever breaks off in the middle of a line (a kill,
a full disk) costs that line and nothing else. Of several records of one round the last one counts.
"""

import contextlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
from filelock import FileLock, Timeout

from profiler.record import SCHEMA, AnchorRound, Environment, Quality, Record, Round
from quant.artifact import Artifact
from quant.errors import UserError

MAX_LINE_BYTES = 16 << 20
_START = b'{"type":"'  # how every line of this program begins
_decoder = msgspec.json.Decoder(Environment | Artifact | Round | AnchorRound | Quality)
_encoder = msgspec.json.Encoder()


class Results(msgspec.Struct):
    """What stands in one or more results files."""

    environments: dict[str, Environment] = {}
    artifacts: dict[str, Artifact] = {}
    rounds: list[Round] = []  # of each round the last record, in the order of the file
    anchors: list[AnchorRound] = []  # every one, in the order of the file; no part of any cell's figures
    qualities: list[Quality] = []  # of each file, text, window and reference the last
    warnings: list[str] = []


def read_results(paths: Iterable[Path]) -> Results:
    """Read files written by `profile`, together.

    Raises:
        UserError: a file is missing, or a line is no record of this program.
    """
    results = Results()
    latest: dict[tuple[str, str, int], Round] = {}
    qualities: dict[object, Quality] = {}
    for path in paths:
        records, _, torn = _read_file(path)
        if torn:
            results.warnings.append(f"the last line of {path} is incomplete and is left out")
        for record in records:
            if isinstance(record, Environment):
                results.environments[record.id] = record
            elif isinstance(record, Artifact):
                results.artifacts[record.sha256] = record
            elif isinstance(record, AnchorRound):
                results.anchors.append(record)
            elif isinstance(record, Quality):
                qualities[record.key] = record
            else:
                latest[(record.cell.key, record.env_id, record.round)] = record
    results.rounds = list(latest.values())
    results.qualities = list(qualities.values())
    measured = [record.cell.artifact_sha256 for record in results.rounds]
    for sha256 in (*measured, *(record.artifact_sha256 for record in results.qualities)):
        if sha256 not in results.artifacts:
            raise UserError(
                f"the results hold rounds of file {sha256[:12]}… but no line that describes it; "
                "give the whole results file"
            )
    return results


def _read_file(path: Path) -> tuple[list[Record], int, bool]:
    """Give the records, the number of bytes that hold whole lines, and whether something torn follows."""
    records: list[Record] = []
    good_bytes = 0
    try:
        with path.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES), b""), 1):
                whole = line.endswith(b"\n")
                try:
                    record = _decode(line)
                except (ValueError, OverflowError, RecursionError) as error:
                    if not whole and len(line) < MAX_LINE_BYTES and _is_torn(line, error):
                        return records, good_bytes, True
                    raise UserError(
                        f"line {number} of {path} is no slmprof record ({_reason(error)}); is it a results file?"
                    ) from error
                if isinstance(record, Environment) and record.schema > SCHEMA:
                    raise UserError(
                        f"line {number} of {path} was written by a newer slmprof (schema {record.schema}, "
                        f"this one knows {SCHEMA}); update slmprof"
                    )
                if record is not None:
                    records.append(record)
                if not whole:
                    return records, good_bytes, False
                good_bytes += len(line)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; give a results file") from error
    return records, good_bytes, False


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
    # Refuses numbers of more than 64 bits: what is computed from them would overflow.
    msgspec.msgpack.encode(record)
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
            self.results = read_results([path])
            _, good_bytes, torn = _read_file(path)
            if torn:
                self._say(f"the last line of {path} was incomplete and is removed")
                os.truncate(path, good_bytes)
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
