"""Child processes of the tests, by what they are told to do: python -m tests.support.scripted_children."""

import os
import signal
import sys
import time

import msgspec

from quant.base.worker import Send, serve_with_progress


class Task(msgspec.Struct, frozen=True):
    """What to do."""

    kind: str  # "answer" | "hang" | "fail" | "abort" | "tidy"
    path: str = ""


class Seen(msgspec.Struct, frozen=True):
    """What the child saw."""

    kind: str


def work(task: Task, send: Send) -> Seen:
    """Do it."""
    print("printed")  # goes to stderr
    if task.kind == "hang":
        time.sleep(60)
    if task.kind == "fail":
        sys.stderr.write("first\nRuntimeError: on purpose\nlast\n")
        sys.stderr.flush()
        os._exit(7)
    if task.kind == "abort":
        os.kill(os.getpid(), signal.SIGABRT)
    send(Seen("one"))
    send(Seen("two"))
    return Seen(task.kind)


if __name__ == "__main__":
    serve_with_progress(Task, work)
