"""How long work tells about itself: one callable, so that nothing below the command line draws anything."""

from typing import Protocol


class Progress(Protocol):
    """Take a stage's name, and how much of it is done in whatever unit `total` counts."""

    def __call__(self, stage: str, done: int, total: int) -> None: ...


def silent(stage: str, done: int, total: int) -> None:
    """Tell nobody."""
