"""`make bench-levels`: what each level costs one thread of this CPU, per prompt token and per generated token.

The CPU time of one thread is counted, so that other programs disturb it less than the clock on the wall; levels take
turns in random order, a process each. Prints a table in Markdown, each time as a ratio to Q4_0's of the same round.
The model has synthetic weights and the widths of --width; 2048 are those of TinyLlama-1.1B, of whose 22 layers it has
six, and an output matrix with the same share of its weights.
"""

import argparse
import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from profiler.analysis.stats import median
from quant.sources.prepare import DEFAULT_LEVELS, PrepareOptions, prepare

OTHERS = "Q4_1,Q5_0,Q4_K_S,Q5_K_S,Q3_K_M"
BASE = "Q4_0"
_N_PROMPT, _N_GEN = 16, 12
_HEADS, _KV_HEADS, _LAYERS = 64, 8, 6


class Cost(NamedTuple):
    """CPU nanoseconds of one thread per token."""

    prefill_ns: float
    decode_ns: float


def shape(folder: Path, width: int) -> Path:
    """Write the configuration of a small LLaMA of a width."""
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": width,
        "intermediate_size": width * 11 // 4,
        "num_hidden_layers": _LAYERS,
        "num_attention_heads": width // _HEADS,
        "num_key_value_heads": max(1, width // _HEADS // _KV_HEADS),
        "vocab_size": 4 * width,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": False,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    return folder / "config.json"


def measured(path: Path) -> Cost:
    """Measure one file in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.levels", "--one", str(path)]
    return Cost(*json.loads(subprocess.run(command, check=True, capture_output=True).stdout))


def measure_here(path: Path) -> Cost:
    """Measure one file; this process opens it."""
    from profiler.engine.llama import LlamaEngine
    from profiler.measure.loop import Probes, measure
    from profiler.records.config import base_config
    from profiler.records.round import Conditions, Memory

    config = base_config(mode="separate", n_prompt=_N_PROMPT, n_gen=_N_GEN, n_ctx=256)
    probes = Probes(memory=Memory, conditions=Conditions)
    engine = LlamaEngine(work_buffer_offset_bytes=0)
    found = measure(engine, path, config, reps=2, seed=0, clock=time.process_time_ns, probes=probes)
    prefill_ns = median([float(sample.prefill_ns or 0) for sample in found.samples])
    return Cost(
        prefill_ns / _N_PROMPT, median([float(step_ns) for sample in found.samples for step_ns in sample.decode_ns])
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("bench-levels"))
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--levels", default=f"{DEFAULT_LEVELS},{OTHERS}")
    parser.add_argument("--one", type=Path)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure_here(options.one)))
        return
    config = shape(options.work / f"llama-{options.width}", options.width)
    files = prepare(
        [str(config)], PrepareOptions(levels=options.levels, models_dir=options.work / "models", synthetic=True)
    )
    costs: dict[str, list[Cost]] = {file.artifact.level: [] for file in files}
    for number in range(options.rounds):
        for file in random.Random(number).sample(files, len(files)):
            cost = measured(file.path)
            costs[file.artifact.level].append(cost)
            print(number, file.artifact.level, *(f"{each_ns / 1e6:.2f} ms" for each_ns in cost), file=sys.stderr)
    print(f"width {options.width}, {options.rounds} rounds; CPU time relative to {BASE}\n")
    print("| level | bits per weight | prefill | decode | decode per byte |\n|---|---:|---:|---:|---:|")
    bits = {file.artifact.level: file.artifact.bpw for file in files}
    for level in sorted(costs, key=lambda each: bits[each]):
        pairs = list(zip(costs[level], costs[BASE], strict=True))
        prefill = median([own.prefill_ns / base.prefill_ns for own, base in pairs])
        decode = median([own.decode_ns / base.decode_ns for own, base in pairs])
        per_byte = decode * bits[BASE] / bits[level]
        print(f"| {level} | {bits[level]:.2f} | {prefill:.2f} | {decode:.2f} | {per_byte:.2f} |")


if __name__ == "__main__":
    main()
