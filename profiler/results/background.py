"""Work in a thread that the program does not wait for when it ends, as it would for those of an executor.

Such a thread waits for another process, and that one ends when the program is gone.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def begin(work: Callable[[], T]) -> Future[T]:
    """Begin to do something, and give its result to come; what it raises is raised where the result is asked for."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            made = work()
        except BaseException as error:  # noqa: BLE001  it is raised where the result is asked for
            future.set_exception(error)
        else:
            future.set_result(made)

    threading.Thread(target=run, daemon=True).start()
    return future
