"""`make bench-predict`: predicted speeds of shapes that no calibration loads, against measured ones.

Twelve shapes (dense, grouped heads, tied and untied, an expert model, recurrent ones) at levels from Q2_K to F16, with
1 and 2 threads, all at depth 0, the first level of each shape at depth 512 too, the last one at depth 2048. Each cell
is measured in a process of its own, in random order, after a calibration of its own. Prefill is of 128 tokens, decode
of 32. Prints a table in Markdown.

Fails where the median absolute error of a phase is above 8 %, its 90th percentile above 18 %, or the predicted range
holds fewer than 84 or more than 96 % of all values.
"""

import argparse
import json
import random
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from profiler.analysis.stats import median
from profiler.calibration.run import calibrate
from profiler.device.environment import available_memory_bytes, probe_backend, read_environment
from profiler.estimate.estimate_models import EstimateRequest, estimate_all
from profiler.estimate.overheads import load_overheads
from profiler.measure.launch import run_worker
from profiler.measure.worker import Job
from profiler.predict.records import GraphWork
from profiler.predict.speed import Load, Predictor
from profiler.records.calibration import Calibration
from profiler.records.config import RunConfig, base_config
from profiler.records.span import Span
from quant.sources.prepare import PrepareOptions, prepare
from quant.sources.resolve import resolve

N_PROMPT, N_GEN = 128, 32
REPS = {0: 3, 512: 2, 2048: 1}  # by depth: the cache is filled for each of them
CELLS = {  # the levels of each shape
    "pythia-70m": ("F16", "Q8_0"),
    "smollm2-135m": ("Q4_0", "Q8_0", "F16"),
    "rwkv7-168m-pile": ("Q8_0",),
    "gemma-3-270m": ("Q4_K_M", "Q8_0"),
    "lfm2-350m": ("Q4_K_M", "Q4_0"),
    "qwen2.5-0.5b": ("Q4_0", "Q6_K"),
    "falcon-h1-0.5b": ("Q4_K_M",),
    "qwen3-0.6b": ("Q5_K_M", "IQ4_XS"),
    "tinyllama-1.1b": ("Q2_K", "Q4_K_M"),
    "llama-3.2-1b": ("IQ4_NL",),
    "granite-3.0-1b-a400m": ("Q4_K_M",),
    "qwen2.5-1.5b": ("Q4_0",),
}
MEDIAN, NINETIETH, HELD = 0.08, 0.18, (0.84, 0.96)


class Cell(NamedTuple):
    """What is predicted and measured."""

    shape: str
    level: str
    n_threads: int
    depth: int


def loads(levels: Sequence[str]) -> list[tuple[str, int]]:
    """Return levels and depths of a shape."""
    return [*((level, 0) for level in levels), (levels[0], 512), (levels[-1], 2048)]


def config_of(cell: Cell) -> RunConfig:
    """Return the settings of a cell."""
    return base_config(
        mode="separate",
        n_prompt=N_PROMPT,
        n_gen=N_GEN,
        n_depth=cell.depth,
        n_ctx=cell.depth + N_PROMPT,
        n_threads=cell.n_threads,
        n_threads_batch=cell.n_threads,
    )


def measured(cell: Cell, models: Path) -> dict[str, float]:
    """Return the median rates of a cell."""
    (file,) = prepare([cell.shape], PrepareOptions(levels=cell.level, synthetic=True, models_dir=models))
    answer = run_worker(Job(path=str(file.path), config=config_of(cell), reps=REPS[cell.depth], seed=0), timeout_s=None)
    if answer.measured is None:
        sys.exit(f"{cell}: {answer.failure}")
    samples = answer.measured.samples
    step_ns = median([float(step) for sample in samples for step in sample.decode_ns])
    prefill_ns = median([float(sample.prefill_ns or 0) for sample in samples])
    return {"prefill": N_PROMPT * 1e9 / prefill_ns, "decode": 1e9 / step_ns}


def graphs_of(shape: str, level: str, calibration: Calibration) -> tuple[GraphWork, ...]:
    """Return what llama.cpp would compute, without the file."""
    request = EstimateRequest(
        levels=level,
        configs=(base_config(n_prompt=N_PROMPT, n_ctx=4096, load_mode="none"),),
        load_modes=("none",),
        with_graphs=True,
    )
    (found,) = estimate_all([resolve(shape)], request, partial(load_overheads, calibration.env_id), n_processes=1)
    return tuple(found.estimates[0].level.graphs)


def predicted(cell: Cell, graphs: tuple[GraphWork, ...], calibration: Calibration) -> dict[str, Span]:
    """Return the predicted rates of a cell, each with its range."""
    speeds = Predictor(calibration, Load.of(config_of(cell))).speeds(graphs)
    assert speeds is not None
    return {"prefill": speeds.prefill_tps, "decode": speeds.decode_tps}


def calibrated(work: Path) -> Calibration:
    """Calibrate, or take the calibration of the folder, which is begun again with each new folder."""
    kept = work / "calibration.json"
    if not kept.exists():
        env_id = read_environment(probe_backend()).id
        found = calibrate(env_id, (1, 2), repack=True, budget_s=90, available_bytes=available_memory_bytes())
        kept.write_bytes(msgspec.json.encode(found))
    return msgspec.json.decode(kept.read_bytes(), type=Calibration)


def main() -> None:
    """Calibrate, predict, measure and print. What the folder holds is not measured again.

    Raises:
        SystemExit: a bar is missed.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("bench-predict"))
    parser.add_argument("--models", type=Path, help="of the synthetic files, 6 GB; by default in the work folder")
    parser.add_argument("--shapes", help="only these")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    calibration = calibrated(arguments.work)
    print(f"calibrated in {calibration.took_s:.0f} s")
    shapes = arguments.shapes.split(",") if arguments.shapes else CELLS
    graphs = {(s, level): graphs_of(s, level, calibration) for s in shapes for level in CELLS[s]}
    (arguments.work / "graphs.json").write_bytes(msgspec.json.encode([[*key, each] for key, each in graphs.items()]))
    cells = [Cell(s, level, n, depth) for s in shapes for level, depth in loads(CELLS[s]) for n in (1, 2)]
    random.Random(arguments.seed).shuffle(cells)
    results = arguments.work / "measured.jsonl"
    lines = results.read_text().splitlines() if results.exists() else []
    there = {Cell(*cell): rates for cell, rates in map(json.loads, lines)}
    for cell in cells:
        if cell not in there:
            there[cell] = measured(cell, arguments.models or arguments.work / "models")
            with results.open("a") as out:
                out.write(json.dumps([cell, there[cell]]) + "\n")
    rows = [
        {**cell._asdict(), "phase": phase, "measured": there[cell][phase], "predicted": span}
        for cell in cells
        for phase, span in predicted(cell, graphs[cell.shape, cell.level], calibration).items()
    ]
    missed = report(rows)
    if missed:
        sys.exit("missed: " + "; ".join(missed))


def report(rows: list[dict[str, Any]]) -> list[str]:
    """Print the tables; return the bars that are missed."""
    print("\n| shape | level | threads | depth | phase | measured t/s | predicted | range | off |\n|" + "---|" * 9)
    for row in sorted(rows, key=lambda row: (row["phase"], row["shape"], row["level"], row["n_threads"], row["depth"])):
        span = row["predicted"]
        off = span.value / row["measured"] - 1
        print(
            f"| {row['shape']} | {row['level']} | {row['n_threads']} | {row['depth']} | {row['phase']} "
            f"| {row['measured']:.4g} | {span.value:.4g} | {span.lo:.4g} to {span.hi:.4g} | {off:+.1%} |"
        )
    missed = []
    for phase in ("prefill", "decode"):
        errors = sorted(abs(row["predicted"].value / row["measured"] - 1) for row in rows if row["phase"] == phase)
        middle, ninetieth = median(errors), errors[int(0.9 * (len(errors) - 1))]
        print(f"\n{phase}: median error {middle:.1%}, 90 % of {len(errors)} within {ninetieth:.1%}")
        if middle > MEDIAN or ninetieth > NINETIETH:
            missed.append(f"{phase}: {middle:.1%} and {ninetieth:.1%}")
    held = sum(row["predicted"].lo <= row["measured"] <= row["predicted"].hi for row in rows) / len(rows)
    print(f"\nthe range holds {held:.1%} of {len(rows)} values")
    return missed if HELD[0] <= held <= HELD[1] else [*missed, f"the range holds {held:.1%}"]


if __name__ == "__main__":
    main()
