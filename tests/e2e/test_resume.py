"""A sweep that is killed goes on where it stopped: every cell complete, none twice."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.support.cells import script
from tests.support.commandline import ROOT, environment, slmprof

CODE = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are started without it
from pathlib import Path
from profiler.environment import available_memory_bytes
from profiler.launch import run_worker
from profiler.results import ResultsWriter
from profiler.sweep import Options, run_sweep
from profiler.cli.view import LineView
from tests.support.cells import artifact, cell
from tests.unit.test_sweep import ENVIRONMENT
folder = Path(sys.argv[1])
cells = [cell(n_threads=threads) for threads in range(1, 6)]
with ResultsWriter(folder / "results.jsonl") as writer:
    if not writer.results.environments:
        writer.write(ENVIRONMENT)
    if not writer.results.artifacts:
        writer.write(artifact())
    done = {(each.cell.key, each.round) for each in writer.results.rounds if each.status == "ok"}
    run_sweep(
        cells, {artifact().sha256: (artifact(), folder / "model.json")}, ENVIRONMENT, done=done, first_order=0,
        options=Options(rounds=6, reps=1, engine="fake"), write=writer.write,
        run=lambda job: run_worker(job, timeout_s=20), available_bytes=available_memory_bytes, view=LineView(),
    )
"""


def rounds_of(results: Path) -> Counter[tuple[int, int]]:
    seen: Counter[tuple[int, int]] = Counter()
    for line in results.read_text().splitlines():
        record = json.loads(line)
        if record["type"] == "round" and record["status"] == "ok":
            seen[record["cell"]["config"]["n_threads"], record["round"]] += 1
    return seen


def start(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", CODE, str(folder)],
        cwd=ROOT,
        env=environment(folder / "cache"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.skipif(os.name == "nt", reason="kill -9 is POSIX")
def test_kill_9_of_the_parent_at_ten_random_moments(tmp_path: Path) -> None:
    script(tmp_path / "model.json", sleep_s=0.05)
    chance = random.Random(3)
    for _ in range(10):
        process = start(tmp_path)
        time.sleep(0.4 + chance.random() * 0.9)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert start(tmp_path).wait(timeout=120) == 0
    seen = rounds_of(tmp_path / "results.jsonl")
    assert set(seen) == {(threads, index) for threads in range(1, 6) for index in range(6)}
    assert set(seen.values()) == {1}


@pytest.mark.skipif(os.name == "nt", reason="kill -9 is POSIX")
def test_a_killed_worker_is_a_failed_record_and_tried_again_the_next_time(tmp_path: Path) -> None:
    script(tmp_path / "model.json", fail="kill", fail_once_file=str(tmp_path / "killed"))
    assert start(tmp_path).wait(timeout=120) == 0
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    failed = [line for line in lines if line["type"] == "round" and line["status"] == "failed"]
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
    from profiler.results import ResultsWriter

    with ResultsWriter(tmp_path / "results.jsonl"):
        done = slmprof("profile", "smollm2-135m", "--weights", "synthetic", "-o", tmp_path / "results.jsonl",
                       cache=tmp_path / "cache")  # fmt: skip
    assert done.status == 2
    assert "another slmprof writes" in done.err
