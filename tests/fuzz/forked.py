"""Workers as forks of a process that has loaded their libraries: tens of thousands start in minutes.

The work is the product's own, in a process of its own as there: what aborts it is seen by the parent alone.
"""

import importlib
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from inspect import signature
from typing import Any
from unittest import mock

import msgspec

from quant.base.child import Ending, tail_of
from quant.base.text import encoded

_USERS = ("quant.base.child", "profiler.estimate.process", "quant.quantize.llama_process")
_WORK = {"profiler.estimate.worker": "answer"}  # elsewhere the function is called `work`


def start_forks() -> None:
    """Let all that this process asks of workers be done in forks of it."""
    for module in _USERS:
        mock.patch(f"{module}.Child", ForkedChild).start()


class ForkedChild:
    """What quant.base.child.Child is, for one job: the process begins when it is sent."""

    def __init__(self, module: str) -> None:
        self._work = getattr(importlib.import_module(module), _WORK.get(module, "work"))
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  close() closes it
        self._limit_s = 0.0
        self._pid = 0
        self._answers: Any = None

    @contextmanager
    def time_limit(self, limit_s: float | None) -> Iterator[None]:
        """Let an alarm end the process that a job in the block begins."""
        self._limit_s = limit_s or 0
        yield

    def send(self, job: msgspec.Struct) -> None:
        """Begin the job in a fork."""
        reader, writer = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(reader)
            self._be_child(job, writer)
        os.close(writer)
        self._answers = os.fdopen(reader, "rb")

    def receive(self) -> bytes:
        """Return the next line; without a newline it is the last one, and empty where the child ended."""
        line: bytes = self._answers.readline()
        return line

    def wait(self) -> Ending:
        """Wait for the end."""
        status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        self._pid = 0
        return Ending(status, tail_of(self._stderr), status == -signal.SIGALRM)

    def close(self) -> None:
        """Kill the process if it still runs."""
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._pid = 0
        if self._answers is not None:
            self._answers.close()
        self._stderr.close()

    def __enter__(self) -> "ForkedChild":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _be_child(self, job: msgspec.Struct, writer: int) -> None:
        """Work, send the answer and end; nothing of the parent's stack may run on."""
        status = 1
        try:
            os.dup2(self._stderr.fileno(), 2)
            os.dup2(2, 1)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.setitimer(signal.ITIMER_REAL, self._limit_s)
            with os.fdopen(writer, "wb", buffering=0) as answers:
                if len(signature(self._work).parameters) == 2:  # sends lines as it works
                    self._work(job, lambda message: answers.write(encoded(message) + b"\n"))
                else:
                    answers.write(encoded(self._work(job)))
            status = 0
        except BaseException:  # noqa: BLE001  as at the end of any process
            traceback.print_exc()
        finally:
            os._exit(status)
