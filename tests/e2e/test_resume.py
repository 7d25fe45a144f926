"""A killed sweep goes on where it stopped: every cell complete, none twice."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests.fuzz.kills import Killer
from tests.support.cells import script
from tests.support.commandline import slmprof
from tests.support.resumable import rounds_of, start


@pytest.mark.skipif(os.name == "nt", reason="kill -9 is POSIX")
def test_kill_9_of_sweep_or_worker_at_ten_random_moments(tmp_path: Path) -> None:
    killer = Killer(tmp_path, seed=3)  # python -m tests.fuzz.kills does a hundred
    killer.run(n_kills=10, seconds=60)
    assert killer.faults == []
    assert killer.n_kills > 0


@pytest.mark.skipif(os.name == "nt", reason="kill -9 is POSIX")
def test_a_killed_worker_is_a_failed_record_and_tried_again_the_next_time(tmp_path: Path) -> None:
    script(tmp_path / "model.json", fail="kill", fail_once_file=str(tmp_path / "killed"))
    assert start(tmp_path).wait(timeout=120) == 0
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    # The first worker of all is the reference cell's.
    failed = [line for line in lines if line.get("status") == "failed"]
    assert [line["error"]["signal"] for line in failed] == ["SIGKILL"]
    assert start(tmp_path).wait(timeout=120) == 0
    assert set(rounds_of(tmp_path / "results.jsonl").values()) == {1}
    assert len(rounds_of(tmp_path / "results.jsonl")) == 30


def test_ctrl_c_keeps_what_is_done(tmp_path: Path) -> None:
    script(tmp_path / "model.json", sleep_s=0.05)
    process = start(tmp_path)
    results = tmp_path / "results.jsonl"
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not (results.exists() and len(rounds_of(results)) >= 2):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.wait(timeout=20)
    assert 2 <= len(rounds_of(results)) < 30


def test_two_sweeps_cannot_write_one_file(tmp_path: Path) -> None:
    from profiler.results.writer import ResultsWriter

    with ResultsWriter(tmp_path / "results.jsonl"):
        done = slmprof("profile", "smollm2-135m", "--weights", "synthetic", "-o", tmp_path / "results.jsonl",
                       cache=tmp_path / "cache")  # fmt: skip
    assert done.status == 2
    assert "another slmprof writes" in done.err
