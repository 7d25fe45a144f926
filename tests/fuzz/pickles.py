"""Hostile files of torch.save: none of them runs anything, each is read within its bounds or refused.

An audit hook watches what the interpreter itself reports: imports, compiled code, processes, sockets, files written or
outside the case's folder. The payloads are live: each is loaded once by Python's own unpickler and must do its work.
"""

import os
import pathlib
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from quant.convert.checkpoint import open_checkpoint
from quant.convert.safetensors_file import Tensor
from tests.fuzz.checks import WrongError, check_left, files_in, time_limit, tried
from tests.fuzz.mutations.pickles import good, hostile, payload

_CASE_S = 10.0
_CONFIG = b'{"architectures": ["LlamaForCausalLM"]}'
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
# Ends of what an unpickler that runs something would cause. Source: the audit events table of Python's documentation.
_EVENTS = (
    "import", "exec", "compile", "pickle.find_class", "subprocess.Popen", "socket.", "ctypes.", "shutil.", "urllib.",
    "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.mkdir", "os.remove", "os.rename", "os.rmdir",
    "os.link", "os.symlink", "os.chmod", "os.chown", "os.truncate", "os.putenv", "os.kill", "marshal.", "code.",
    "builtins.input", "builtins.breakpoint", "sys._getframe", "sys.setprofile", "sys.settrace",
)  # fmt: skip


class _Watch:
    """What the interpreter did while a case ran."""

    def __init__(self) -> None:
        self.folder: str | None = None
        self.seen: list[str] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.folder is None:
            return
        if event == "open":
            path, _, flags = arguments
            is_inside = isinstance(path, str | bytes) and os.fsdecode(path).startswith(self.folder)
            if is_inside and not (isinstance(flags, int) and flags & _WRITING):
                return
        elif not event.startswith(_EVENTS):
            return
        self.seen.append(f"{event} {str(arguments)[:100]}")

    @contextmanager
    def over(self, folder: Path) -> Iterator[None]:
        """Watch while a case runs.

        Raises:
            WrongError: something ran.
        """
        self.seen.clear()
        self.folder = str(folder)
        try:
            yield
        finally:
            self.folder = None
        if self.seen:
            raise WrongError(f"something ran: {self.seen[0]}")


class Cases:
    """Live payloads."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._trace = folder.parent / "case" / "sprung"  # beside the case's folder, which is looked through
        self._payloads = [made for protocol in range(6) for made in _payloads(self._trace, protocol)]
        self._trace.parent.mkdir(exist_ok=True)
        for made in self._payloads:
            _spring(made, self._trace)
        shutil.rmtree(self._trace.parent)
        self._watch = _Watch()
        # What is imported when it is first used is no finding.
        for _ in range(3):
            path = _write(folder / "warm", good(Random("warm")))
            _read_all(path, [])
            shutil.rmtree(path)

    def run_case(self, random: Random, scratch: Path) -> Sequence[str]:
        """Read a hostile file, and all tensors where it is not refused."""
        made = hostile(self._payloads, random)
        folder = _write(scratch / "area", made.data)
        before, refusals = files_in(scratch), list[str]()
        with time_limit(_CASE_S), self._watch.over(folder):
            tensors = _read_all(folder, refusals)
        check_left(before, scratch)
        if made.names and not any(" names " in refusal or " opcode " in refusal for refusal in refusals):
            raise WrongError(f"a pickle that calls something is not refused for it: {refusals}")
        n_bytes = len(made.data)
        for tensor in tensors:
            if tensor.end > n_bytes or (tensor.is_plain and 2 * tensor.n_elements > n_bytes):
                raise WrongError(f"{tensor} is not within the file of {n_bytes} bytes")
        return refusals


def _write(folder: Path, data: bytes) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_bytes(_CONFIG)
    (folder / "pytorch_model.bin").write_bytes(data)
    return folder


def _read_all(folder: Path, refusals: list[str]) -> list[Tensor]:
    checkpoint = tried(lambda: open_checkpoint(folder), refusals)
    if checkpoint is None:
        return []
    tensors = list(checkpoint.tensors.values())
    for tensor in tensors:
        found = tried(lambda tensor=tensor: tensor.read(0, tensor.n_elements), refusals)  # type: ignore[misc]
        if found is not None and found.size != tensor.n_elements:
            raise WrongError(f"{tensor} is read as {found.size} elements")
    return tensors


def _payloads(trace: Path, protocol: int) -> Iterator[bytes]:
    """Yield pickles that make a file or a folder when they are loaded."""
    for function, arguments in (
        (os.mkdir, (str(trace),)),
        (os.system, (f"touch '{trace}'",)),
        (exec, (f"open({str(trace)!r}, 'w').close()",)),
        (eval, (f"open({str(trace)!r}, 'w').close()",)),
        (open, (str(trace), "w")),
        (subprocess.check_output, (["touch", str(trace)],)),
        (pathlib.Path.touch, (trace,)),
        (shutil.copyfile, (__file__, str(trace))),
    ):
        yield payload(function, *arguments, protocol=protocol)


def _spring(made: bytes, trace: Path) -> None:
    """Load a payload as nobody should, and remove what it made.

    Raises:
        WrongError: it made nothing: a trap that does not spring proves nothing.
    """
    found = pickle.loads(made)
    if hasattr(found, "close"):
        found.close()
    if not trace.exists():
        raise WrongError(f"a payload does nothing: {made[:100]!r}")
    if trace.is_dir():
        trace.rmdir()
    else:
        trace.unlink()
