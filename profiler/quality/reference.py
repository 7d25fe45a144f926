"""The unquantized model's distributions on disk, 16 bits each: one file per window.

A row stores how far each logit is below the largest: its square root, scaled to 0 ... 65535. Read back and normalized,
a log-probability d below the largest is off by at most sqrt(d · R) / 65535, where R is the row's range and at most 64:
1e-4 nats at one below with a range of 40, and nothing at the top. Since the probabilities sum to one again, a KLD of K
changes by about that times the square root of 2K, and by some 1e-9 where K is zero.
"""

import threading
from pathlib import Path
from typing import IO, Any

import numpy as np

_STEPS = 65535
_FACTS = np.dtype([("range", "<f4"), ("top", "<i4")])


def window_bytes(n_rows: int, n_vocab: int) -> int:
    """Return the approximate size of one window's file."""
    return n_rows * n_vocab * 2


def path_of(folder: Path, window: int) -> Path:
    """Return the file of a window."""
    return folder / f"{window:06}.reference"


class WindowWriter:
    """Write one window: its tokens, then rows in any order."""

    def __init__(self, path: Path, tokens: list[int], n_rows: int, n_vocab: int) -> None:
        self._facts = np.zeros(n_rows, _FACTS)
        self._n_vocab = n_vocab
        self._file = path.open("wb")
        np.save(self._file, np.asarray(tokens, np.int32))
        np.save(self._file, np.asarray([n_rows, n_vocab], np.int64))
        self._facts_at = self._file.tell()
        self._rows_at = self._facts_at + self._facts.nbytes
        self._file_at = _SharedFile(self._file)

    def put(self, row: int, below: Any, top: int, work: Any) -> None:
        """Write a row: its logits less the largest, (n_vocab,) float32; `work` is a float32 array to overwrite."""
        row_range = float(-below.min())
        self._facts[row] = (row_range, top)
        np.multiply(below, np.float32(-1 / row_range if row_range else 0), out=work)
        np.sqrt(work, out=work)
        work *= _STEPS
        np.rint(work, out=work)
        data = work.astype(np.uint16)
        self._file_at.write(data, self._rows_at + row * self._n_vocab * 2)

    def close(self) -> None:
        """Write the rows' ranges and top tokens, which completes the window."""
        self._file_at.write(self._facts.view(np.uint8), self._facts_at)
        self._file.close()


class WindowReader:
    """Read what a WindowWriter wrote; `tokens`, `n_rows` and `n_vocab` describe it."""

    def __init__(self, path: Path) -> None:
        # Read into buffers, never mapped: pages of this file would count as the process's memory.
        self._file = path.open("rb")
        self.tokens: list[int] = np.load(self._file, allow_pickle=False).tolist()
        self.n_rows, self.n_vocab = (int(each) for each in np.load(self._file, allow_pickle=False))
        self._facts = np.frombuffer(self._file.read(self.n_rows * _FACTS.itemsize), _FACTS)
        self._rows_at = self._file.tell()
        self._file_at = _SharedFile(self._file)

    def below(self, row: int, out: Any) -> None:
        """Read a row as logits less the largest into `out`, (n_vocab,) float32."""
        n_bytes = self.n_vocab * 2
        data = self._file_at.read(n_bytes, self._rows_at + row * n_bytes)
        np.copyto(out, np.frombuffer(data, np.uint16))
        np.multiply(out, out, out=out)
        out *= np.float32(-float(self._facts[row]["range"]) / _STEPS**2)

    def top(self, row: int) -> int:
        """Return the most probable token of a row; stored separately, so that rounding makes no tie."""
        return int(self._facts[row]["top"])

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class _SharedFile:
    """One file read and written at offsets by several threads."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._lock = file, threading.Lock()

    def write(self, data: Any, offset: int) -> None:
        with self._lock:
            self._file.seek(offset)
            self._file.write(memoryview(data).cast("B"))

    def read(self, n_bytes: int, offset: int) -> bytes:
        with self._lock:
            self._file.seek(offset)
            data = self._file.read(n_bytes)
        if len(data) != n_bytes:
            raise OSError("the reference's file is truncated")
        return data
