"""Tokens per second against llama-bench: interleaved rounds, with llama-bench against itself as the control.

Each round of a cell runs our worker and llama-bench twice, in a random order. Our ratio is ours to one llama-bench run,
the control's is the other run to the same one. llama-bench runs on the very libraries of the installed package, so what
differs is the harness alone.
"""

import json
import math
import os
import random
import statistics
import subprocess
from pathlib import Path
from typing import Any

import llama_cpp

from profiler.backend import probe_backend
from profiler.cell import RunConfig
from profiler.launch import run_worker
from profiler.plan import Axes, expand
from profiler.stats import median, median_interval
from profiler.worker import Job
from quant.convert import convert
from quant.quantize import quantize
from quant.registry import find
from quant.synthesize import synthesize
from tests.parity.oracle import Oracle

MODELS = ("smollm2-135m", "qwen2-0.5b")
LEVELS = ("Q4_0", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0", "F16")
THREADS = (1, 2)
_NS = 1e9


def compare_speed(oracle: Oracle, *, pairs: int, n_prompt: int, n_gen: int) -> tuple[bool, dict[str, Any]]:
    """Measure all cells and judge them by the three bars."""
    print(f"speed against llama-bench: {pairs} rounds per cell, pp{n_prompt} and tg{n_gen}, ratio ours / llama-bench")
    cells = [(name, path, threads) for name, path in _files(oracle) for threads in THREADS]
    seen: dict[tuple[str, int, str], list[tuple[float, float]]] = {}
    source = random.Random(1)
    for _ in range(pairs):
        for name, path, threads in source.sample(cells, len(cells)):
            found: dict[str, dict[str, float]] = {}
            for who in source.sample(["ours", "bench", "control"], 3):
                if who == "ours":
                    found[who] = _ours(path, threads, n_prompt, n_gen)
                else:
                    found[who] = _bench(oracle.llama_bench, path, threads, n_prompt, n_gen)
            for test in ("prefill", "decode"):
                ratio = found["ours"][test] / found["bench"][test]
                control = found["control"][test] / found["bench"][test]
                seen.setdefault((name, threads, test), []).append((ratio, control))
    rows = [_judge(key, values) for key, values in sorted(seen.items())]
    for row in rows:
        print(
            f"  {row['model']:22} t{row['threads']} {row['test']:8} ours {row['ratio']:.3f} "
            f"[{row['lo']:.3f}, {row['hi']:.3f}]  control {row['control']:.3f}  "
            f"spread {row['spread']:.4f} against {row['control_spread']:.4f}"
        )
    mean = math.exp(statistics.fmean(math.log(row["ratio"]) for row in rows))
    outside = [row for row in rows if row["lo"] > 1.03 or row["hi"] < 0.97]
    spread = median([row["spread"] for row in rows])
    control_spread = median([row["control_spread"] for row in rows])
    print(f"  geometric mean of the ratios {mean:.4f} (bar: 0.98 to 1.02)")
    print(f"  cells wholly outside 3 %: {len(outside)} (bar: 0)")
    print(f"  median spread {spread:.4f} against the control's {control_spread:.4f} (bar: 1.2 times)")
    passed = 0.98 <= mean <= 1.02 and not outside and spread <= 1.2 * control_spread
    return passed, {
        "rows": rows,
        "geometric_mean": mean,
        "outside": len(outside),
        "spread": spread,
        "control_spread": control_spread,
        "pairs": pairs,
        "n_prompt": n_prompt,
        "n_gen": n_gen,
    }


def _files(oracle: Oracle) -> list[tuple[str, Path]]:
    files = []
    for name in MODELS:
        folder = oracle.work / "synthetic" / name
        if not folder.exists():
            synthesize(dict(find(name).config), folder, standin_for=name)
        base = oracle.work / "speed" / f"{name}-F16.gguf"
        if not base.exists():
            convert(folder, base, outtype="f16")
        files += [(f"{name} {each.level}", each.path) for each in quantize(base, list(LEVELS), base.parent)]
    return files


def _ours(path: Path, threads: int, n_prompt: int, n_gen: int) -> dict[str, float]:
    (cell,) = expand(Axes(threads=(threads,), prompt=(n_prompt,), gen=(n_gen,), repack=(_repack(),)), ["file"])
    config: RunConfig = cell.config
    answer = run_worker(Job(path=str(path), config=config, reps=2, seed=0), timeout_s=600)
    assert answer.measured is not None, answer.failure
    samples = answer.measured.samples
    return {
        "prefill": n_prompt * _NS / median([sample.prefill_ns or 0 for sample in samples]),
        "decode": n_gen * _NS / median([sum(sample.decode_ns) for sample in samples]),
    }


def _repack() -> bool:
    """Tell whether both sides repack: not where llama.cpp crashes of it."""
    return probe_backend().repacking_works is not False


def _bench(binary: Path, path: Path, threads: int, n_prompt: int, n_gen: int) -> dict[str, float]:
    libraries = str(Path(llama_cpp.__file__).parent / "lib")
    command = [str(binary), "-m", str(path), "-t", str(threads), "-p", str(n_prompt), "-n", str(n_gen)]
    output = subprocess.run(
        [*command, "-r", "2", "-ngl", "0", "--repack", "1" if _repack() else "0", "-o", "json"],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "LD_LIBRARY_PATH": libraries, "DYLD_LIBRARY_PATH": libraries},
    ).stdout
    rates = {}
    for row in json.loads(output):
        tokens = row["n_prompt"] or row["n_gen"]
        rates["prefill" if row["n_prompt"] else "decode"] = tokens * _NS / median(row["samples_ns"])
    return rates


def _judge(key: tuple[str, int, str], values: list[tuple[float, float]]) -> dict[str, Any]:
    ratios, controls = [ratio for ratio, _ in values], [control for _, control in values]
    interval = median_interval(ratios)
    assert interval is not None
    return {
        "model": key[0],
        "threads": key[1],
        "test": key[2],
        "ratio": median(ratios),
        "lo": interval.lo,
        "hi": interval.hi,
        "control": median(controls),
        "spread": _spread(ratios),
        "control_spread": _spread(controls),
        "ratios": ratios,
        "controls": controls,
    }


def _spread(ratios: list[float]) -> float:
    """Median absolute deviation of the logarithms: one disturbed round does not rule it."""
    logs = [math.log(ratio) for ratio in ratios]
    middle = median(logs)
    return median([abs(value - middle) for value in logs])
