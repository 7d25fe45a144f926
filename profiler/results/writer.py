"""Append to results.jsonl safely: one process at a time, every record on the disk before the next is measured."""

import contextlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from filelock import FileLock, Timeout

from profiler.records.record import Record
from profiler.results.file import Reading, Results
from quant.base.errors import UserError
from quant.base.files import is_stream, write_problem

_encoder = msgspec.json.Encoder()


class ResultsWriter:
    """Append records to one file, alone; `results` is what stood there at the start.

    Raises:
        UserError: another process writes this file, it cannot be written, or it is no results file.
    """

    def __init__(self, path: Path, *, fresh: bool = False, say: Callable[[str], None] = lambda line: None) -> None:
        # The file behind a link is locked, set aside and written, never the link.
        self._path = Path(os.path.realpath(path)) if path.is_symlink() else path
        self._fresh, self._say = fresh, say
        self._mode: int | None = None  # of the file that --fresh sets aside
        self._lock = FileLock(str(self._path.parent / f".{self._path.name}.lock"), timeout=0)
        self._file: Any = None
        self.results = Results()

    def __enter__(self) -> "ResultsWriter":
        try:
            if is_stream(self._path):
                raise UserError(f"{self._path} is a device or a pipe, and results are read again; choose another -o")
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except Timeout as error:
            raise UserError(f"another slmprof writes {self._path}; wait for it, or choose another -o") from error
        except OSError as error:
            raise UserError(f"cannot write {self._path}: {error.strerror}; choose another -o") from error
        try:
            self._open()
        except BaseException as error:
            self._lock.release()
            if isinstance(error, OSError):
                raise UserError(f"cannot write {self._path}: {error.strerror}; choose another -o") from error
            raise
        return self

    def _open(self) -> None:
        path = self._path
        if self._fresh and path.is_file():
            self._mode = stat.S_IMODE(path.stat().st_mode)
            path.replace(path.with_name(f"{path.name}.bak"))
        if path.exists():
            reading = Reading([path])
            self.results = reading.results()
            for _ in self.results.rounds:  # each is looked at whole, before anything is measured
                pass
            if reading.torn:
                self._say(f"the last line of {path} was incomplete and is removed")
                os.truncate(path, reading.good_bytes)
        if path.exists() and not os.access(path, os.W_OK):
            raise UserError(f"cannot write {path}: it is read-only; choose another -o")

    def _opened(self) -> Any:
        """Open the file for the first record: what fails before leaves no empty file behind."""
        if self._file is None:
            # Unbuffered: a line that failed must not be written later by a buffer that still holds it.
            self._file = self._path.open("ab", buffering=0)
            if self._mode is not None:
                self._path.chmod(self._mode)
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
            problem = write_problem(error, "run the same command again", room="make room and")
            raise UserError(f"cannot write {self._path}: {problem}") from error

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
