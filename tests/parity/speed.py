"""Tokens per second and memory against llama-bench: turns of three programs, llama-bench against itself as the control.

Our measuring loop and llama-bench twice stay loaded and take turns (taking_turns.py), a repetition each, in a random
order. Our ratio is ours to one llama-bench, the control's is the other llama-bench to the same one. llama-bench runs on
the very libraries of the installed package, so what differs is the harness alone; and all three have the same memory
layout, which else is an accident of each program: a quarter of the turns at each of four. Memory is `model_rss_bytes`
beside the peak of llama-bench's process, as GNU time counts, less that of a llama-bench that opens no model.
"""

import math
import random
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from profiler.analysis.memory_parts import model_rss_of
from profiler.analysis.stats import median, median_interval
from profiler.engine.memory_layout import offset_of
from profiler.measure.repack_probe import repacking_works
from profiler.measure.worker import Job
from profiler.sweep.grid import Axes, expand
from tests.parity.llama_bench import OFFSET, bench_program, bench_times_ns, peak_of, peak_without_model
from tests.parity.oracle import Oracle, run
from tests.parity.taking_turns import Program, take_turns
from tests.parity.turn_worker import measured_by, program, times_ns

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
OFFSETS = tuple(offset_of(number) for number in range(4))
MOST_OFF = 0.01  # of the geometric mean from the control's
MOST_OFF_CELL = 0.02
_NEAR = f"bar: {MOST_OFF:.0%} apart"
_MIB = 1 << 20


def compare_speed(
    oracle: Oracle, settings: Sequence[Setting], *, turns: int, n_prompt: int, n_gen: int
) -> tuple[bool, dict[str, Any]]:
    """Measure cells and judge them by the bars; `turns` of the three programs at each of the four offsets."""
    print(
        f"speed against llama-bench: {turns * len(OFFSETS)} turns per cell, pp{n_prompt} and tg{n_gen}, "
        "ratio ours / llama-bench"
    )
    bare = peak_without_model(oracle)
    order = random.Random(1)
    rows = []
    for setting in settings:
        for test, size in (("prefill", (n_prompt, 0)), ("decode", (0, n_gen))):
            values: list[tuple[float, float]] = []
            rss: list[tuple[float, float]] = []
            for offset_bytes in OFFSETS:
                times, memory = _three(oracle, setting, size, turns, offset_bytes, order)
                values += [
                    (bench / ours, bench / control)
                    for ours, bench, control in zip(times["ours"], times["bench"], times["control"], strict=True)
                ]
                rss.append((memory["ours"], memory["bench"] - bare))
            rows.append(_judge(setting, test, values, rss))
            print(_line(rows[-1]), flush=True)
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
        "spread": spread,
        "control_spread": control_spread,
        "rss_ratio": rss_ratio,
        "bare_mib": bare / _MIB,
        "n_turns": turns * len(OFFSETS),
        "n_prompt": n_prompt,
        "n_gen": n_gen,
    }


def _file(oracle: Oracle, setting: Setting) -> Path:
    folder = oracle.work / "speed"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{setting.model}-{setting.level}.gguf"
    if not path.exists():
        run([sys.executable, "-m", "profiler", "synthesize", setting.model, "-q", setting.level, "-o", str(path)])
    return path


def _ours(path: Path, setting: Setting, size: tuple[int, int], reps: int, offset_bytes: int) -> Job:
    axes = Axes(
        threads=(setting.threads,),
        prompt=(size[0],),
        gen=(size[1],),
        depth=(setting.depth,),
        fa=(setting.flash_attn,),
        ctk=(setting.cache_type,),
        ctv=(setting.cache_type,),
        repack=(_repack(),),
    )
    (cell,) = expand(axes, ["file"])
    return Job(path=str(path), config=cell.config, reps=reps, seed=0, work_buffer_offset_bytes=offset_bytes)


def _repack() -> bool:
    """Return whether both sides repack: not where llama.cpp crashes of it."""
    return repacking_works()


def _theirs(
    oracle: Oracle, path: Path, setting: Setting, size: tuple[int, int], reps: int, offset_bytes: int
) -> Program:
    depth = ["-d", str(setting.depth)]
    cache = ["-ctk", setting.cache_type, "-ctv", setting.cache_type, "-fa", setting.flash_attn]
    system = ["-t", str(setting.threads), "-ngl", "0", "--repack", "1" if _repack() else "0"]
    placed = {OFFSET: str(offset_bytes)}
    return bench_program(oracle, path, size, reps, [*depth, *cache, *system], placed)


def _three(
    oracle: Oracle,
    setting: Setting,
    size: tuple[int, int],
    turns: int,
    offset_bytes: int,
    order: random.Random,
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Return the times of the turns and the memory in bytes: of ours, one llama-bench and another."""
    path = _file(oracle, setting)
    job = _ours(path, setting, size, turns + 1, offset_bytes)
    bench = _theirs(oracle, path, setting, size, turns + 1, offset_bytes)
    programs = {"ours": program(job), "bench": bench, "control": bench}
    written = take_turns(oracle.work / "speed", programs, turns, order)
    measured = measured_by(job, written["ours"][0])
    times = {"ours": times_ns(measured)[:turns]}
    memory = {"ours": float(model_rss_of(measured.memory) or 0)}
    for name in ("bench", "control"):
        times[name] = bench_times_ns(written[name][0])[:turns]
        memory[name] = peak_of(written[name][1])
    return times, memory


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


def _line(row: Mapping[str, Any]) -> str:
    return (
        f"  {row['model']:19} {row['setting']:18} t{row['threads']} {row['test']:8} ours {row['ratio']:.3f} "
        f"[{row['lo']:.3f}, {row['hi']:.3f}]  control {row['control']:.3f}  "
        f"spread {row['spread']:.4f} against {row['control_spread']:.4f}  "
        f"memory {row['rss_mib']:.0f} against {row['bench_rss_mib']:.0f} MiB"
    )


def _geometric_mean(ratios: Sequence[float]) -> float:
    return math.exp(statistics.fmean(map(math.log, ratios)))


def _spread(ratios: list[float]) -> float:
    """Median absolute deviation of the logarithms: one disturbed round does not rule it."""
    logs = [math.log(ratio) for ratio in ratios]
    middle = median(logs)
    return median([abs(value - middle) for value in logs])
