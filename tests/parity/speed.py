"""Tokens per second and memory against llama-bench: interleaved rounds, llama-bench against itself as the control.

Each round of a cell runs our worker and llama-bench twice, in a random order. Our ratio is ours to one llama-bench run,
the control's is the other run to the same one. llama-bench runs on the very libraries of the installed package, so what
differs is the harness alone. Memory is `model_rss_bytes` beside the peak of llama-bench's process, as GNU time counts,
less that of a llama-bench that opens no model.
"""

import json
import math
import os
import random
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import llama_cpp

from profiler.analysis.memory_parts import model_rss_of
from profiler.analysis.stats import median, median_interval
from profiler.measure.launch import run_worker
from profiler.measure.repack_probe import repacking_works
from profiler.measure.worker import Job
from profiler.records.config import RunConfig
from profiler.sweep.grid import Axes, expand
from quant.convert.to_gguf import convert
from quant.quantize.levels_of_gguf import quantize
from quant.synthetic.checkpoint import synthesize
from tests.parity.oracle import Oracle
from tests.support.registry import find

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


SETTINGS = (
    *(Setting(model, level, threads) for model in MODELS for level in ("Q4_0", "Q4_K_M", "Q8_0") for threads in (1, 2)),
    *(Setting(model, level, 2) for model in MODELS for level in ("Q5_K_M", "Q6_K", "F16")),
    Setting(LARGE, "Q4_K_M", 2, depth=512),
    Setting(SMALL, "Q8_0", 1, depth=512),
    Setting(LARGE, "Q4_K_M", 1, flash_attn="off"),
    Setting(SMALL, "Q8_0", 2, flash_attn="off"),
    Setting(LARGE, "Q4_0", 2, depth=512, flash_attn="on", cache_type="q8_0"),
    Setting(SMALL, "Q4_K_M", 1, flash_attn="on", cache_type="q8_0"),
)
LEVELS = tuple(dict.fromkeys(setting.level for setting in SETTINGS))
# Runs a command and prints its largest resident size. A small process: a child's begins with its parent's.
_PEAK = (
    "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:]); "
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr); sys.exit(code)"
)
_NS = 1e9
_MIB = 1 << 20


def compare_speed(oracle: Oracle, *, pairs: int, n_prompt: int, n_gen: int) -> tuple[bool, dict[str, Any]]:
    """Measure all cells and judge them by the three bars."""
    print(f"speed against llama-bench: {pairs} rounds per cell, pp{n_prompt} and tg{n_gen}, ratio ours / llama-bench")
    files = _files(oracle)
    seen: dict[tuple[Setting, str], list[tuple[float, float]]] = {}
    rss: dict[Setting, list[tuple[float, float]]] = {}
    bare = _bench(oracle.llama_bench, ["--list-devices"])[1]
    source = random.Random(1)
    for number in range(pairs):
        print(f"  round {number + 1} of {pairs}", flush=True)
        for setting in source.sample(SETTINGS, len(SETTINGS)):
            path = files[setting.model, setting.level]
            found: dict[str, dict[str, float]] = {}
            for who in source.sample(["ours", "bench", "control"], 3):
                if who == "ours":
                    found[who] = _ours(path, setting, n_prompt, n_gen)
                else:
                    found[who] = _theirs(oracle.llama_bench, path, setting, n_prompt, n_gen)
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
    mean = math.exp(statistics.fmean(math.log(row["ratio"]) for row in rows))
    outside = [row for row in rows if row["lo"] > 1.03 or row["hi"] < 0.97]
    spread = median([row["spread"] for row in rows])
    control_spread = median([row["control_spread"] for row in rows])
    print(f"  geometric mean of the ratios {mean:.4f} (bar: 0.98 to 1.02)")
    print(f"  cells wholly outside 3 %: {len(outside)} (bar: 0)")
    print(f"  median spread {spread:.4f} against the control's {control_spread:.4f} (bar: 1.2 times)")
    memory = [row["rss_mib"] / row["bench_rss_mib"] for row in rows]
    rss_ratio = math.exp(statistics.fmean(map(math.log, memory)))
    print(
        f"  memory, ours to llama-bench's: {rss_ratio:.3f} (bar: 0.97 to 1.03), {min(memory):.3f} to {max(memory):.3f} "
        "(bar: 0.94 to 1.06)"
    )
    passed = 0.98 <= mean <= 1.02 and not outside and spread <= 1.2 * control_spread
    passed = passed and 0.97 <= rss_ratio <= 1.03 and 0.94 <= min(memory) <= max(memory) <= 1.06
    return passed, {
        "rows": rows,
        "geometric_mean": mean,
        "outside": len(outside),
        "spread": spread,
        "control_spread": control_spread,
        "rss_ratio": rss_ratio,
        "bare_mib": bare / _MIB,
        "pairs": pairs,
        "n_prompt": n_prompt,
        "n_gen": n_gen,
    }


def _files(oracle: Oracle) -> dict[tuple[str, str], Path]:
    files: dict[tuple[str, str], Path] = {}
    for name in MODELS:
        folder = oracle.work / "synthetic" / name
        if not folder.exists():
            synthesize(dict(find(name).config), folder, standin_for=name)
        base = oracle.work / "speed" / f"{name}-F16.gguf"
        if not base.exists():
            convert(folder, base, outtype="f16")
        files |= {(name, each.level): each.path for each in quantize(base, list(LEVELS), base.parent)}
    return files


def _ours(path: Path, setting: Setting, n_prompt: int, n_gen: int) -> dict[str, float]:
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
    answer = run_worker(Job(path=str(path), config=config, reps=2, seed=0), timeout_s=600)
    assert answer.measured is not None, answer.failure
    samples = answer.measured.samples
    return {
        "prefill": n_prompt * _NS / median([sample.prefill_ns or 0 for sample in samples]),
        "decode": n_gen * _NS / median([sum(sample.decode_ns) for sample in samples]),
        "rss": model_rss_of(answer.measured.memory) or 0,
    }


def _repack() -> bool:
    """Return whether both sides repack: not where llama.cpp crashes of it."""
    return repacking_works()


def _theirs(binary: Path, path: Path, setting: Setting, n_prompt: int, n_gen: int) -> dict[str, float]:
    tests = ["-p", str(n_prompt), "-n", str(n_gen), "-d", str(setting.depth), "-r", "2"]
    cache = ["-ctk", setting.cache_type, "-ctv", setting.cache_type, "-fa", setting.flash_attn]
    system = ["-t", str(setting.threads), "-ngl", "0", "--repack", "1" if _repack() else "0"]
    output, peak = _bench(binary, ["-m", str(path), *tests, *cache, *system, "-o", "json"])
    found: dict[str, float] = {"rss": peak}
    for row in json.loads(output):
        tokens = row["n_prompt"] or row["n_gen"]
        found["prefill" if row["n_prompt"] else "decode"] = tokens * _NS / median(row["samples_ns"])
    return found


def _bench(binary: Path, arguments: list[str]) -> tuple[str, int]:
    """Run llama-bench; return what it wrote, and the largest resident size of its process in bytes."""
    libraries = str(Path(llama_cpp.__file__).parent / "lib")
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _PEAK, str(binary), *arguments],
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


def _spread(ratios: list[float]) -> float:
    """Median absolute deviation of the logarithms: one disturbed round does not rule it."""
    logs = [math.log(ratio) for ratio in ratios]
    middle = median(logs)
    return median([abs(value - middle) for value in logs])
