"""Sheets drawn beside each other: drawing is most of what a chart costs, and a board has four CPUs."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from quant.cpus import usable_cpus

Shared = TypeVar("Shared")
Sheet = TypeVar("Sheet")
Drawn = TypeVar("Drawn")

# Below, the start of a process with matplotlib takes longer than it saves.
_PICTURES_PER_PROCESS = 3
_MOST_PROCESSES = 4  # each holds some 100 MiB
_shared: list[Any] = []


def map_sheets(
    draw: Callable[[Shared, Sheet], Drawn], shared: Shared, sheets: Sequence[Sheet], *, n_pictures: int
) -> Iterable[Drawn]:
    """Draw each sheet, in several processes where there are many, and give what was drawn in their order.

    Args:
        draw: what draws one; a function that a process can import.
        shared: what all are drawn from.
        sheets: what to draw.
        n_pictures: how many of them are sure to give one.

    Raises:
        UserError: what `draw` raises.
    """
    n_processes = min(_MOST_PROCESSES, usable_cpus(), n_pictures // _PICTURES_PER_PROCESS)
    if n_processes < 2:
        return [draw(shared, sheet) for sheet in sheets]
    return _drawn_beside(draw, shared, sheets, n_processes)


def _drawn_beside(
    draw: Callable[[Shared, Sheet], Drawn], shared: Shared, sheets: Sequence[Sheet], n_processes: int
) -> Iterator[Drawn]:
    n_done = 0
    # A forked child would share the parent's locks and threads.
    pool = ProcessPoolExecutor(n_processes, multiprocessing.get_context("spawn"), _begin, (draw, shared))
    try:
        # Where the system ended a process for its memory, the rest is drawn here.
        with contextlib.suppress(BrokenProcessPool):
            with _interrupts_ignored():  # which the processes inherit: Ctrl-C is the parent's to answer
                found = pool.map(_draw, sheets)
            for drawn in found:
                n_done += 1
                yield drawn
    finally:
        pool.shutdown(cancel_futures=True)
    yield from (draw(shared, sheet) for sheet in sheets[n_done:])


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _begin(draw: Callable[[Shared, Sheet], Drawn], shared: Shared) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _shared[:] = [draw, shared]


def _end_with_parent() -> None:
    """End when the parent is killed: the pool's own processes would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _draw(sheet: Any) -> Any:
    draw, shared = _shared
    return draw(shared, sheet)
