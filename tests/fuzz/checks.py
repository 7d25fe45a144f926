"""How a case must end: in time, in one line where something is refused, with no file left."""

import signal
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TypeVar

from quant.base.errors import UserError

T = TypeVar("T")

_MAX_MESSAGE = 2_000  # characters; nobody reads a longer line


class HungError(BaseException):
    """The time of a case is over; no `except Exception` may swallow it."""


class WrongError(Exception):
    """A case ended well, but not as it should."""


@contextmanager
def time_limit(limit_s: float) -> Iterator[None]:
    """Raise a HungError if this process computes for longer in the block; other programs do not count."""

    def alarm(_number: int, _frame: FrameType | None) -> None:
        raise HungError(f"still running after {limit_s:.0f} s of CPU time")

    signal.signal(signal.SIGPROF, alarm)
    signal.setitimer(signal.ITIMER_PROF, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def tried(work: Callable[[], T], refusals: list[str]) -> T | None:
    """Return what the work finds; a refusal is checked and added to the others.

    Raises:
        BaseException: whatever else ends it.
    """
    try:
        return work()
    except UserError as error:
        refusals.append(check_line(str(error)))
    return None


def check_line(message: str) -> str:
    """Return a message.

    Raises:
        WrongError: it is not one line that can be printed.
    """
    if not message or not message.isprintable() or len(message) > _MAX_MESSAGE:
        raise WrongError(f"not one line: {message[:200]!r} ({len(message)} characters)")
    return message


def files_in(folder: Path) -> set[Path]:
    """Return what is in a folder and the folders in it."""
    return set(folder.rglob("*"))


def check_left(before: Set[Path], folder: Path) -> None:
    """Compare what is in a folder with what may be there.

    Raises:
        WrongError: there is more.
    """
    if strays := files_in(folder) - before:
        raise WrongError(f"stray files: {sorted(str(path.relative_to(folder)) for path in strays)}")
