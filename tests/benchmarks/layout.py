"""`make bench-layout`: how memory layout moves a cell, and how far its median goes without and with control of it.

offsets       prefill and decode by where ggml's work buffer starts modulo 64, as ratios to offset 0, from four
              processes that take turns of a second (layout_turns.py).
environments  ten sweeps of one cell, each in an environment of its own: the model's path absolute and relative, no
              variable more or an unrelated one, empty or long. None of it should matter. Each sweep has six rounds, of
              llama-bench, of ours with the layout left to chance, and of ours as a sweep takes them; the rounds of all
              thirty take turns. Writes layout-environments.csv and .png into --docs.

Prints tables in Markdown. The model is a synthetic SmolLM2-135M.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import combinations, product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from profiler.analysis.stats import median, span_of
from profiler.device.environment import probe_backend, read_environment
from profiler.engine.memory_layout import offset_of
from profiler.measure.launch import run_worker
from profiler.measure.worker import Job
from profiler.records.config import RunConfig, base_config
from profiler.records.span import Span
from tests.benchmarks.layout_figure import BENCH, SIDES, VARIED, draw, write_csv
from tests.benchmarks.layout_turns import Times, turns
from tests.parity.oracle import Oracle
from tests.parity.speed import run_bench

MODEL = "smollm2-135m"
LEVELS = ("Q8_0", "Q4_0", "Q4_K_M", "F16")
THREADS = (1, 2)
OFFSETS = tuple(offset_of(number) for number in range(4))
N_PROMPT, N_GEN = 128, 16  # of a turn
LONG = 256  # prompt in the environments, once in a process
_TIMEOUT_S = 600
_NS = 1e9


class Surroundings(NamedTuple):
    """One of the ten environments."""

    relative: bool  # the model's path
    value: int | None  # characters of an unrelated variable; None: there is none

    @property
    def variables(self) -> dict[str, str]:
        """What it adds to the parent's variables."""
        return {} if self.value is None else {"UNRELATED": "x" * self.value}

    @property
    def shown(self) -> str:
        """A name for tables."""
        variable = "none" if self.value is None else f"{self.value:,} characters" if self.value else "empty"
        return f"{'relative' if self.relative else 'absolute'} path, variable {variable}"


ENVIRONMENTS = tuple(
    Surroundings(relative, value) for relative in (False, True) for value in (None, 0, 1500, 3000, 8000)
)


def files(work: Path) -> dict[str, Path]:
    """Make the model at each level, unless it is there."""
    folder = work / "layout"
    folder.mkdir(parents=True, exist_ok=True)
    paths = {level: folder / f"{MODEL}-{level}.gguf" for level in LEVELS}
    for level, path in paths.items():
        if not path.exists():
            command = [sys.executable, "-m", "profiler", "synthesize", MODEL, "-q", level, "-o", str(path)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return paths


def ours(path: str, config: RunConfig, offset_bytes: int | None) -> float:
    """Return the prefill rate of one worker; without an offset its layout is left to chance.

    Raises:
        SystemExit: the worker failed, or the layout cannot be controlled here.
    """
    job = Job(path=path, config=config, reps=1, seed=0, work_buffer_offset_bytes=offset_bytes)
    measured = run_worker(job, timeout_s=_TIMEOUT_S).measured
    if measured is None or (offset_bytes is not None and measured.in_force.layout != str(offset_bytes)):
        raise SystemExit(f"bench-layout: {path}: no measurement with the work buffer at {offset_bytes}")
    return config.n_prompt * _NS / (measured.samples[0].prefill_ns or 0)


def theirs(binary: Path, path: str) -> float:
    """Return the prefill rate of one llama-bench, with one thread."""
    size = ["-p", str(LONG), "-n", "0", "-r", "1", "-t", "1", "-ngl", "0", "-o", "json"]
    (row,) = json.loads(run_bench(binary, ["-m", path, *size])[0])
    return float(LONG * _NS / median(row["samples_ns"]))


def by_offset(paths: Mapping[str, Path], n_turns: int) -> None:
    """Measure and print the table by offset."""
    others = OFFSETS[1:]
    print(f"\nRatio to offset 0 of tokens per second, pp{N_PROMPT} and tg{N_GEN}, medians of {n_turns} turns\n")
    print("| level | threads | test | " + " | ".join(f"{offset} to 0" for offset in others) + " | odd to even |")
    print("|---|---:|---|" + "---:|" * (len(others) + 1), flush=True)
    for level, threads in product(paths, THREADS):
        config = base_config(n_prompt=N_PROMPT, n_gen=N_GEN, n_ctx=512, n_threads=threads)
        rows = turns(paths[level], config, OFFSETS, n_turns)
        for test in Times._fields:
            series = [{offset: getattr(times, test) for offset, times in row.items()} for row in rows]
            cells = [_shown([row[0] / row[offset] for row in series]) for offset in others]
            cells.append(_shown([float(np.sqrt(row[0] * row[32] / row[16] / row[48])) for row in series]))
            print(f"| {level} | {threads} | {test} | " + " | ".join(cells) + " |", flush=True)
    print(f"\nodd: 16 and 48, even: 0 and 32; [lo, hi]: {_kind(n_turns)} over the turns\n", flush=True)


def in_environments(path: Path, binary: Path, rounds: int) -> list[dict[str, list[float]]]:
    """Return prefill rates by side, for each environment; the rounds of all take turns."""
    order = random.Random(1)
    config = base_config(n_prompt=LONG, n_ctx=512)
    found: list[dict[str, list[float]]] = [{side: [] for side in SIDES} for _ in ENVIRONMENTS]
    for number in range(rounds):
        print(f"environments: round {number + 1} of {rounds}", file=sys.stderr, flush=True)
        for place in order.sample(range(len(ENVIRONMENTS)), len(ENVIRONMENTS)):
            around = ENVIRONMENTS[place]
            shown = os.path.relpath(path) if around.relative else str(path)
            with variables(around.variables):
                for side in order.sample(SIDES, len(SIDES)):
                    if side == BENCH:
                        rate = theirs(binary, shown)
                    else:
                        rate = ours(shown, config, offset_of(number) if side == VARIED else None)
                    found[place][side].append(rate)
    return found


@contextmanager
def variables(more: Mapping[str, str]) -> Iterator[None]:
    """Add variables to those that child processes get."""
    os.environ.update(more)
    try:
        yield
    finally:
        for name in more:
            del os.environ[name]


def print_spread(found: Sequence[Mapping[str, Sequence[float]]], rounds: int) -> None:
    """Print how far the medians of sweeps that should be equal lie apart, and how often they seem to differ."""
    n_pairs = len(found) * (len(found) - 1) // 2
    print(f"\nOne cell in {len(found)} environments, medians of {rounds} rounds (Q8_0, pp{LONG}, 1 thread)\n")
    print("| rounds | smallest median | largest | spread | interval, half | seem to differ |")
    print("|---|---:|---:|---:|---:|---:|")
    for side in SIDES:
        spans = [_span(sweep[side]) for sweep in found]
        medians = [span.value for span in spans]
        half = median([(span.hi - span.lo) / 2 / span.value for span in spans])
        apart = sum(not one.overlaps(other) for one, other in combinations(spans, 2))
        spread = (max(medians) - min(medians)) / median(medians)
        print(
            f"| {side} | {min(medians):.1f} t/s | {max(medians):.1f} t/s | {spread:.1%} | {half:.1%} "
            f"| {apart} of {n_pairs} pairs |"
        )
    print("\n| environment | " + " | ".join(SIDES) + " |\n|---|" + "---:|" * len(SIDES))
    for around, sweep in zip(ENVIRONMENTS, found, strict=True):
        print(f"| {around.shown} | " + " | ".join(_shown(sweep[side], 1) for side in SIDES) + " |")
    print(f"\n[lo, hi]: {_kind(rounds)} over the rounds\n", flush=True)


def _span(values: Sequence[float]) -> Span:
    found = span_of(values)
    assert found is not None
    return found


def _shown(values: Sequence[float], digits: int = 4) -> str:
    span = _span(values)
    return f"{span.value:.{digits}f} [{span.lo:.{digits}f}, {span.hi:.{digits}f}]"


def _kind(rounds: int) -> str:
    return "95 % interval" if _span(range(rounds)).kind == "interval" else "smallest and largest"


def main() -> None:
    """Run the requested parts."""
    parser = argparse.ArgumentParser(
        prog="make bench-layout", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=Path("parity-work"), help="folder of parity, for llama-bench")
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="where figure and data are written")
    parser.add_argument("--only", choices=["offsets", "environments"])
    parser.add_argument("--rounds", type=int, default=6, help="in each environment, an even number")
    parser.add_argument("--turns", type=int, default=30, help="of the four offsets")
    arguments = parser.parse_args()
    start = time.perf_counter()
    oracle = Oracle(arguments.work.resolve(), sys.executable)
    paths = files(oracle.work)
    environment = read_environment(probe_backend())
    print(f"synthetic {MODEL} on {environment.cpu_model}, llama.cpp {environment.llama_commit}", flush=True)
    if arguments.only != "environments":
        by_offset(paths, arguments.turns)
    if arguments.only != "offsets":
        found = in_environments(paths["Q8_0"], oracle.llama_bench, arguments.rounds)
        print_spread(found, arguments.rounds)
        rows = write_csv(arguments.docs / "layout-environments.csv", [each.shown for each in ENVIRONMENTS], found)
        draw(arguments.docs / "layout-environments.png", rows, environment.cpu_model)
    print(f"took {(time.perf_counter() - start) / 60:.1f} minutes", file=sys.stderr)


if __name__ == "__main__":
    main()
