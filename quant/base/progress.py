"""What long work reports: lines, and how far a stage is. Whoever runs it decides where they go; alone, it is silent."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from quant.base.text import printable


class Progress(Protocol):
    """Called with a stage's name, and how much of it is done in whatever unit `total` counts."""

    def __call__(self, stage: str, done: int, total: int) -> None: ...


class _Watcher(NamedTuple):
    say: Callable[[str], None]
    progress: Progress


_watchers = [_Watcher(lambda line: None, lambda stage, done, total: None)]  # the last one counts


def say(line: str) -> None:
    """Report a line of text; what it quotes of a file can come from anywhere, and controls no terminal."""
    _watchers[-1].say(printable(line))


def progress(stage: str, done: int, total: int) -> None:
    """Report how much of a stage is done."""
    _watchers[-1].progress(stage, done, total)


@contextmanager
def watch(*, say: Callable[[str], None] | None = None, progress: Progress | None = None) -> Iterator[None]:
    """Send what this process reports while the block runs to these, for all its threads; None: to where it went."""
    outer = _watchers[-1]
    _watchers.append(_Watcher(say or outer.say, progress or outer.progress))
    try:
        yield
    finally:
        _watchers.pop()
