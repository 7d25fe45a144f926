"""Sheets drawn beside each other: drawing is most of what a chart costs, and a board has four CPUs."""

import contextlib
import gc
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from quant.base.cpus import lower_priority, usable_cpus

Shared = TypeVar("Shared")
Sheet = TypeVar("Sheet")
Drawn = TypeVar("Drawn")

# Below, the start of a process with matplotlib takes longer than it saves.
_PICTURES_PER_PROCESS = 3
_MOST_PROCESSES = 4  # each holds some 100 MiB
_shared: list[Any] = []


@contextlib.contextmanager
def sheets_begun(
    draw: Callable[[Shared, Sheet], Drawn], shared: Shared, sheets: Sequence[Sheet], *, n_pictures: int
) -> Iterator[Iterator[Drawn]]:
    """Begin to draw each sheet, in more processes where there are many; give what is drawn in their order.

    The other processes work from now on and give way to all that somebody waits for. This one draws when a sheet is
    asked for: what they have not begun then, from the last on.

    Args:
        draw: what draws one; a function that a process can import.
        shared: what all are drawn from.
        sheets: what to draw.
        n_pictures: how many of them are sure to give one.

    Raises:
        UserError: what `draw` raises, when the sheet is asked for.
    """
    n_others = min(_MOST_PROCESSES, usable_cpus(), n_pictures // _PICTURES_PER_PROCESS) - 1
    if n_others < 1:
        yield (draw(shared, sheet) for sheet in sheets)
        return
    # Pickled here, it is taken over before the process has imported what it needs, which would hold this one up.
    packed = pickle.dumps((draw, shared))
    # A forked child would share the parent's locks and threads.
    context = multiprocessing.get_context("spawn")
    end, life = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(n_others, context, _begin, (packed, end))
    try:
        with _interrupts_ignored():  # which the processes inherit: Ctrl-C is the parent's to answer
            found = [_submitted(pool, sheet) for sheet in sheets]
        yield _taken(found, draw, shared, sheets)
    except BaseException:
        life.close()  # nobody waits for what they are at
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        life.close()
        end.close()


def _submitted(pool: ProcessPoolExecutor, sheet: Any) -> Future[Any]:
    try:
        return pool.submit(_draw, sheet)
    except BrokenProcessPool:  # already: nobody draws it but this process
        return Future()


def _taken(
    found: Sequence[Future[Drawn]], draw: Callable[[Shared, Sheet], Drawn], shared: Shared, sheets: Sequence[Sheet]
) -> Iterator[Drawn]:
    drawn = {place: draw(shared, sheets[place]) for place in reversed(range(len(sheets))) if found[place].cancel()}
    for place, (future, sheet) in enumerate(zip(found, sheets, strict=True)):
        if place not in drawn:
            try:
                drawn[place] = future.result()
            except BrokenProcessPool:  # the system ended a process for its memory
                drawn[place] = draw(shared, sheet)
        yield drawn.pop(place)


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


def _begin(packed: bytes, end: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(end,), daemon=True).start()
    lower_priority()
    _shared[:] = pickle.loads(packed)  # noqa: S301  the parent's
    # What is here stays: looking through it for cycles again and again is a tenth of the drawing.
    gc.freeze()


def _end_with(end: Connection) -> None:
    """End when the parent closes the other side, or is killed: the pool's own processes would go on for ever."""
    with contextlib.suppress(EOFError, OSError):
        end.recv_bytes()
    os._exit(1)


def _draw(sheet: Any) -> Any:
    draw, shared = _shared
    return draw(shared, sheet)
