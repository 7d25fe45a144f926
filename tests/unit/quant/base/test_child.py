"""Child processes: JSON lines in and out, time limits, and what is known of their end."""

import signal
import time

import msgspec
import psutil
import pytest

from quant.base.child import Child, run_child
from tests.support.scripted_children import Seen, Task

MODULE = "tests.support.scripted_children"
SERVER = "tests.support.scripted_server"


def test_the_answer_comes_last_and_lines_before_it_are_progress() -> None:
    lines: list[bytes] = []
    output, ending = run_child(MODULE, Task("answer"), timeout_s=60, on_progress=lines.append)
    assert msgspec.json.decode(output, type=Seen) == Seen("answer")
    assert [msgspec.json.decode(line, type=Seen).kind for line in lines] == ["one", "two"]
    assert (ending.status, ending.signal, ending.timed_out) == (0, None, False)


def test_what_is_printed_goes_to_stderr() -> None:
    output, ending = run_child(MODULE, Task("answer"), timeout_s=60)
    assert b"printed" not in output
    assert "printed" in ending.stderr


def test_a_failure_has_its_status_and_the_line_that_names_the_error() -> None:
    output, ending = run_child(MODULE, Task("fail"), timeout_s=60)
    assert (output, ending.status, ending.error_line) == (b"", 7, "RuntimeError: on purpose")


def test_an_abort_has_the_name_of_its_signal() -> None:
    _, ending = run_child(MODULE, Task("abort"), timeout_s=60)
    assert (ending.status, ending.signal, ending.killed_from_outside) == (-signal.SIGABRT, "SIGABRT", False)


def test_a_child_that_takes_too_long_is_killed() -> None:
    begun_s = time.monotonic()
    output, ending = run_child(MODULE, Task("hang"), timeout_s=1)
    assert (output, ending.timed_out) == (b"", True)
    assert time.monotonic() - begun_s < 30


def test_no_child_is_left_when_the_block_is_left() -> None:
    with Child(MODULE) as child:
        child.send(Task("hang"))
    assert not [each for each in psutil.Process().children() if MODULE in " ".join(each.cmdline())]


def test_a_server_answers_each_request_until_it_ends() -> None:
    with Child(SERVER) as child:
        for kind in ("one", "two"):
            child.send(Task(kind))
            assert msgspec.json.decode(child.receive(), type=Seen) == Seen(kind)
        child.send(Task("fail"))
        assert child.receive() == b""
        assert child.wait().status == 7


@pytest.mark.parametrize("module", [MODULE, SERVER])
def test_a_child_ends_with_its_parent(module: str) -> None:
    with Child(module) as child:
        child.send(Task("hang"))
        assert child._process.stdin is not None
        child._process.stdin.close()  # as when the parent is killed
        assert child.wait().status == 3
