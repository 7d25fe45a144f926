"""Workers as forks of a process that has loaded their libraries: tens of thousands start in minutes.

The work is the product's own, in a process of its own as there: what aborts it is seen by the parent alone.
"""

import importlib
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable

import msgspec

from quant.base.child import Ending, tail_of
from quant.base.text import encoded


def run_forked(
    module: str,
    job: msgspec.Struct,
    *,
    timeout_s: float | None,
    on_progress: Callable[[bytes], None] = lambda line: None,
) -> tuple[bytes, Ending]:
    """Do what quant.base.child.run_child does, for a module whose function `work` takes the job."""
    work = importlib.import_module(module).work
    reader, writer = os.pipe()
    with tempfile.TemporaryFile() as stderr:
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            _be_child(lambda: work(job), writer, stderr.fileno(), timeout_s or 0)
        os.close(writer)
        with os.fdopen(reader, "rb") as answers:
            line = answers.read()
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return line, Ending(status, tail_of(stderr), status == -signal.SIGALRM)


def _be_child(work: Callable[[], object], writer: int, stderr: int, timeout_s: float) -> None:
    """Work, send the answer and end; nothing of the parent's stack may run on."""
    status = 1
    try:
        os.dup2(stderr, 2)
        os.dup2(2, 1)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, timeout_s)
        with os.fdopen(writer, "wb") as answers:
            answers.write(encoded(work()))
        status = 0
    except BaseException:  # noqa: BLE001  as at the end of any process
        traceback.print_exc()
    finally:
        os._exit(status)
