"""A sweep of thirty rounds on the scripted engine in a process of its own, which may be killed at any moment.

Usage: python -m tests.support.resumable FOLDER    (it holds a model.json; results.jsonl is appended to)
"""

import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.support.cells import artifact, cell
from tests.support.commandline import ROOT, environment
from tests.support.scripted_worker import run_scripted
from tests.support.summaries import ENVIRONMENT

CELLS = [cell(n_threads=threads) for threads in range(1, 6)]
ROUNDS = 6


def main(folder: Path) -> None:
    from profiler.cli.progress.lines import LineView
    from profiler.device.environment import available_memory_bytes
    from profiler.results.writer import ResultsWriter
    from profiler.sweep.plan import Options, Plan, history_of
    from profiler.sweep.sweep import Sweep
    from profiler.sweep.tools import Tools

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are started without it
    with ResultsWriter(folder / "results.jsonl") as writer:
        if not writer.results.environments:
            writer.write(ENVIRONMENT)
        if not writer.results.artifacts:
            writer.write(artifact())
        plan = Plan(
            cells=CELLS,
            files={artifact().sha256: (artifact(), folder / "model.json")},
            environment=ENVIRONMENT,
            options=Options(rounds=ROUNDS, reps=1, drift_control=True),
            history=history_of(writer.results, ENVIRONMENT.id),
        )
        tools = Tools(run=run_scripted, write=writer.write, available_bytes=available_memory_bytes, view=LineView())
        Sweep(plan, tools).run()


def start(folder: Path) -> subprocess.Popen[bytes]:
    """Start or resume the sweep."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.resumable", str(folder)],
        cwd=ROOT,
        env=environment(folder / "cache"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def all_turns() -> set[tuple[int, int]]:
    """Return what a whole sweep consists of: thread counts and rounds."""
    return {(each.config.n_threads, number) for each in CELLS for number in range(ROUNDS)}


def rounds_of(results: Path) -> Counter[tuple[int, int]]:
    """Count the records of each successful round; a torn last line is none."""
    seen: Counter[tuple[int, int]] = Counter()
    for line in results.read_bytes().splitlines(keepends=True):
        if not line.endswith(b"\n"):
            continue
        record = json.loads(line)
        if record["type"] == "round" and record["status"] == "ok":
            seen[record["cell"]["config"]["n_threads"], record["round"]] += 1
    return seen


if __name__ == "__main__":
    main(Path(sys.argv[1]))
