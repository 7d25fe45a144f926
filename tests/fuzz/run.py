"""Run the cases of a target in as many processes as there are CPUs; a process that a case ends is a failure of it.

A case depends on the seed and its own number alone, whichever process it runs in.
"""

import importlib
import multiprocessing
import os
import resource
import shutil
import signal
import tempfile
import time
import traceback
import warnings
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from random import Random
from typing import Any, Protocol

from tests.fuzz.checks import WrongError, check_left
from tests.fuzz.outcomes import Outcomes, described

_MEMORY_BYTES = 4 << 30  # of address space
_GROWTH_KIB = 512 << 10  # of memory that one case may take more than all before it
_STUCK_S = 300.0  # at one case: in code that no alarm interrupts, or in wait of a worker
_LOOK_S = 1.0


class Target(Protocol):
    """One kind of input; the module of a target has a class `Cases`, made with a folder for what all cases need."""

    def run_case(self, random: Random, scratch: Path) -> Sequence[str]:
        """Make a case's files in a folder, let the program read them, and return its refusals.

        Raises:
            BaseException: whatever must not happen.
        """


class _Share:
    """Some cases in a process of their own, from now on."""

    def __init__(self, module: str, cases: Sequence[int], seed: int, keep: Path | None, folder: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self._current = context.Value("q", -1)  # none yet
        self.connection, theirs = context.Pipe(duplex=False)
        self._again = (module, cases, seed, keep, folder)
        arguments = (*self._again, self._current, theirs)
        self._process = context.Process(target=_run_cases, args=arguments, daemon=False)
        self._process.start()
        theirs.close()
        self._seen, self._since_s = -1, time.monotonic()

    def end_if_stuck(self) -> None:
        """Kill the process if it has been at one case for too long."""
        current = int(self._current.value)
        if current != self._seen:
            self._seen, self._since_s = current, time.monotonic()
        elif time.monotonic() - self._since_s > _STUCK_S:
            self._process.kill()

    def collect(self, outcomes: Outcomes) -> "_Share | None":
        """Add what became of the cases; return a share with those that a process that died had still to do."""
        try:
            outcomes.add_all(self.connection.recv())
        except EOFError:
            self._process.join()
            module, cases, seed, keep, folder = self._again
            died = int(self._current.value)
            if died < 0:
                raise RuntimeError(f"{module} cannot make its cases") from None
            outcomes.add_failure(died, f"the process ended with status {self._process.exitcode}")
            left = cases[cases.index(died) + 1 :]
            return _Share(module, left, seed, keep, folder) if left else None
        self._process.join()
        return None


def run(module: str, cases: range, seed: int, *, n_processes: int, keep: Path | None = None) -> Outcomes:
    """Run cases and return what became of them; the outcomes of a process that a case ended are lost but for that."""
    outcomes = Outcomes()
    parts = [cases[first::n_processes] for first in range(min(n_processes, len(cases)))]
    shm = Path("/dev/shm")  # in memory, where there is such a folder
    # Of the parent, since a share can be killed.
    with tempfile.TemporaryDirectory(dir=shm if shm.is_dir() else None, prefix="slmprof-fuzz-") as folder:
        _work_off([_Share(module, part, seed, keep, Path(folder)) for part in parts], outcomes)
    return outcomes


def _work_off(shares: list[_Share], outcomes: Outcomes) -> None:
    while shares:
        ready = wait([share.connection for share in shares], timeout=_LOOK_S)
        for share in shares:
            share.end_if_stuck()
        ended = [share for share in shares if share.connection in ready]
        again = [share.collect(outcomes) for share in ended]
        shares = [share for share in shares if share not in ended] + [share for share in again if share is not None]


def _run_cases(
    module: str,
    cases: Sequence[int],
    seed: int,
    keep: Path | None,
    folder: Path,
    current: Any,
    connection: Connection,
) -> None:
    """Be the process of a share."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("error")  # a warning would be lines on stderr that explain nothing to a user
    warnings.filterwarnings("ignore", message=".*multi-threaded, use of fork")  # numpy's threads are idle
    folder = folder / str(os.getpid())
    os.environ |= {"SLMPROF_CACHE": str(folder / "cache"), "GGML_NO_BACKTRACE": "1", "HF_HUB_OFFLINE": "1"}
    target: Target = importlib.import_module(module).Cases(folder / "bases")
    shutil.rmtree(folder / "bases", ignore_errors=True)
    outcomes = Outcomes()
    for case in cases:
        current.value = case
        start_s = time.monotonic()
        try:
            outcomes.add(_run_case(target, Random(f"{seed}/{case}"), folder))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  every other end is what is looked for
            outcomes.add_failure(case, described(error))
            if len(cases) == 1:
                traceback.print_exception(error)
        outcomes.add_time(case, time.monotonic() - start_s)
        if keep is not None:
            shutil.copytree(folder / "case", keep, dirs_exist_ok=True)
        shutil.rmtree(folder / "case")
    connection.send(outcomes)


def _run_case(target: Target, random: Random, folder: Path) -> Sequence[str]:
    scratch, temporary = folder / "case", folder / "case" / "tmp"
    temporary.mkdir(parents=True)
    tempfile.tempdir = str(temporary)
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refusals = target.run_case(random, scratch)
    check_left(set(), temporary)
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib
    if grown_kib > _GROWTH_KIB:
        raise WrongError(f"it took {grown_kib >> 10} MiB more memory than any case before")
    return [refusal.replace(str(scratch), "DIR") for refusal in refusals]
