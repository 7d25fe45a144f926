"""`make bench-synthetic`: synthetic files: the time to write one, and whether they run as random-normal ones do.

Writing: a 1.5B shape at Q4_K_M as a whole process, against copying the finished file, in interleaved pairs; and the
memory of all its processes together. Running: three real shapes at three levels, each once as a random-normal
checkpoint that is converted and once tiled; their workers take turns in a random order. Fails where a bar is missed.
"""

import argparse
import math
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import psutil

from profiler.analysis.memory_parts import model_rss_of
from profiler.measure.launch import run_worker
from profiler.measure.worker import Job
from profiler.records.config import RunConfig
from tests.benchmarks.memory import config_of

WRITTEN = ("qwen2-1.5b", "Q4_K_M")
MODELS = ("smollm2-135m", "smollm2-360m", "qwen2-0.5b")
LEVELS = ("Q4_0", "Q4_K_M", "Q8_0")
MOST_TIMES = 2.0  # of copying
MOST_BYTES = 300 << 20
MOST_SPEED_RATIO = 0.02  # from one, of the geometric mean
MOST_MEMORY_RATIO = 0.01
_POLL_S = 0.005
_SETTLE_S = 3.0
_TIMEOUT_S = 1800
_MIB = 1 << 20


def watched(command: list[str], env: dict[str, str]) -> tuple[float, int]:
    """Run a command; return its seconds, and the most bytes that it and its children held together.

    What two of them share is counted twice, so the bytes are rather too many.
    """
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=env)
    watcher, peak = psutil.Process(process.pid), 0
    while process.poll() is None:
        try:
            held = [each.memory_info().rss for each in (watcher, *watcher.children(recursive=True))]
            peak = max(peak, sum(held))
        except psutil.Error:
            continue
        time.sleep(_POLL_S)
    if process.returncode:
        raise SystemExit(f"bench: '{' '.join(command[:6])} ...' failed with status {process.returncode}")
    return time.perf_counter() - start, peak


def writing(folder: Path, runs: int) -> list[str]:
    """Time writing against copying; return what misses its bar."""
    model, level = WRITTEN
    made, copy = folder / "made.gguf", folder / "copy.gguf"
    env = {**os.environ, "SLMPROF_CACHE": str(folder / "cache")}
    write = [sys.executable, "-m", "profiler", "synthesize", model, "-q", level, "-o", str(made)]
    # Ours is on the disk when it ends, so the copy has to be too; one in the page cache alone is printed as well.
    cached = f"import os, shutil; shutil.copyfile({str(made)!r}, {str(copy)!r})"
    duplicate = [sys.executable, "-c", f"{cached}; os.fsync(os.open({str(copy)!r}, os.O_RDWR))"]
    unwatched = [sys.executable, "-m", "profiler", "synthesize", model, "-q", level, "-o", str(folder / "again.gguf")]
    _, peak_bytes = watched(write, env)  # being watched costs time, so this run counts for memory alone
    sides = {"write": unwatched, "copy": duplicate, "cached": [sys.executable, "-c", cached]}
    found: dict[str, list[float]] = {side: [] for side in sides}
    order = random.Random(0)
    for index in range(runs + 1):
        for side in order.sample(list(sides), len(sides)):
            for path in (copy, folder / "again.gguf"):
                path.unlink(missing_ok=True)
            # Memory that becomes free can be taken back by the host of a virtual machine some seconds later, and costs
            # time to get again: a side that begins to write at once would be spared it, and the other not.
            time.sleep(_SETTLE_S)
            start = time.perf_counter()
            subprocess.run(sides[side], check=True, stdout=subprocess.DEVNULL, env=env)
            if index:
                found[side].append(time.perf_counter() - start)
    ratios = [one / other for one, other in zip(found["write"], found["copy"], strict=True)]
    ratio = statistics.median(ratios)
    print(
        f"write {model} {level}, {made.stat().st_size / _MIB:.0f} MiB in {folder}: "
        f"{statistics.median(found['write']):.2f} s against {statistics.median(found['copy']):.2f} s to copy "
        f"({statistics.median(found['cached']):.2f} s without waiting for the disk), "
        f"ratio {ratio:.2f} [{min(ratios):.2f}, {max(ratios):.2f}], {peak_bytes / _MIB:.0f} MiB in all processes",
        flush=True,
    )
    missed = [f"writing took {ratio:.2f} times the copy"] if ratio > MOST_TIMES else []
    return missed + ([f"{peak_bytes / _MIB:.0f} MiB were held"] if peak_bytes > MOST_BYTES else [])


def both_files(folder: Path, model: str, level: str) -> dict[str, Path]:
    """Make the two files of a shape at a level, unless they are there."""
    slmprof = [sys.executable, "-m", "profiler"]
    env = {**os.environ, "SLMPROF_CACHE": str(folder / "cache")}
    checkpoint = folder / model
    paths = {"normal": folder / f"{model}-normal-{level}.gguf", "tiled": folder / f"{model}-tiled-{level}.gguf"}
    if not checkpoint.exists():
        subprocess.run([*slmprof, "synthesize", model, "-o", str(checkpoint)], check=True, env=env)
    if not paths["normal"].exists():
        convert = [*slmprof, "convert", str(checkpoint), "-q", level, "-o", str(paths["normal"])]
        subprocess.run(convert, check=True, env=env)
    if not paths["tiled"].exists():
        tile = [*slmprof, "synthesize", model, "-q", level, "-o", str(paths["tiled"])]
        subprocess.run(tile, check=True, env=env)
    return paths


def measured(path: Path, config: RunConfig, reps: int) -> dict[str, float]:
    """Run one worker; return its speeds and its memory.

    Raises:
        RuntimeError: the worker failed, or the system reports no memory.
    """
    answer = run_worker(Job(path=str(path), config=config, reps=reps, seed=0), timeout_s=_TIMEOUT_S)
    if answer.measured is None:
        raise RuntimeError(f"{path.name}: {answer.failure}")
    samples, rss_bytes = answer.measured.samples, model_rss_of(answer.measured.memory)
    if rss_bytes is None:
        raise RuntimeError("the system tells no memory")
    return {
        "prefill": config.n_prompt / statistics.median(sample.prefill_ns or 0 for sample in samples),
        "decode": 1 / statistics.median(ns for sample in samples for ns in sample.decode_ns),
        "memory": rss_bytes,
    }


def geometric_mean(ratios: Sequence[float]) -> float:
    """Return the mean of ratios."""
    return math.exp(statistics.fmean(math.log(ratio) for ratio in ratios))


def running(folder: Path, arguments: argparse.Namespace) -> list[str]:
    """Run both files of each shape and level in turns; return what misses its bar."""
    config = msgspec.structs.replace(
        config_of(True, True, 1, n_prompt=arguments.prompt, n_ctx=2048, n_threads=arguments.threads),
        n_gen=arguments.gen,
    )
    files = {(model, level): both_files(folder, model, level) for model in MODELS for level in LEVELS}
    seen: dict[tuple[str, str], dict[str, list[dict[str, float]]]] = {
        cell: {"normal": [], "tiled": []} for cell in files
    }
    order = random.Random(0)
    for _ in range(arguments.rounds):
        for cell in order.sample(list(files), len(files)):
            for side in order.sample(["normal", "tiled"], 2):
                seen[cell][side].append(measured(files[cell][side], config, arguments.reps))
    ratios: dict[str, list[float]] = {"prefill": [], "decode": [], "memory": []}
    for (model, level), sides in seen.items():
        row = []
        for what, found in ratios.items():
            pairs = zip(sides["tiled"], sides["normal"], strict=True)
            found.append(statistics.median(one[what] / other[what] for one, other in pairs))
            row.append(f"{what} {found[-1]:.3f}")
        print(f"{model:14} {level:7} tiled to random-normal: {', '.join(row)}", flush=True)
    missed = []
    for what, found in ratios.items():
        mean, most = geometric_mean(found), MOST_MEMORY_RATIO if what == "memory" else MOST_SPEED_RATIO
        print(f"{what:8} geometric mean of {len(found)} ratios {mean:.4f}, bar 1 +- {most}", flush=True)
        if abs(mean - 1) > most:
            missed.append(f"{what} is {mean:.4f} of the random-normal files'")
    return missed


def main() -> None:
    """Run the requested parts."""
    parser = argparse.ArgumentParser(prog="make bench-synthetic", description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("parity-work/synthetic"), help="a folder for some GiB")
    parser.add_argument("--only", choices=["write", "run"])
    parser.add_argument("--runs", type=int, default=7, help="pairs of writing and copying")
    parser.add_argument("--rounds", type=int, default=6, help="turns of each pair of files")
    parser.add_argument("--reps", type=int, default=3, help="repetitions in a turn")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--prompt", type=int, default=128)
    parser.add_argument("--gen", type=int, default=32)
    arguments = parser.parse_args()
    missed = []
    arguments.work.mkdir(parents=True, exist_ok=True)
    if arguments.only != "run":
        folder = arguments.work / "write"
        folder.mkdir(exist_ok=True)
        try:
            missed += writing(folder, arguments.runs)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    if arguments.only != "write":
        missed += running(arguments.work, arguments)
    if missed:
        raise SystemExit("bench-synthetic: " + "; ".join(missed))


if __name__ == "__main__":
    main()
