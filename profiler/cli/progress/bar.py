"""Progress on stderr: a bar on a terminal, plain lines for a log. Data never goes here."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from quant.base.progress import watch

if TYPE_CHECKING:
    from rich.console import Console


def console() -> "Console":
    """Return a console on stderr; rich itself honours NO_COLOR."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


@contextmanager
def progress_bar() -> Iterator[None]:
    """Draw one bar per stage while the block runs; nothing when stderr is not a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Bars(*columns, console=console(), transient=True) as bars:
        tasks: dict[str, int] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                # A stage's name can hold an untrusted file name, which is not markup.
                tasks[stage] = bars.add_task(stage.replace("[", r"\["), total=total)
            bars.update(tasks[stage], completed=done, total=total)  # type: ignore[arg-type]

        with watch(progress=report):
            yield
