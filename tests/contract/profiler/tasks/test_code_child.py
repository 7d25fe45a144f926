"""Code that a model wrote runs in a process of its own: without network, with little time and memory."""

import os
import socket
import time
from pathlib import Path

import pytest

from profiler.tasks.code_child import passes
from profiler.tasks.code_eval import CodeEval, pass_at
from quant.base.errors import UserError


@pytest.fixture(autouse=True)
def _needs_namespaces() -> None:
    try:
        passes("pass")
    except UserError as error:
        pytest.skip(str(error))


def test_right_and_wrong_programs() -> None:
    assert passes("def add(a, b):\n    return a + b\nassert add(2, 3) == 5")
    assert not passes("def add(a, b):\n    return a * b\nassert add(2, 3) == 5")
    assert not passes("def add(")
    assert not passes("import sys; sys.exit(0)")
    assert not passes("import os; os._exit(0)")


def test_there_is_no_network() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        reach = f"import socket\nsocket.create_connection(('127.0.0.1', {port}), timeout=2)"
        assert not passes(reach)
        socket.create_connection(("127.0.0.1", port), timeout=2).close()  # from here it can be reached


def test_time_and_memory_end() -> None:
    begun = time.monotonic()
    assert not passes("while True: pass", 1)
    assert not passes("import time; time.sleep(60)", 1)
    assert not passes("x = bytearray(2 << 30)")
    assert time.monotonic() - begun < 30


def test_what_it_started_ends_with_it(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    child = f"import time; time.sleep(3); open({str(mark)!r}, 'w')"
    assert passes(f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {child!r}])")
    time.sleep(4)
    assert not mark.exists()


def test_nothing_of_the_environment_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "x")
    assert passes("import os\nassert 'SECRET_TOKEN' not in os.environ\nassert os.listdir('.') == []")
    assert "SECRET_TOKEN" in os.environ


def test_pass_at_k() -> None:
    assert pass_at(1, 10, 3) == pytest.approx(0.3)
    assert pass_at(5, 5, 1) == 1.0
    rates, details = CodeEval().compute(
        references=["assert f() == 1", "assert f() == 2"],
        predictions=[["def f(): return 1", "def f(): return 2"], ["def f(): return 1", "def f(): return 3"]],
        k=[1, 2],
    )
    assert rates == {"pass@1": pytest.approx(0.25), "pass@2": pytest.approx(0.5)}
    assert details[0][0][1] == {"passed": True}
