"""Standard streams as the program needs them, whatever the caller left of them. Standard library only.

Cron and service managers may start a program with closed streams. A file opened later would then get the number of one
of them, and receive what a library or a child process prints.
"""

import io
import os
import sys
from typing import Any


def open_streams() -> None:
    """Open closed streams on the null device; let stderr lose what cannot be written, and stdout print any file name.

    Messages are not worth a measurement. A file's name may be bytes that are no text.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY if number == 0 else os.O_WRONLY)  # takes the lowest free number
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, "r", closefd=False)))
    if sys.stdout is None:
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w", closefd=False)), encoding="utf-8")
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout is sys.__stdout__ and sys.stdout.errors == "strict":
        is_utf8 = sys.stdout.encoding.lower().replace("-", "") == "utf8"
        sys.stdout.reconfigure(errors="surrogateescape" if is_utf8 else "backslashreplace")
    if sys.stderr is not None and sys.stderr is not sys.__stderr__:  # another one was put in its place
        return
    encoding = "utf-8" if sys.stderr is None else sys.stderr.encoding
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(_Lossy(2, "w", closefd=False)),
        encoding=encoding,
        errors="backslashreplace",
        line_buffering=True,
    )


class _Lossy(io.FileIO):
    """A file that takes everything, and loses what cannot be written."""

    def write(self, data: Any, /) -> int:
        """Write what can be written, and report all as written."""
        try:
            return super().write(data)
        except OSError:
            return len(data)
