"""Tokens per second and memory against llama-bench: interleaved rounds, llama-bench against itself as the control.

Each round of a cell runs our worker and llama-bench twice, in a random order. Our ratio is ours to one llama-bench run,
the control's is the other run to the same one. llama-bench runs on the very libraries of the installed package, so what
differs is the harness alone; and all three processes of a round have the same memory layout, which else is an accident
of each program that every round repeats. Memory is `model_rss_bytes` beside the peak of llama-bench's process, as GNU
time counts, less that of a llama-bench that opens no model.
"""

import json
import math
import os
import random
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import llama_cpp

from profiler.analysis.memory_parts import model_rss_of
from profiler.analysis.stats import median, median_interval
from profiler.engine.memory_layout import UNCONTROLLED, offset_of
from profiler.measure.launch import run_worker
from profiler.measure.repack_probe import repacking_works
from profiler.measure.worker import Job
from profiler.records.config import RunConfig
from profiler.sweep.grid import Axes, expand
from tests.parity.oracle import Oracle, run
from tests.parity.work_buffer import placed, placing_library

MODELS = SMALL, LARGE = ("smollm2-135m", "qwen2-0.5b")


class Setting(NamedTuple):
    """One cell: a file, and the settings of both sides."""

    model: str
    level: str
    threads: int
    depth: int = 0
    flash_attn: str = "auto"
    cache_type: str = "f16"  # of keys and values

    @property
    def shown(self) -> str:
        """What differs from the usual."""
        told = [f"d{self.depth}"] if self.depth else []
        told += [f"fa {self.flash_attn}"] if self.flash_attn != "auto" else []
        told += [f"KV {self.cache_type}"] if self.cache_type != "f16" else []
        return ", ".join(told)


SIX = (
    Setting(SMALL, "Q8_0", 1),
    Setting(SMALL, "Q4_0", 1),
    Setting(SMALL, "Q4_K_M", 1),
    Setting(SMALL, "F16", 2),
    Setting(LARGE, "Q4_0", 2),
    Setting(LARGE, "Q4_K_M", 2),
)
EVERY = (
    *(Setting(model, level, threads) for model in MODELS for level in ("Q4_0", "Q4_K_M", "Q8_0") for threads in (1, 2)),
    *(Setting(model, level, 2) for model in MODELS for level in ("Q5_K_M", "Q6_K", "F16")),
    Setting(LARGE, "Q4_K_M", 2, depth=512),
    Setting(SMALL, "Q8_0", 1, depth=512),
    Setting(LARGE, "Q4_K_M", 1, flash_attn="off"),
    Setting(SMALL, "Q8_0", 2, flash_attn="off"),
    Setting(LARGE, "Q4_0", 2, depth=512, flash_attn="on", cache_type="q8_0"),
    Setting(SMALL, "Q4_K_M", 1, flash_attn="on", cache_type="q8_0"),
)
MOST_OFF = 0.01  # of the geometric mean from the control's
MOST_OFF_CELL = 0.02
_NEAR = f"bar: {MOST_OFF:.0%} apart"
# Runs a command with more variables and prints its largest resident size. A small process: a child's begins with its
# parent's.
_PEAK = (
    "import json, os, resource, subprocess, sys; more = json.loads(sys.argv[1]); "
    "code = subprocess.call(sys.argv[2:], env={**os.environ, **more}); "
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr); sys.exit(code)"
)
_NS = 1e9
_MIB = 1 << 20


def compare_speed(
    oracle: Oracle, settings: Sequence[Setting], *, pairs: int, n_prompt: int, n_gen: int
) -> tuple[bool, dict[str, Any]]:
    """Measure cells and judge them by the bars."""
    print(f"speed against llama-bench: {pairs} rounds per cell, pp{n_prompt} and tg{n_gen}, ratio ours / llama-bench")
    files = _files(oracle, settings)
    library = placing_library(oracle.work / "speed")
    seen: dict[tuple[Setting, str], list[tuple[float, float]]] = {}
    rss: dict[Setting, list[tuple[float, float]]] = {}
    bare = run_bench(oracle.llama_bench, ["--list-devices"])[1]
    source = random.Random(1)
    for number in range(pairs):
        print(f"  round {number + 1} of {pairs}", flush=True)
        offset_bytes = offset_of(number)
        for setting in source.sample(settings, len(settings)):
            path = files[setting.model, setting.level]
            found: dict[str, dict[str, float]] = {}
            for who in source.sample(["ours", "bench", "control"], 3):
                if who == "ours":
                    found[who] = _ours(path, setting, n_prompt, n_gen, offset_bytes if library else None)
                else:
                    tests = ["-p", str(n_prompt), "-n", str(n_gen)]
                    found[who] = _theirs(oracle.llama_bench, path, setting, tests, placed(library, offset_bytes))
            for test in ("prefill", "decode"):
                ratio = found["ours"][test] / found["bench"][test]
                control = found["control"][test] / found["bench"][test]
                seen.setdefault((setting, test), []).append((ratio, control))
            rss.setdefault(setting, []).append((found["ours"]["rss"], found["bench"]["rss"] - bare))
    rows = [_judge(*key, values, rss[key[0]]) for key, values in sorted(seen.items())]
    for row in rows:
        print(
            f"  {row['model']:19} {row['setting']:18} t{row['threads']} {row['test']:8} ours {row['ratio']:.3f} "
            f"[{row['lo']:.3f}, {row['hi']:.3f}]  control {row['control']:.3f}  "
            f"spread {row['spread']:.4f} against {row['control_spread']:.4f}  "
            f"memory {row['rss_mib']:.0f} against {row['bench_rss_mib']:.0f} MiB"
        )
    means = {
        test: {key: _geometric_mean([row[key] for row in rows if row["test"] == test]) for key in ("ratio", "control")}
        for test in ("prefill", "decode")
    }
    far = [row for row in rows if abs(row["ratio"] - 1) > MOST_OFF_CELL >= abs(row["control"] - 1)]
    spread = median([row["spread"] for row in rows])
    control_spread = median([row["control_spread"] for row in rows])
    for test, mean in means.items():
        print(f"  geometric mean, {test}: {mean['ratio']:.4f}, control {mean['control']:.4f} ({_NEAR})")
    print(f"  cells off by more than {MOST_OFF_CELL:.0%} whose control is not: {len(far)} (bar: 0)")
    print(f"  median spread {spread:.4f} against the control's {control_spread:.4f} (bar: 1.2 times)")
    memory = [row["rss_mib"] / row["bench_rss_mib"] for row in rows]
    rss_ratio = _geometric_mean(memory)
    print(
        f"  memory, ours to llama-bench's: {rss_ratio:.3f} (bar: 0.97 to 1.03), {min(memory):.3f} to {max(memory):.3f} "
        "(bar: 0.94 to 1.06)"
    )
    passed = all(abs(mean["ratio"] / mean["control"] - 1) <= MOST_OFF for mean in means.values()) and not far
    passed = passed and spread <= 1.2 * control_spread
    passed = passed and 0.97 <= rss_ratio <= 1.03 and 0.94 <= min(memory) <= max(memory) <= 1.06
    return passed, {
        "rows": rows,
        "means": means,
        "far": len(far),
        "placed": library is not None,
        "spread": spread,
        "control_spread": control_spread,
        "rss_ratio": rss_ratio,
        "bare_mib": bare / _MIB,
        "pairs": pairs,
        "n_prompt": n_prompt,
        "n_gen": n_gen,
    }


def _files(oracle: Oracle, settings: Sequence[Setting]) -> dict[tuple[str, str], Path]:
    folder = oracle.work / "speed"
    folder.mkdir(parents=True, exist_ok=True)
    files = {(each.model, each.level): folder / f"{each.model}-{each.level}.gguf" for each in settings}
    for (model, level), path in files.items():
        if not path.exists():
            run([sys.executable, "-m", "profiler", "synthesize", model, "-q", level, "-o", str(path)])
    return files


def _ours(path: Path, setting: Setting, n_prompt: int, n_gen: int, offset_bytes: int | None) -> dict[str, float]:
    axes = Axes(
        threads=(setting.threads,),
        prompt=(n_prompt,),
        gen=(n_gen,),
        depth=(setting.depth,),
        fa=(setting.flash_attn,),
        ctk=(setting.cache_type,),
        ctv=(setting.cache_type,),
        repack=(_repack(),),
    )
    (cell,) = expand(axes, ["file"])
    config: RunConfig = cell.config
    job = Job(path=str(path), config=config, reps=2, seed=0, work_buffer_offset_bytes=offset_bytes)
    answer = run_worker(job, timeout_s=600)
    assert answer.measured is not None, answer.failure
    assert answer.measured.in_force.layout == (UNCONTROLLED if offset_bytes is None else str(offset_bytes))
    samples = answer.measured.samples
    return {
        "prefill": n_prompt * _NS / median([sample.prefill_ns or 0 for sample in samples]),
        "decode": n_gen * _NS / median([sum(sample.decode_ns) for sample in samples]),
        "rss": model_rss_of(answer.measured.memory) or 0,
    }


def _repack() -> bool:
    """Return whether both sides repack: not where llama.cpp crashes of it."""
    return repacking_works()


def _theirs(
    binary: Path, path: Path, setting: Setting, tests: Sequence[str], variables: Mapping[str, str]
) -> dict[str, float]:
    tests = [*tests, "-d", str(setting.depth), "-r", "2"]
    cache = ["-ctk", setting.cache_type, "-ctv", setting.cache_type, "-fa", setting.flash_attn]
    system = ["-t", str(setting.threads), "-ngl", "0", "--repack", "1" if _repack() else "0"]
    output, peak = run_bench(binary, ["-m", str(path), *tests, *cache, *system, "-o", "json"], variables)
    found: dict[str, float] = {"rss": peak}
    for row in json.loads(output):
        tokens = row["n_prompt"] or row["n_gen"]
        found["prefill" if row["n_prompt"] else "decode"] = tokens * _NS / median(row["samples_ns"])
    return found


def run_bench(binary: Path, arguments: Sequence[str], variables: Mapping[str, str] | None = None) -> tuple[str, int]:
    """Run llama-bench; return what it wrote, and the largest resident size of its process in bytes."""
    libraries = str(Path(llama_cpp.__file__).parent / "lib")
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _PEAK, json.dumps(variables or {}), str(binary), *arguments],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "LD_LIBRARY_PATH": libraries, "DYLD_LIBRARY_PATH": libraries},
    )
    peak = int(done.stderr.split()[-1])
    return done.stdout, peak * (1 if sys.platform == "darwin" else 1024)


def _judge(
    setting: Setting, test: str, values: list[tuple[float, float]], rss: list[tuple[float, float]]
) -> dict[str, Any]:
    ratios, controls = [ratio for ratio, _ in values], [control for _, control in values]
    interval = median_interval(ratios)
    assert interval is not None
    return {
        "model": f"{setting.model} {setting.level}",
        "threads": setting.threads,
        "setting": setting.shown,
        "test": test,
        "ratio": median(ratios),
        "lo": interval.lo,
        "hi": interval.hi,
        "control": median(controls),
        "spread": _spread(ratios),
        "control_spread": _spread(controls),
        "rss_mib": median([ours for ours, _ in rss]) / _MIB,
        "bench_rss_mib": median([theirs for _, theirs in rss]) / _MIB,
        "ratios": ratios,
        "controls": controls,
    }


def _geometric_mean(ratios: Sequence[float]) -> float:
    return math.exp(statistics.fmean(map(math.log, ratios)))


def _spread(ratios: list[float]) -> float:
    """Median absolute deviation of the logarithms: one disturbed round does not rule it."""
    logs = [math.log(ratio) for ratio in ratios]
    middle = median(logs)
    return median([abs(value - middle) for value in logs])
