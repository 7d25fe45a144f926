"""A results file of 100,000 rounds, and what each command that reads one takes for it.

`make bench-scale` writes the file (some 800 MB: three repetitions of 128 steps a round, every condition that Linux
reports) and runs show, export, plot, report, recommend and compare on it, each in a process of its own; compare gets
two files of half as many. Each runs once with an empty cache, then three times more, in turns, and the median of these
counts. The bars are 15 s for the first time, 3 s afterwards and 1 GiB for a command and its processes together, and 1 s
for show of 2,000 cells, on the machine that this was developed on, which proves nothing of others. What needs the
rounds themselves (show --memory) has the first bar every time.
"""

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec
import psutil

from profiler.records.environment import Environment
from profiler.records.round import Conditions, Memory, Round, Sample
from tests.support.cells import artifact, cell
from tests.support.rounds import a_round, memory
from tests.support.summaries import environment

_LEVELS = ("F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_0", "Q3_K_M", "Q2_K")
_MODELS = 25
_THREADS = (1, 2, 3, 4)
_LOADS = (("bench", "separate", 512, 128), ("chat", "request", 128, 128), ("rag", "request", 1024, 128))
_ROUNDS = 6
_GEN = 128
_REPS = 3
_RUNS = 3
_FIRST_S, _AFTERWARDS_S, _SMALL_S = 15.0, 3.0, 1.0
_SMALL_ROWS = 12_000  # of 2,000 cells
_MIB = 1 << 20
_WATCH_S = 0.1


def main() -> int:
    """Write the file, time the commands, print a line for each."""
    parser = argparse.ArgumentParser(prog="make bench-scale", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--work", type=Path, default=Path("parity-work/scale"))
    parser.add_argument("--only", default="", help="commands, comma-separated")
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    rows = arguments.rows
    base, small = work / f"base-{rows}.jsonl", work / f"small-{_SMALL_ROWS}.jsonl"
    halves = [work / f"half-{name}-{rows}.jsonl" for name in ("base", "new")]
    for path, n, seed, change in (
        (base, rows, 1, 1.0),
        (small, _SMALL_ROWS, 4, 1.0),
        (halves[0], rows // 2, 2, 1.0),
        (halves[1], rows // 2, 3, 1.05),
    ):
        if not path.exists():
            write(path, n, seed, change)
    os.sync()  # what is still being written takes time from the first command
    print(f"{rows} rounds, {base.stat().st_size / 1e6:.0f} MB; compare: two files of half as many")
    commands = {
        "show": (["show", str(base)], _AFTERWARDS_S),
        "memory": (["show", str(base), "--memory"], _FIRST_S),
        "export": (["export", str(base), "--format", "csv", "-o", str(work / "results.csv")], _AFTERWARDS_S),
        "recommend": (["recommend", str(base), "--max-memory", "1GiB"], _AFTERWARDS_S),
        "plot": (["plot", str(base), "-o", str(work / "charts")], _AFTERWARDS_S),
        "report": (["report", str(base), "-o", str(work / "report.html"), "-o", str(work / "r.md")], _AFTERWARDS_S),
        "compare": (["compare", *map(str, halves)], _AFTERWARDS_S),
        "2000 cells": (["show", str(small)], _SMALL_S),
    }
    wanted = [name for name in commands if not arguments.only or name in arguments.only.split(",")]
    os.environ["SLMPROF_CACHE"] = str(work / "cache")
    first: dict[str, Run] = {}
    for name in wanted:
        shutil.rmtree(work / "cache", ignore_errors=True)
        first[name] = run(commands[name][0], work / f"{name}.txt")
    for name in wanted:  # the cache keeps what the last of them found out
        run(commands[name][0], work / f"{name}.txt")
    later: dict[str, list[Run]] = {name: [] for name in wanted}
    for name in wanted * _RUNS:
        later[name].append(run(commands[name][0], work / f"{name}.txt"))
    missed = False
    for name, found in later.items():
        runs = [first[name], *found]
        seconds = sorted(each.took_s for each in found)
        middle_s, peak_bytes = statistics.median(seconds), max(each.peak_bytes for each in runs)
        failed = max(each.status for each in runs) != 0
        missed |= first[name].took_s > _FIRST_S or middle_s > commands[name][1] or peak_bytes > 1 << 30 or failed
        print(
            f"{name:10} first {first[name].took_s:5.1f} s, then {middle_s:5.1f} s "
            f"[{seconds[0]:.1f}, {seconds[-1]:.1f}] "
            f"{peak_bytes / _MIB:7.0f} MiB{'  FAILED' if failed else ''}",
            flush=True,
        )
    return int(missed)


class Run(NamedTuple):
    """A command that ended."""

    took_s: float
    peak_bytes: int  # resident size of it and its processes together, what they share counted for each
    status: int


def run(words: list[str], output: Path) -> Run:
    """Run a command."""
    start = time.monotonic()
    with output.open("wb") as file, ThreadPoolExecutor(1) as watcher:
        process = subprocess.Popen([sys.executable, "-m", "profiler", *words], stdout=file)
        peak = watcher.submit(_watch_memory, process.pid)
        status = process.wait()
        took_s = time.monotonic() - start
        return Run(took_s, peak.result(), status)


def _watch_memory(pid: int) -> int:
    peak_bytes = 0
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        while True:
            now_bytes = 0
            for each in (process, *process.children(recursive=True)):
                with suppress(psutil.Error):
                    now_bytes += each.memory_info().rss
            peak_bytes = max(peak_bytes, now_bytes)
            time.sleep(_WATCH_S)
    return peak_bytes


def write(path: Path, n_rows: int, seed: int, slower: float) -> None:
    """Write rounds in the order of a sweep: round by round over all cells, with 2 % of noise."""
    source = random.Random(seed)
    where = [environment(board=f"Board {number}") for number in range(n_rows // (_cells() * _ROUNDS) + 1)]
    with path.open("wb") as file:
        for each in where:
            file.write(msgspec.json.encode(each) + b"\n")
        for model in range(_MODELS):
            for place, level in enumerate(_LEVELS):
                n_params = 100_000_000 * (model + 1)
                n_bytes = int(n_params * 16.0 / 1.3**place / 8)
                known = artifact(
                    _sha256(model, level), model=f"model-{model:02}", level=level, n_params=n_params,
                    tensor_bytes=n_bytes, file_bytes=n_bytes + 1_000_000,
                )  # fmt: skip
                file.write(msgspec.json.encode(known) + b"\n")
        written = 0
        for each in where:
            for number in range(_ROUNDS):
                for record in _round_of_all(each, number, source, slower):
                    if written == n_rows:
                        return
                    file.write(msgspec.json.encode(record) + b"\n")
                    written += 1


def _cells() -> int:
    return _MODELS * len(_LEVELS) * len(_THREADS) * len(_LOADS)


def _sha256(model: int, level: str) -> str:
    return f"{model:02x}{_LEVELS.index(level):02x}".ljust(64, "0")


def _round_of_all(where: Environment, number: int, source: random.Random, slower: float) -> list[Round]:
    made = []
    order = number * _cells()
    for model in range(_MODELS):
        for place, level in enumerate(_LEVELS):
            for threads in _THREADS:
                for workload, mode, n_prompt, n_gen in _LOADS:
                    step_ns = slower * 1e6 * (model + 1) * (12 - place) / threads
                    samples = tuple(_sample(step_ns, mode, source) for _ in range(_REPS))
                    made.append(
                        a_round(
                            number,
                            *samples,
                            env_id=where.id,
                            order=order + len(made),
                            started_at=f"2026-01-{1 + number:02}T{len(made) // 100:02}:{len(made) % 60:02}:00Z",
                            memory=_memory(model, place),
                            cell=cell(
                                _sha256(model, level), workload=workload, mode=mode, n_prompt=n_prompt, n_gen=n_gen,
                                n_threads=threads, n_threads_batch=threads, n_ctx=2048,
                            ),
                        )
                    )  # fmt: skip
    return made


def _sample(step_ns: float, mode: str, source: random.Random) -> Sample:
    speed = source.gauss(1, 0.02)
    return Sample(
        prefill_ns=int(20 * step_ns * speed),
        sample_ns=int(50_000 * speed) if mode == "request" else None,
        decode_ns=tuple(int(step_ns * speed * (1 + 0.05 * source.random())) for _ in range(_GEN)),
        before=_conditions(source),
        after=_conditions(source),
    )


def _conditions(source: random.Random) -> Conditions:
    return Conditions(
        mhz=2400 + source.random(),
        mhz_min=2400.0,
        temperature_c=55 + 5 * source.random(),
        throttle_count=0,
        load_1m=1.1,
        steal_ns=85_540_000_000,
        busy_ns=13_922_070_000_000,
        process_cpu_ns=1_043_801_653,
        involuntary_switches=source.randrange(100),
        major_faults=3,
        minor_faults=12_345,
        swap_used_bytes=0,
        governor="performance",
    )


def _memory(model: int, place: int) -> dict[str, Memory]:
    more = (model + 1) * (12 - place) * _MIB
    return {
        phase: msgspec.structs.replace(each, rss_bytes=(each.rss_bytes or 0) + (more if phase != "imported" else 0))
        for phase, each in memory().items()
    }


if __name__ == "__main__":
    sys.exit(main())
