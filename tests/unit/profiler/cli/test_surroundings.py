"""Surroundings that a caller may leave: closed or full streams, no temporary folder, names that are no text."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import psutil
import pytest

from profiler.cli import problem_of
from quant.base.text import decoded, encoded, printable_name
from tests.support.ggufs import tiny_gguf
from tests.support.paths import ROOT


def slmprof(words: str, redirections: str = "", **variables: str) -> subprocess.CompletedProcess[bytes]:
    """Run the command line from a shell that redirects its streams."""
    command = f'exec "{sys.executable}" -P -m profiler {words} {redirections}'
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    return subprocess.run(["/bin/sh", "-c", command], env=environment, capture_output=True, check=False)


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- 2>&-"])
def test_closed_streams_change_nothing(closed: str) -> None:
    done = slmprof("models --json", closed)
    assert done.returncode == 0
    assert msgspec.json.decode(done.stdout)


def test_every_stream_closed() -> None:
    assert slmprof("models", "<&- >&- 2>&-").returncode == 0


def test_a_wrong_name_with_stderr_closed_still_fails() -> None:
    assert slmprof("show nowhere.jsonl", "2>&-").returncode == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device")
@pytest.mark.parametrize("words", ["models", "--help", "models --json"])
def test_a_full_stdout_is_one_line(words: str) -> None:
    done = slmprof(words, ">/dev/full")
    assert done.returncode == 2
    assert done.stderr.startswith(b"slmprof: cannot write to stdout")
    assert done.stderr.count(b"\n") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device")
def test_a_full_stderr_costs_messages_only() -> None:
    done = slmprof("show nowhere.jsonl", "2>/dev/full")
    assert (done.returncode, done.stdout) == (2, b"")


def test_no_temporary_folder_is_one_line() -> None:
    message = problem_of(FileNotFoundError(2, "No usable temporary directory found in ['/tmp']"))
    assert "TMPDIR" in message
    assert "/x: Permission denied" in problem_of(PermissionError(13, "Permission denied", "/x"))
    assert "ulimit -v" in problem_of(MemoryError())


def test_of_a_library_that_cannot_be_loaded_the_loaders_words_are_shown() -> None:
    advice = "IMPORTANT: PLEASE READ THIS\n\n" + "for advice on how to solve this issue " * 20
    said = problem_of(ImportError(f"{advice}\nOriginal error was: /x/libblas.so: failed to map segment"))
    assert "(libblas.so: failed to map segment)" in said
    assert "(libm.so: no such file)" in problem_of(ImportError("libm.so: no such file"))
    assert "space" not in problem_of(OSError(5, "Input/output error"))


class Message(msgspec.Struct):
    """A request with a file's name."""

    path: str


@pytest.mark.parametrize("name", [b"plain", "gr\u00fc\u00df \u6f22".encode(), b"mod\xe8le/\xff.gguf", b"a\\ud800"])
def test_any_name_reaches_a_child(name: bytes) -> None:
    path = os.fsdecode(name)
    assert os.fsencode(decoded(encoded(Message(path)), Message).path) == name
    assert msgspec.json.encode(printable_name(path))


def test_a_wrong_message_is_still_refused() -> None:
    for line in (b'{"path":1}', b'{"path":"\\\\ud8', b""):
        with pytest.raises((msgspec.DecodeError, ValueError)):
            decoded(line, Message)


@pytest.mark.skipif(sys.platform == "darwin", reason="its names are UTF-8")
def test_bytes_that_are_no_text_are_printed_as_they_are(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"mod\xe8le")
    folder.mkdir()
    tiny_gguf(tmp_path / "tiny.gguf").rename(folder / "m.gguf")
    words = f"quantize {folder}/m.gguf -q Q8_0 -o {folder}"
    done = slmprof(words, SLMPROF_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr
    assert b"mod\xe8le/" in done.stdout


@pytest.mark.parametrize("pause_s", [0.0, 0.05])
def test_three_quick_interrupts_are_one(tmp_path: Path, pause_s: float) -> None:
    # It waits for the writer of a pipe.
    os.mkfifo(tmp_path / "results.jsonl")
    command = [sys.executable, "-P", "-m", "profiler", "show", str(tmp_path / "results.jsonl")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, process_group=0) as process:
        _wait_until_idle(process.pid)
        for _ in range(3):
            process.send_signal(signal.SIGINT)
            time.sleep(pause_s)
        _, printed = process.communicate(timeout=60)
    assert printed.strip() == b"slmprof: stopped"
    assert process.returncode == 130


def _wait_until_idle(pid: int) -> None:
    """Wait until a process has started and uses the CPU no longer: Python may lose an interrupt while it imports."""
    process, used_s = psutil.Process(pid), -1.0
    deadline_s = time.monotonic() + 60
    while (now_s := sum(process.cpu_times()[:2])) > used_s or process.status() != psutil.STATUS_SLEEPING:
        assert time.monotonic() < deadline_s, "it never waits"
        used_s = now_s
        time.sleep(0.5)
