"""`make bench-memory`: does memory close? The parts of each model file's memory against what the system measured.

Each file is run with mmap on and off, repacking on and off, and room for all logits of a batch (n_outputs_max 0, as
llama-bench has it) or for one (as a server has it): eight workers, a row each. Fails where a remainder is more than 5 %
of the measured total. Without files, the shapes of two small models are made with random weights: memory depends on
shapes and types, not on values.
"""

import argparse
import itertools
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from profiler.analysis.memory_parts import MemoryParts, memory_parts
from profiler.measure.launch import run_worker
from profiler.measure.worker import Job
from profiler.records.config import Cell, RunConfig, base_config
from profiler.records.round import Round

MODELS = ("smollm2-135m", "qwen2-0.5b")
LEVELS = "Q4_0,Q8_0,F16"
MOST = 0.05  # of the measured total
_MIB = 1 << 20
_TIMEOUT_S = 1800
_HEAD = (
    "file", "mmap", "repack", "outputs", "mapped", "copied", "repacked", "KV", "compute", "of", "output", "runtime",
    "sum", "measured", "remainder", "%",
)  # fmt: skip


def config_of(mmap: bool, repack: bool, n_outputs_max: int, *, n_prompt: int, n_ctx: int, n_threads: int) -> RunConfig:
    """Return the settings of one worker."""
    return base_config(
        n_prompt=n_prompt,
        n_gen=1,
        n_ctx=n_ctx,
        n_outputs_max=n_outputs_max,
        n_threads=n_threads,
        load_mode="mmap" if mmap else "none",
        repack=repack,
    )


def parts_of(path: Path, config: RunConfig) -> MemoryParts:
    """Run a worker and split its memory.

    Raises:
        RuntimeError: the worker failed, or the system reports no memory.
    """
    answer = run_worker(Job(path=str(path), config=config, reps=1, seed=0), timeout_s=_TIMEOUT_S)
    if answer.measured is None:
        raise RuntimeError(f"{path.name}: {answer.failure}")
    found = memory_parts(
        Round(
            env_id="",
            cell=Cell(artifact_sha256="", config=config),
            round=0,
            status="ok",
            started_at="",
            seed=0,
            order=0,
            memory=answer.measured.memory,
            buffers=answer.measured.buffers,
            in_force=answer.measured.in_force,
        )
    )
    if found is None:
        raise RuntimeError(f"{path.name}: the system reports no memory")
    return found


def _row(name: str, config: RunConfig, found: MemoryParts) -> list[str]:
    def mib(n_bytes: int | None) -> str:
        return "" if n_bytes is None else f"{n_bytes / _MIB:.1f}"

    compute = found.part("compute buffer")
    return [
        name,
        "on" if config.load_mode == "mmap" else "off",
        "on" if config.repack else "off",
        str(config.n_outputs_max),
        *(mib(found.part(f"weights, {kind}").resident_bytes) for kind in ("mapped", "copied", "repacked")),
        mib(found.part("KV cache").resident_bytes),
        mib(compute.resident_bytes),
        mib(compute.allocated_bytes),
        mib(found.part("output buffer").resident_bytes),
        mib(found.part("runtime").resident_bytes),
        mib(found.sum_bytes),
        mib(found.model_rss_bytes),
        mib(found.remainder_bytes),
        f"{100 * found.remainder_share:+.1f}",
    ]


def _made(work: Path, models: Sequence[str], levels: str) -> list[Path]:
    files: list[Path] = []
    for model in models:
        checkpoint, folder = work / model, work / f"{model}-gguf"
        if found := sorted(folder.glob("*.gguf")):
            files += found
            continue
        for command in (
            ["synthesize", model, "-o", str(checkpoint)],
            ["convert", str(checkpoint), "-q", levels, "-o", str(folder)],
        ):
            subprocess.run([sys.executable, "-m", "profiler", *command], check=True, stdout=subprocess.DEVNULL)
        files += sorted(folder.glob("*.gguf"))
    return files


def main() -> int:
    """Print a row per worker; 1 where one does not close."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, help="GGUF files; without any they are made in --work")
    parser.add_argument("--work", type=Path, default=Path("bench-memory-work"), help="kept between runs")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--levels", default=LEVELS)
    parser.add_argument("--prompt", type=int, default=512, help="tokens to prefill")
    parser.add_argument("--n-ctx", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    files = options.files or _made(options.work, options.models.split(","), options.levels)
    print("| " + " | ".join(_HEAD) + " |\n|---|---|---" + "|---:" * (len(_HEAD) - 3) + "|", flush=True)
    worst = 0.0
    for path, (mmap, repack, n_outputs_max) in itertools.product(
        files, itertools.product((True, False), (True, False), (0, 1))
    ):
        config = config_of(
            mmap, repack, n_outputs_max, n_prompt=options.prompt, n_ctx=options.n_ctx, n_threads=options.threads
        )
        found = parts_of(path, config)
        worst = max(worst, abs(found.remainder_share))
        print("| " + " | ".join(_row(path.stem, config, found)) + " |", flush=True)
    print(f"\nMiB; prefill of {options.prompt} tokens, context {options.n_ctx}, {options.threads} threads.")
    print(f"The largest remainder is {100 * worst:.1f} % of the measured total; {100 * MOST:.0f} % are allowed.")
    return int(worst > MOST)


if __name__ == "__main__":
    raise SystemExit(main())
