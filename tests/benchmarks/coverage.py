"""Measure what the statistics promise, on many more simulated series than the test suite has time for.

    python -m tests.benchmarks.coverage --series 20000

Prints how often the interval of a stopped cell covers the median, by shape and target, and how often a drift is seen.
"""

import argparse

from profiler.sweep.stopping import LOOKS
from tests.support.series import LAYOUTS, MEDIANS, SCATTER, coverage, drift_share, exact_coverage

TARGETS = (0.002, 0.005, 0.008, 0.010, 0.012, 0.015, 0.020, 0.030, 0.060)


def main() -> None:
    """Print the two tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=20_000, help="series for each figure")
    n_series = parser.parse_args().series
    print(f"looks at {LOOKS}: at least {exact_coverage(LOOKS):.2%} whatever the shape and the rule\n")
    print("coverage % (mean rounds) by target\n")
    print("| shape | " + " | ".join(f"{target:.1%}" for target in TARGETS) + " |")
    print("|---|" + "---|" * len(TARGETS))
    for shape in MEDIANS | LAYOUTS:
        found = [coverage(shape, target, n_series, seed) for seed, target in enumerate(TARGETS)]
        print(f"| {shape} | " + " | ".join(f"{100 * held:.1f} ({rounds:.0f})" for held, rounds in found) + " |")
    print("\ndrift seen, % of cells of 10 rounds of 3 repetitions\n")
    print("| scatter | no drift | 5 % drift |\n|---|---|---|")
    cases = {
        f"{SCATTER:.0%} of a repetition": {},
        f"{SCATTER:.0%} of a repetition, heavy-tailed": {"heavy": True},
        f"{SCATTER:.0%} of single repetitions": {"reps": 1},
        "5% of a repetition": {"scatter": 0.05},
        f"{SCATTER:.0%} of a repetition, 1% of a round": {"per_round": 0.01},
        f"none of a repetition, {SCATTER:.0%} of a round": {"scatter": 0.0, "per_round": SCATTER},
    }
    for name, case in cases.items():
        none, some = (drift_share(drift, n_series, seed, **case) for seed, drift in enumerate((0.0, 0.05)))
        print(f"| {name} | {100 * none:.1f} | {100 * some:.1f} |")


if __name__ == "__main__":
    main()
