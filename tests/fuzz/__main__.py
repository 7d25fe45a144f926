"""`make fuzz`: broken files are read, or refused with one line; nothing else happens.

Each case is a set of small files with one to three things broken. Whatever reads them must end with a whole result or
with a UserError of one line, within seconds, and leave no file behind; a file that llama.cpp aborts on may end a
worker, never its parent. A case depends on the seed and its own number alone: --target T --seed S --case N repeats it,
with --keep DIR its files are left there.
"""

import argparse
import sys
import time
from pathlib import Path

from quant.base.cpus import usable_cpus
from tests.fuzz.run import run

# name -> module, and the number of cases
_TARGETS = {
    "checkpoints": ("tests.fuzz.checkpoints", 20_000),
    "tokenizers": ("tests.fuzz.tokenizer_files", 6_000),
    "gguf": ("tests.fuzz.gguf_files", 100_000),
    "pickles": ("tests.fuzz.pickles", 5_000),
    "adapters": ("tests.fuzz.adapters", 2_000),
    "results": ("tests.fuzz.results_files", 2_000),
}


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--target", choices=_TARGETS, help="only this one; without it, all one after the other")
    counts = ", ".join(f"{count} of {name}" for name, (_, count) in _TARGETS.items())
    parser.add_argument("--cases", type=int, help=f"how many of each target; default: {counts}")
    parser.add_argument("--first", type=int, default=0, help="the first one's number, for a part of a target's cases")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="only this one, with its traceback")
    parser.add_argument("--keep", type=Path, help="leave the case's files here")
    parser.add_argument("--processes", type=int, default=usable_cpus(), help="default: as many as CPUs")
    arguments = parser.parse_args()
    if arguments.case is not None and arguments.target is None:
        parser.error("--case is for one --target")
    if arguments.keep is not None and arguments.case is None:
        parser.error("--keep is for one --case")
    n_failed = 0
    for name in [arguments.target] if arguments.target else _TARGETS:
        module, count = _TARGETS[name]
        cases = range(arguments.first, arguments.first + (arguments.cases or count))
        if arguments.case is not None:
            cases = range(arguments.case, arguments.case + 1)
        start_s = time.monotonic()
        outcomes = run(module, cases, arguments.seed, n_processes=arguments.processes, keep=arguments.keep)
        outcomes.print(name, arguments.seed, time.monotonic() - start_s)
        n_failed += outcomes.n_failed
    return 1 if n_failed else 0


if __name__ == "__main__":
    sys.exit(main())
