"""`make bench-pick-timed`: `slmprof pick` against `slmprof run` and `slmprof recommend`, by the clock on the wall.

Both choose among the default levels and thread counts of each shape, with synthetic weights, each in a new folder; the
order changes with each alternation. The choices are the same, tied (their medians in the sweep are within 2 %, or their
intervals there overlap), or different. With --load another program takes 30 % of one CPU beside them, in bursts of a
fifth of a second. Prints a table in Markdown. Alternations that are finished are in the work folder and not repeated.

Fails where a choice is different, or where pick's median share of the time is above 45 %.
"""

import argparse
import contextlib
import json
import multiprocessing
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from profiler.analysis.stats import median
from profiler.analysis.summarise import summarise
from profiler.cli.results import load

SHAPES = "smollm2-135m,qwen2.5-0.5b,tinyllama-1.1b"
TIED, SHARE = 0.02, 0.45
LOAD, BURST_S = 0.3, 0.2


def timed(*arguments: str) -> tuple[float, str]:
    """Run slmprof; return its seconds and what it printed."""
    started = time.monotonic()
    command = [str(Path(sys.executable).parent / "slmprof"), *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit status {done.returncode}")
    return time.monotonic() - started, done.stdout


def burn() -> None:
    """Take a share of one CPU in bursts, for ever."""
    while True:
        until = time.monotonic() + BURST_S
        while time.monotonic() < until:
            pass
        time.sleep(BURST_S * (1 - LOAD) / LOAD)


@contextlib.contextmanager
def beside(load: bool) -> Iterator[None]:
    """Have the other program run meanwhile."""
    other = multiprocessing.Process(target=burn, daemon=True)
    if load:
        other.start()
    try:
        yield
    finally:
        if load:
            other.kill()


def by_pick(shape: str, options: list[str], folder: Path) -> dict[str, Any]:
    """Choose by pick."""
    took_s, text = timed("pick", shape, *options, "--json", "-o", str(folder))
    found = json.loads(text)["picks"][0]
    chosen = found["chosen"]
    return {
        "s": took_s,
        "cell": f"{chosen['level']} {chosen['n_threads']}",
        "tied": found["tied"],
        "rounds": found["rounds"],
    }


def by_sweep(shape: str, options: list[str], folder: Path) -> dict[str, Any]:
    """Choose by run and recommend; also return the sweep's cells."""
    results = folder / "results.jsonl"
    run_s, _ = timed("run", shape, *options, "-o", str(folder))
    recommend_s, text = timed("recommend", str(results), "--json")
    (choice,) = json.loads(text)["choices"]
    cells = {
        f"{cell.artifact.level} {cell.config.n_threads}": [
            cell.decode_tps.lo,
            cell.decode_tps.value,
            cell.decode_tps.hi,
        ]
        for cell in summarise(load([results]))
        if cell.decode_tps is not None
    }
    chosen = choice["chosen"]
    cell = f"{chosen['quant']} {chosen['n_threads']}" if chosen else None
    return {"s": run_s + recommend_s, "cell": cell, "cells": cells}


def alternation(shape: str, options: list[str], place: int, folder: Path) -> dict[str, Any]:
    """Choose both ways, one after the other."""
    ways = [("pick", by_pick), ("sweep", by_sweep)]
    found = {}
    for name, choose in ways if place % 2 == 0 else reversed(ways):
        found[name] = choose(shape, options, folder / name)
        shutil.rmtree(folder / name / "models", ignore_errors=True)
    return found


def agreement(found: dict[str, Any]) -> str:
    """Return in words whether both chose the same cell, by the sweep's figures."""
    ours, theirs = found["pick"]["cell"], found["sweep"]["cell"]
    if ours == theirs:
        return "same"
    if theirs is None:
        return "no choice by the sweep"
    (lo, middle, hi), (their_lo, their_middle, their_hi) = (found["sweep"]["cells"][cell] for cell in (ours, theirs))
    if abs(middle / their_middle - 1) <= TIED or (lo <= their_hi and their_lo <= hi):
        return f"tied, {middle / their_middle - 1:+.1%}"
    return f"different, {middle / their_middle - 1:+.1%}"


def main() -> None:
    """Alternate and print.

    Raises:
        SystemExit: a bar is missed.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("bench-pick-timed"))
    parser.add_argument("--shapes", default=SHAPES)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--workload", default="chat")
    parser.add_argument("--reps", default="3")
    parser.add_argument("--load", action="store_true")
    arguments = parser.parse_args()
    options = ["--weights", "synthetic", "--workload", arguments.workload, "-r", arguments.reps]
    missed = []
    print("| shape | pick, s | sweep, s | share | rounds | pick | sweep | |\n|---|---|---|---|---|---|---|---|")
    for shape in arguments.shapes.split(","):
        shares = []
        for place in range(arguments.times):
            folder = arguments.work / f"{shape}{'-load' if arguments.load else ''}-{place + 1}"
            finished = folder / "found.json"
            if not finished.exists():
                shutil.rmtree(folder, ignore_errors=True)
                with beside(arguments.load):
                    found = alternation(shape, options, place, folder)
                finished.write_text(json.dumps(found))
            found = json.loads(finished.read_text())
            pick, sweep = found["pick"], found["sweep"]
            shares.append(pick["s"] / sweep["s"])
            agreed = agreement(found)
            missed += [f"{shape}: {agreed}"] if agreed.startswith(("different", "no choice")) else []
            print(
                f"| {shape} | {pick['s']:.0f} | {sweep['s']:.0f} | {shares[-1]:.0%} | {pick['rounds']} "
                f"| {pick['cell']} | {sweep['cell']} | {agreed} |",
                flush=True,
            )
        if median(shares) > SHARE:
            missed.append(f"{shape}: median share {median(shares):.0%}")
    if missed:
        sys.exit("missed: " + "; ".join(missed))


if __name__ == "__main__":
    main()
