"""`make bench-convert`: conversion and quantization compared with llama.cpp's own, as whole processes, interleaved.

For each pair of commands: a warm-up of both, then both in a random order, several times; the median of the ratios, each
side's median wall time and the largest peak memory. On the disk of --work and in memory (--ram, where there is such a
folder). The page cache is warm: the warm-up has read everything.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.parity.oracle import Oracle

TEN_LEVELS = "Q2_K,Q3_K_S,Q3_K_M,Q3_K_L,Q4_0,Q4_K_S,Q4_K_M,Q5_K_M,Q6_K,Q8_0"
QWEN2_05B = {
    "architecture": "Qwen2ForCausalLM", "hidden": 896, "layers": 24, "heads": 14, "kv_heads": 2, "ffn": 4864,
    "vocab": 151936, "context": 32768, "style": "qwen2",
}  # fmt: skip
LLAMA_11B = {
    "hidden": 2048, "layers": 22, "heads": 32, "kv_heads": 4, "ffn": 5632, "vocab": 32000, "context": 2048,
    "tie": False,
}  # fmt: skip
_MIB = 1 << 20


class Run(NamedTuple):
    """One process as the system accounts for it."""

    wall_s: float
    cpu_s: float
    peak_bytes: int  # of the largest process in it


def timed(commands: list[list[str]], env: dict[str, str]) -> Run:
    """Run commands one after the other and add up their times."""
    wall = cpu = 0.0
    peak = 0
    for command in commands:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)
        _, status, usage = os.wait4(process.pid, 0)
        wall += time.perf_counter() - start
        if status:
            raise SystemExit(f"bench: '{' '.join(command[:4])} ...' failed with status {status}")
        cpu += usage.ru_utime + usage.ru_stime
        peak = max(peak, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))
    return Run(wall, cpu, peak)


def compare(
    name: str,
    ours: list[list[str]],
    theirs: list[list[str]],
    *,
    runs: int,
    env: dict[str, str],
    clean: Callable[[], None],
) -> dict[str, object]:
    """Time two sides in interleaved pairs and print the figures; ratios are ours to theirs."""
    source = random.Random(0)
    seen: dict[str, list[Run]] = {"ours": [], "theirs": []}
    sides = {"ours": ours, "theirs": theirs}
    for index in range(runs + 1):
        for side in source.sample(list(sides), 2):
            clean()
            found = timed(sides[side], env)
            if index:
                seen[side].append(found)
    ratios = [one.wall_s / other.wall_s for one, other in zip(seen["ours"], seen["theirs"], strict=True)]
    row: dict[str, object] = {"name": name, "ratio": statistics.median(ratios), "ratios": ratios}
    for side, found in seen.items():
        row[side] = {
            "wall_s": statistics.median(run.wall_s for run in found),
            "cpu_s": statistics.median(run.cpu_s for run in found),
            "peak_mib": max(run.peak_bytes for run in found) / _MIB,
        }
    one, other = row["ours"], row["theirs"]
    assert isinstance(one, dict)
    assert isinstance(other, dict)
    print(
        f"{name:44} ratio {row['ratio']:.3f} [{min(ratios):.3f}, {max(ratios):.3f}]  wall {one['wall_s']:.2f} against "
        f"{other['wall_s']:.2f} s, cpu {one['cpu_s']:.2f} against {other['cpu_s']:.2f} s, "
        f"peak {one['peak_mib']:.0f} against {other['peak_mib']:.0f} MiB",
        flush=True,
    )
    return row


def main() -> None:
    """Run the requested pairs."""
    parser = argparse.ArgumentParser(prog="make bench-convert", description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("parity-work"))
    parser.add_argument("--python", default=sys.executable, help="interpreter for the environment with torch")
    parser.add_argument("--ram", type=Path, default=Path("/dev/shm"), help="a folder in memory")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", choices=["convert", "straight", "ten", "ten-1.1b"], action="append")
    arguments = parser.parse_args()
    oracle = Oracle(arguments.work.resolve(), arguments.python)
    wanted = arguments.only or ["convert", "straight", "ten", "ten-1.1b"]
    rows = []
    for place, folder in (("disk", oracle.work / "bench"), ("memory", arguments.ram / "slmprof-bench")):
        if not folder.parent.is_dir():
            continue
        try:
            for stage in wanted:
                rows += _stage(stage, place, folder, oracle, arguments.runs)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    (oracle.work / "bench-convert.json").write_text(json.dumps(rows, indent=1))


def _stage(stage: str, place: str, folder: Path, oracle: Oracle, runs: int) -> list[dict[str, object]]:
    out = folder / "out"
    env = {**os.environ, "SLMPROF_CACHE": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
    slmprof = [sys.executable, "-m", "profiler"]
    shape = LLAMA_11B if stage == "ten-1.1b" else QWEN2_05B
    checkpoint = folder / ("llama-1.1b" if stage == "ten-1.1b" else "qwen2-0.5b")
    if not checkpoint.exists():
        # In a process of its own: a child's peak memory begins with its parent's.
        code = (
            f"from tests.support.checkpoints import make_checkpoint as make; make(Path({str(checkpoint)!r}), **{shape})"
        )
        subprocess.run([sys.executable, "-c", f"from pathlib import Path; {code}"], check=True)

    def clean() -> None:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)

    if stage == "convert":
        driver = Path(__file__).parents[1] / "parity" / "drivers" / "convert.py"
        job = {"pre": "qwen2", "checkpoint": str(checkpoint), "target": str(out / "theirs.gguf"), "outtype": "bf16"}
        (folder / "job.json").write_text(json.dumps([job]))
        ours = [[*slmprof, "convert", str(checkpoint), "-o", str(out / "ours.gguf")]]
        job_files = [str(folder / "job.json"), str(folder / "failures.json")]
        theirs = [[str(oracle.python), str(driver), str(oracle.llama_cpp), *job_files]]
        row = compare(f"convert 494M bf16, {place}", ours, theirs, runs=runs, env=env, clean=clean)
        if json.loads((folder / "failures.json").read_text()):
            raise SystemExit("bench: llama.cpp's converter failed")
        return [row]
    whole = folder / f"{checkpoint.name}-F16.gguf"
    if not whole.exists():
        timed([[*slmprof, "convert", str(checkpoint), "-o", str(whole), "--outtype", "f16"]], env)
    if stage == "straight":
        ours = [[*slmprof, "convert", str(checkpoint), "-q", "Q4_K_M", "-o", str(out / "ours.gguf")]]
        theirs = [[str(oracle.llama_quantize), str(whole), str(out / "theirs.gguf"), "Q4_K_M"]]
        return [compare(f"straight to Q4_K_M, 494M, {place}", ours, theirs, runs=runs, env=env, clean=clean)]
    ours = [[*slmprof, "convert", str(checkpoint), "-q", TEN_LEVELS, "-o", str(out / "ours")]]
    theirs = [
        [str(oracle.llama_quantize), str(whole), str(out / f"theirs-{level}.gguf"), level]
        for level in TEN_LEVELS.split(",")
    ]
    name = f"ten levels, {'1.1B' if stage == 'ten-1.1b' else '494M'}, {place}"
    return [compare(name, ours, theirs, runs=runs, env=env, clean=clean)]


if __name__ == "__main__":
    main()
