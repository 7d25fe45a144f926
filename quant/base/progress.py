"""How long work reports its progress: one callable, so that only the command line draws anything."""

from typing import Protocol


class Progress(Protocol):
    """Called with a stage's name, and how much of it is done in whatever unit `total` counts."""

    def __call__(self, stage: str, done: int, total: int) -> None: ...


def silent(stage: str, done: int, total: int) -> None:
    """Report nothing."""
