"""What scoring costs: `slmprof quality` compared with llama-perplexity, as whole processes, interleaved.

Both score the first windows of the text that comes with slmprof with the unquantized file of the 494M shape and with
Q4_K_M, and hold the second against the first: llama-perplexity in two runs, ours in one call whose files are made. The
bars are 1.3 times the time, and the two files' size and 200 MiB in the largest process.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from profiler.measure.corpus import default_text
from tests.benchmarks.convert import QWEN2_05B, compare
from tests.parity.oracle import Oracle

_MIB = 1 << 20
_MOST_TIME, _MORE_MEMORY_MIB = 1.3, 200
_LEVELS = ("F16", "Q4_K_M")


def main() -> int:
    """Make the files, run the pairs, compare them with the bars."""
    parser = argparse.ArgumentParser(prog="make bench-quality", description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("parity-work"))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--chunks", type=int, default=8, help="windows of 512 tokens")
    arguments = parser.parse_args()
    oracle = Oracle(arguments.work.resolve(), sys.executable)
    folder = oracle.work / "bench-quality"
    env = {**os.environ, "SLMPROF_CACHE": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
    checkpoint = folder / "qwen2-0.5b"
    if not checkpoint.exists():
        # In a process of its own: a child's peak memory begins with its parent's.
        made = f"make_checkpoint(Path({str(checkpoint)!r}), **{QWEN2_05B})"
        code = f"from pathlib import Path; from tests.support.checkpoints import make_checkpoint; {made}"
        subprocess.run([sys.executable, "-c", code], check=True)
    text, results, base = folder / "text.txt", folder / "results.jsonl", folder / "base.logits"
    text.write_bytes(default_text().content.rstrip(b"\n"))  # llama-perplexity takes the last line's end away

    def clean() -> None:
        results.unlink(missing_ok=True)
        base.unlink(missing_ok=True)

    size = ["--chunks", str(arguments.chunks), "-t", str(arguments.threads)]
    ours = [sys.executable, "-m", "profiler", "quality", str(checkpoint), "-q", ",".join(_LEVELS), "--text", str(text),
            *size, "-o", str(results)]  # fmt: skip
    subprocess.run(ours, check=True, env=env, stdout=subprocess.DEVNULL)
    files = [next(folder.rglob(f"*-{level}.gguf")) for level in _LEVELS]
    theirs = [
        [str(oracle.llama_perplexity), "-m", str(file), "-c", "512", *size, "--kl-divergence-base", str(base), *more]
        for file, more in zip(files, (["-f", str(text)], ["--kl-divergence"]), strict=True)
    ]
    name = f"{arguments.chunks} windows, F16 and Q4_K_M, 494M"
    row = compare(name, [ours], theirs, runs=arguments.runs, env=env, clean=clean)
    clean()
    most_mib = sum(file.stat().st_size for file in files) / _MIB + _MORE_MEMORY_MIB
    one = row["ours"]
    assert isinstance(one, dict)
    ratio = row["ratio"]
    assert isinstance(ratio, float)
    held = ratio <= _MOST_TIME and one["peak_mib"] <= most_mib
    print(f"bars: time {_MOST_TIME}, memory {most_mib:.0f} MiB: {'held' if held else 'MISSED'}")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
