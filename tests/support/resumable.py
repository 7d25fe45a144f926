"""A sweep of thirty rounds on the scripted engine in a process of its own, which may be killed at any moment.

Usage: python -m tests.support.resumable FOLDER    (a model.json stands there; results.jsonl is appended to)
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
    from profiler.results.file import ResultsWriter
    from profiler.sweep.sweep import Options, run_sweep

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are started without it
    with ResultsWriter(folder / "results.jsonl") as writer:
        if not writer.results.environments:
            writer.write(ENVIRONMENT)
        if not writer.results.artifacts:
            writer.write(artifact())
        known = writer.results
        trusted = [record for record in known.rounds if record.status == "ok" and record.doubt is None]
        run_sweep(
            CELLS,
            {artifact().sha256: (artifact(), folder / "model.json")},
            ENVIRONMENT,
            done={(record.cell.key, record.round) for record in trusted},
            first_order=1 + max((record.order for record in [*known.rounds, *known.anchors]), default=-1),
            options=Options(rounds=ROUNDS, reps=1, anchor=True),
            write=writer.write,
            run=run_scripted,
            available_bytes=available_memory_bytes,
            view=LineView(),
            earlier=[*trusted, *known.anchors],
        )


def start(folder: Path) -> subprocess.Popen[bytes]:
    """Begin the sweep, or go on with it."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.resumable", str(folder)],
        cwd=ROOT,
        env=environment(folder / "cache"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def all_turns() -> set[tuple[int, int]]:
    """Give what a whole sweep consists of: thread counts and rounds."""
    return {(each.config.n_threads, number) for each in CELLS for number in range(ROUNDS)}


def rounds_of(results: Path) -> Counter[tuple[int, int]]:
    """Count the records of each round that went well; a torn last line is none."""
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
