"""Compare the choice of -t auto with an exhaustive sweep over all thread counts, on this device.

    python -m tests.benchmarks.autothreads model.gguf ... --rounds 6

For each file the counts are measured in interleaved rounds, and -t auto chooses; printed is by how much its choice is
slower than the best of the sweep, and how many measurements either took. Other programs must rest meanwhile.
"""

import argparse
import random
from pathlib import Path

from profiler.analysis.stats import median
from profiler.device.environment import available_memory_bytes, probe_backend, read_environment
from profiler.device.os.system import this_system
from profiler.measure.launch import run_worker
from profiler.sweep.grid import Axes, expand
from profiler.sweep.thread_choice import ThreadChooser
from profiler.sweep.thread_search import KINDS, search_threads, thread_limits
from quant.gguf_io.artifact import describe
from quant.sources.prepare import Prepared


def main() -> None:
    """Print one line per file and kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=6)
    arguments = parser.parse_args()
    environment = read_environment(probe_backend())
    limits = thread_limits(environment, None, this_system().physical_of)
    chooser = ThreadChooser(
        environment=environment,
        run=lambda job: run_worker(job, timeout_s=600),
        available_bytes=available_memory_bytes,
        physical_of=this_system().physical_of,
    )
    for path in arguments.files:
        file = Prepared(artifact=describe(path), path=path)
        (cell,) = expand(Axes(threads=(1,)), [file.artifact.sha256])
        asked: list[tuple[int, str]] = []

        def measure(
            n_threads: int, kind: str, file=file, config=cell.config, asked: list[tuple[int, str]] = asked
        ) -> list[float]:
            asked.append((n_threads, kind))
            return chooser.measure_rates(file, config, n_threads, kind)

        choice = search_threads(measure, limits)
        n_auto = len(asked)
        rates: dict[tuple[str, int], list[float]] = {}
        for round_index in range(arguments.rounds):
            turns = [(kind, n) for kind in KINDS for n in range(1, limits.most + 1)]
            random.Random(round_index).shuffle(turns)
            for kind, n_threads in turns:
                rates.setdefault((kind, n_threads), []).append(median(measure(n_threads, kind)))
        for kind, chosen in (("prefill", choice.n_threads_batch), ("decode", choice.n_threads)):
            found = {n: median(values) for (name, n), values in rates.items() if name == kind}
            best = max(found, key=lambda n: found[n])
            print(
                f"{path.name} {kind}: chose {chosen}, best is {best}, {1 - found[chosen] / found[best]:.1%} slower; "
                f"{n_auto} measurements for both kinds, {len(asked) - n_auto} exhaustive"
            )


if __name__ == "__main__":
    main()
