"""The parent's side of a worker: what becomes of its last words, and of the way it ended."""

import io
import signal
from pathlib import Path

import msgspec
import pytest

from profiler.measure import launch
from profiler.measure.launch import run_worker
from profiler.measure.worker import Job
from quant.base.child import Ending, child_environment, tail_of
from quant.base.text import message_line
from tests.support.cells import config, script
from tests.support.paths import ROOT
from tests.support.scripted_worker import run_scripted

FOLDER = Path("/srv/models")


def failure(status: int, stderr: str = "") -> tuple[str, str | None, str]:
    found = launch.failure_of(Ending(status, stderr))
    return found.kind, found.signal, found.message


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        ("failed to open '/srv/models/a.gguf' (No such file)", "failed to open 'a.gguf' (No such file)"),
        ("/build/llama.cpp/ggml/src/ggml.c:123: GGML_ASSERT(x) failed", "ggml.c:123: GGML_ASSERT(x) failed"),
        ("C:\\Users\\ann\\a.gguf: no such file", "a.gguf: no such file"),
        ("1/2 of 3 tensors, 5 tokens/s", "1/2 of 3 tensors, 5 tokens/s"),
        ("/srv/models/a.gguf and /tmp/b/c.txt", "a.gguf and c.txt"),
    ],
)
def test_folders_are_cut_off(message: str, kept: str) -> None:
    assert message_line(message, FOLDER) == kept


def test_a_folder_whose_name_has_spaces_is_cut_off() -> None:
    folder = Path("/Users/Ann Other/my models")
    assert message_line(f"cannot open {folder / 'a.gguf'}", folder) == "cannot open a.gguf"


def test_the_home_folder_is_cut_off_even_with_spaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/Users/Ann Other")
    monkeypatch.setenv("USERPROFILE", "/Users/Ann Other")
    assert "Ann" not in message_line("error in /Users/Ann Other/venv/lib/libggml.so", FOLDER)


@pytest.mark.parametrize("folder", [Path(), Path("/"), Path("models")])
def test_a_short_folder_does_not_eat_the_message(folder: Path) -> None:
    assert message_line("a.gguf: 3 / 4 tensors are missing.", folder) == "a.gguf: 3 / 4 tensors are missing."


def test_what_a_terminal_would_obey_is_taken_out() -> None:
    assert message_line("tensor '\x1b[2Jx\x07\u202e' is wrong\n", FOLDER) == "tensor ' [2Jx ' is wrong"


def test_a_message_has_an_end() -> None:
    assert message_line("x" * 10_000, FOLDER) == "x" * 400


def test_the_assertion_is_chosen_among_the_last_words() -> None:
    stderr = (
        "llama_model_loader: loaded meta data\n"
        "/build/ggml/src/ggml-cpu/ops.cpp:57: GGML_ASSERT(ne00 == ne10) failed\n"
        "[New LWP 12]\n"
        "bye\n\n"
    )
    kind, name, message = failure(-signal.SIGABRT, stderr)
    assert (kind, name) == ("abort", "SIGABRT")
    assert "GGML_ASSERT(ne00 == ne10) failed" in message
    assert "bye" not in message


def test_the_last_line_of_a_traceback_is_chosen() -> None:
    stderr = 'Traceback (most recent call last):\n  File "x", line 1\nValueError: no such thing\n'
    assert failure(1, stderr) == ("worker", None, "ValueError: no such thing")


def test_without_a_telling_line_the_last_one_is_chosen() -> None:
    assert failure(1, "one\ntwo\n\n") == ("worker", None, "two")


def test_a_worker_without_last_words_is_told_by_its_status() -> None:
    assert failure(7) == ("worker", None, "the worker ended with status 7 and no answer")
    assert failure(0) == ("worker", None, "the worker ended with status 0 and no answer")
    assert failure(-signal.SIGSEGV) == ("abort", "SIGSEGV", "llama.cpp ended the process without a message")
    assert failure(-250)[:2] == ("abort", "signal 250")


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_a_worker_that_was_killed_hints_at_memory_whatever_it_said(name: str) -> None:
    kind, found, message = failure(-getattr(signal, name, 9), "error: something else\n")
    assert (kind, found) == ("killed", name)
    assert "most often because memory ran out; try a smaller --n-ctx" in message


def test_only_the_tail_of_what_a_worker_said_is_read() -> None:
    said = io.BytesIO(b"first error\n" + b"x" * 10_000 + b"\nlast \xff words\n")
    tail = tail_of(said)
    assert len(tail) == 8192
    assert "first" not in tail
    assert tail.endswith("last \ufffd words\n")


def test_a_time_out_tells_the_time_and_the_option(tmp_path: Path) -> None:
    model = script(tmp_path / "model.json", fail="hang")
    job = Job(path=str(model), config=config(), reps=1, seed=0)
    found = run_scripted(job, timeout_s=0.5)
    assert found.measured is None
    assert found.failure is not None
    assert (found.failure.kind, found.failure.message) == ("timeout", "no answer within 0.5 s; raise --timeout")


def test_an_engines_refusal_holds_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = launch.Failure(kind="load", message="cannot open /srv/my models/a.gguf\n", signal=None)
    answer = msgspec.json.encode(launch.Answer(failure=refusal))
    monkeypatch.setattr(launch, "run_child", lambda *_, **_options: (answer, Ending(0, "")))
    found = run_worker(Job(path="/srv/my models/a.gguf", config=config(), reps=1, seed=0), timeout_s=None)
    assert found.failure == launch.Failure(kind="load", message="cannot open a.gguf")


def test_a_worker_finds_this_program_and_no_debugger(monkeypatch: pytest.MonkeyPatch) -> None:
    root = str(ROOT)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    found = child_environment()
    assert found["GGML_NO_BACKTRACE"] == "1"
    assert found["PYTHONPATH"] == root
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    assert child_environment()["PYTHONPATH"].startswith(root)
    assert child_environment()["PYTHONPATH"].endswith("elsewhere")
