"""`make bench-layout`: how memory layout moves a cell, and how far its median goes without and with control of it.

offsets       prefill and decode by where ggml's work buffer starts modulo 64, as ratios to offset 0.
environments  one cell in ten environments: the model's path absolute and relative, no variable more or an unrelated
              one, empty or long. None of it should matter. In each, llama-bench and ours with the layout left to
              chance: one process, as a sweep's processes repeat their accident; and ours as a sweep takes it, its
              n_turns in four layouts. Writes layout-environments.csv and .png into --docs.

All processes of a comparison stay loaded and take turns (tests/parity/taking_turns.py). Prints tables in Markdown. The
model is a synthetic SmolLM2-135M.
"""

import argparse
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from profiler.analysis.stats import median, span_of
from profiler.device.environment import read_environment
from profiler.device.llama_build import probe_backend
from profiler.engine.memory_layout import offset_of
from profiler.measure.worker import Job
from profiler.records.config import base_config
from profiler.records.span import Span
from tests.benchmarks.layout_figure import BENCH, CHANCE, SIDES, VARIED, draw, write_csv
from tests.parity.llama_bench import bench_program, bench_times_ns
from tests.parity.oracle import Oracle
from tests.parity.taking_turns import Program, take_turns
from tests.parity.turn_worker import measured_by, program, times_ns

MODEL = "smollm2-135m"
LEVELS = ("Q8_0", "Q4_0", "Q4_K_M", "F16")
THREADS = (1, 2)
OFFSETS = tuple(offset_of(number) for number in range(4))
SIZES = {"prefill": (32, 0), "decode": (0, 4)}  # of a turn; short: what else the machine does changes within seconds
_ENVIRONMENTS_TURNS = 5  # at each offset
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


def job_of(path: str, test: str, threads: int, reps: int, offset_bytes: int | None) -> Job:
    """Return the job of our process; without an offset its layout is left to chance."""
    n_prompt, n_gen = SIZES[test]
    config = base_config(n_prompt=n_prompt, n_gen=n_gen, n_ctx=512, n_threads=threads)
    return Job(path=path, config=config, reps=reps, seed=0, work_buffer_offset_bytes=offset_bytes)


def by_offset(oracle: Oracle, paths: Mapping[str, Path], n_turns: int) -> None:
    """Measure and print the table by offset."""
    order = random.Random(0)
    sizes = f"pp{SIZES['prefill'][0]} and tg{SIZES['decode'][1]}"
    print(f"\nRatio to offset 0 of tokens per second, {sizes}, medians of {n_turns} turns\n")
    print("| level | threads | test | " + " | ".join(f"{offset} to 0" for offset in OFFSETS[1:]) + " | odd to even |")
    print("|---|---:|---|" + "---:|" * len(OFFSETS), flush=True)
    for level, threads, test in product(paths, THREADS, SIZES):
        jobs = {str(offset): job_of(str(paths[level]), test, threads, n_turns + 1, offset) for offset in OFFSETS}
        written = take_turns(oracle.work / "layout", {name: program(job) for name, job in jobs.items()}, n_turns, order)
        taken = [np.array(times_ns(measured_by(job, written[name][0]))[:n_turns]) for name, job in jobs.items()]
        ratios = [taken[0] / times for times in taken[1:]]
        ratios.append(np.sqrt(taken[0] * taken[2] / taken[1] / taken[3]))
        print(f"| {level} | {threads} | {test} | " + " | ".join(map(_shown, ratios)) + " |", flush=True)
    print(f"\nodd: 16 and 48, even: 0 and 32; [lo, hi]: {_kind(n_turns)} over the turns\n", flush=True)


def in_environments(oracle: Oracle, path: Path) -> list[dict[str, list[float]]]:
    """Return prefill rates by side, for each environment; all processes take turns."""
    n_turns = _ENVIRONMENTS_TURNS * len(OFFSETS)
    programs: dict[str, Program] = {}
    jobs: dict[str, Job] = {}
    for place, around in enumerate(ENVIRONMENTS):
        shown = Path(os.path.relpath(path)) if around.relative else path
        bench = bench_program(oracle, shown, SIZES["prefill"], n_turns + 1, ["-t", "1", "-ngl", "0"], {})
        programs[f"{place} {BENCH}"] = bench._replace(variables={**bench.variables, **around.variables})
        for offset in (None, *OFFSETS):
            key = f"{place} {offset}"
            jobs[key] = job_of(str(shown), "prefill", 1, n_turns + 1, offset)
            programs[key] = program(jobs[key])._replace(variables=around.variables)
    written = take_turns(oracle.work / "layout", programs, n_turns, random.Random(1))
    found: list[dict[str, list[float]]] = []
    for place in range(len(ENVIRONMENTS)):
        ours = {
            offset: times_ns(measured_by(jobs[key], written[key][0]))
            for offset in (None, *OFFSETS)
            for key in (f"{place} {offset}",)
        }
        varied = [ours[offset_of(turn)][turn] for turn in range(n_turns)]
        times = {BENCH: bench_times_ns(written[f"{place} {BENCH}"][0]), CHANCE: ours[None], VARIED: varied}
        tokens = SIZES["prefill"][0] * _NS
        found.append({side: [tokens / each for each in values[:n_turns]] for side, values in times.items()})
    return found


def print_spread(found: Sequence[Mapping[str, Sequence[float]]]) -> None:
    """Print how far the medians of sweeps that should be equal lie apart, and how often they seem to differ."""
    n_pairs = len(found) * (len(found) - 1) // 2
    n_turns = len(found[0][BENCH])
    cell = f"Q8_0, pp{SIZES['prefill'][0]}, 1 thread"
    print(f"\nOne cell in {len(found)} environments, medians of {n_turns} turns ({cell})\n")
    print("| turns of | smallest median | largest | spread | interval, half | seem to differ |")
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
    print(f"\n[lo, hi]: {_kind(n_turns)} over the turns\n", flush=True)


def _span(values: Iterable[float]) -> Span:
    found = span_of(list(values))
    assert found is not None
    return found


def _shown(values: Iterable[float], digits: int = 4) -> str:
    span = _span(values)
    return f"{span.value:.{digits}f} [{span.lo:.{digits}f}, {span.hi:.{digits}f}]"


def _kind(n_turns: int) -> str:
    return "95 % interval" if _span(range(n_turns)).kind == "interval" else "smallest and largest"


def main() -> None:
    """Run the requested parts."""
    parser = argparse.ArgumentParser(
        prog="make bench-layout", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=Path("parity-work"), help="folder of parity, for llama-bench")
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="where figure and data are written")
    parser.add_argument("--only", choices=["offsets", "environments"])
    parser.add_argument("--turns", type=int, default=60, help="of the four offsets")
    arguments = parser.parse_args()
    start = time.perf_counter()
    oracle = Oracle(arguments.work.resolve(), sys.executable)
    paths = files(oracle.work)
    environment = read_environment(probe_backend())
    print(f"synthetic {MODEL} on {environment.cpu_model}, llama.cpp {environment.llama_commit}", flush=True)
    if arguments.only != "environments":
        by_offset(oracle, paths, arguments.turns)
    if arguments.only != "offsets":
        found = in_environments(oracle, paths["Q8_0"])
        print_spread(found)
        rows = write_csv(arguments.docs / "layout-environments.csv", [each.shown for each in ENVIRONMENTS], found)
        draw(arguments.docs / "layout-environments.png", rows, environment.cpu_model)
    print(f"took {(time.perf_counter() - start) / 60:.1f} minutes", file=sys.stderr)


if __name__ == "__main__":
    main()
