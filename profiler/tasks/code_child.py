"""A program of unknown origin in a process of its own: no network, little memory, a few seconds, an empty folder.

On Linux the process has user and network namespaces of its own, in which there is no way out; on macOS the system's
sandbox forbids the network. Where neither can be had, nothing is run. Files of the user can still be read: what is run
is what a small model wrote, not what an attacker did, and --execute-code says that it is run.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from quant.base.errors import UserError

TIME_S = 5
MEMORY_BYTES = 512 << 20
FILE_BYTES = 1 << 20
_MOST_PROCESSES = 32
_NEWUSER, _NEWNET = 0x10000000, 0x40000000  # sched.h
_PASSED, _NO_NAMESPACE = 42, 77  # exit statuses; a program that ends early ends with another
_PROFILE = "(version 1)(allow default)(deny network*)(deny file-write*)"
# What runs in the process before the program: it reads the program, gives up what it does not need, and runs it.
_START = f"""
import ctypes, os, resource, sys
source, time_s = sys.stdin.read(), int(sys.argv.pop())
if sys.platform == "linux":
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare({_NEWUSER | _NEWNET}) != 0:
        os._exit({_NO_NAMESPACE})
limits = dict(CPU=time_s, AS={MEMORY_BYTES}, FSIZE={FILE_BYTES}, NPROC={_MOST_PROCESSES}, CORE=0)
for name, limit in limits.items():
    try:
        resource.setrlimit(getattr(resource, "RLIMIT_" + name), (limit, limit))
    except (ValueError, OSError):
        pass
sys.stdin = open(os.devnull)
exec(compile(source, "program", "exec"), {{"__name__": "__main__"}})
os._exit({_PASSED})
"""


def passes(program: str, time_s: int = TIME_S) -> bool:
    """Run a program with its tests; return whether it ends without an error.

    Args:
        time_s: of a CPU; it may take twice as long by the clock.

    Raises:
        UserError: the network cannot be kept from it here.
    """
    command = [sys.executable, "-I", "-c", _START, str(time_s)]
    if sys.platform == "darwin":
        command = ["sandbox-exec", "-p", _PROFILE, *command]
    elif sys.platform != "linux":
        raise UserError("--execute-code works on Linux and macOS, where a program can be kept from the network")
    folder = tempfile.mkdtemp(prefix="slmprof-code-")
    process = subprocess.Popen(  # noqa: S603  as the user allowed with --execute-code
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        env={"PATH": os.defpath, "HOME": folder, "TMPDIR": folder, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    try:
        process.communicate(program.encode(errors="replace"), timeout=2 * time_s)
    except subprocess.TimeoutExpired:
        return False
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # what it started too
        process.wait()
        shutil.rmtree(Path(folder), ignore_errors=True)
    if process.returncode == _NO_NAMESPACE:
        raise UserError(
            "--execute-code needs user namespaces, which this system does not allow: the program could reach the "
            "network; enable them (sysctl kernel.unprivileged_userns_clone=1), or leave code tasks out"
        )
    return process.returncode == _PASSED
