"""`make bench-compare`: does `compare` find slow-downs that were planted, and stay silent where there is none?

Pairs of series of 10 rounds of 3 repetitions, with noise of 2 % between rounds and 1 % within them, of several kinds;
in the second of each pair every repetition is slower by 0, 2, 5 or 10 %. They become records as a sweep writes them and
go through the whole comparison. Fails where more than 5 % of the pairs without a slow-down are called different, or
fewer than 95 % of those with 5 or 10 %. "recorded" draws from deviations of real rounds (tests/data/recorded-noise),
brought to 2 %. "interrupted" is held to the first bar only: its deviation is 3.6 %. Two rows
more tell what no such test can know: a device whose speed wanders within each run (each round takes over half of the
deviation of the one before), and a device at another speed from run to run. They are held against nothing.
"""

import argparse
import json
import math
import random
import statistics
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

from profiler.analysis.stats import median
from profiler.compare.comparison import compare_results
from profiler.results.file import Results
from tests.support.compared import rounds_of
from tests.support.rounds import results

ROUNDS, REPS = 10, 3
DATA = Path(__file__).resolve().parents[1] / "data"
NOISE, WITHIN = 0.02, 0.01
DRIFT = 0.03  # from the first round to the last, in both runs: a device that warms up as it did before
PLANTED = (0.0, 0.02, 0.05, 0.10)
FALSE, FOUND = 0.05, 0.95
THRESHOLD_PERCENT = 3.0
Noise = Callable[[random.Random], list[float]]


def normal(draw: random.Random) -> list[float]:
    """Return the logarithmic deviation of every round."""
    return [draw.gauss(0, NOISE) for _ in range(ROUNDS)]


def drifting(draw: random.Random) -> list[float]:
    """Return noise on top of a slow-down in the course of the run."""
    return [draw.gauss(0, NOISE) - DRIFT * place / (ROUNDS - 1) for place in range(ROUNDS)]


def heavy_tailed(draw: random.Random) -> list[float]:
    """Return Student's t with three degrees of freedom, scaled to the same standard deviation."""
    return [_student(draw) * NOISE / math.sqrt(3) for _ in range(ROUNDS)]


def _student(draw: random.Random) -> float:
    return draw.gauss(0, 1) / math.sqrt(sum(draw.gauss(0, 1) ** 2 for _ in range(3)) / 3)


def recorded(draw: random.Random) -> list[float]:
    """Return deviations of real rounds from their cells' medians."""
    return draw.choices(_recorded(), k=ROUNDS)


@cache
def _recorded() -> list[float]:
    found: list[float] = json.loads((DATA / "recorded-noise" / "deviations.json").read_text())
    scale = NOISE / statistics.pstdev(found)
    return [value * scale for value in found]


def interrupted(draw: random.Random) -> list[float]:
    """Return noise, and one round in ten that another program makes slower by a tenth."""
    return [draw.gauss(0, NOISE) - (0.1 if draw.random() < 0.1 else 0) for _ in range(ROUNDS)]


def wandering(draw: random.Random) -> list[float]:
    """Return noise of the same size that each round takes over from the one before by half."""
    values = [draw.gauss(0, NOISE)]
    while len(values) < ROUNDS:
        values.append(0.5 * values[-1] + math.sqrt(1 - 0.5**2) * draw.gauss(0, NOISE))
    return values


def run_to_run(draw: random.Random) -> list[float]:
    """Return noise around a speed that is another in each run, by half of the noise."""
    offset = draw.gauss(0, NOISE / 2)
    return [offset + value for value in normal(draw)]


HELD: dict[str, Noise] = {
    "normal": normal, "drifting": drifting, "heavy-tailed": heavy_tailed, "recorded": recorded,
    "interrupted": interrupted,
}  # fmt: skip
TOLD: dict[str, Noise] = {"wandering": wandering, "run to run": run_to_run}


def series(noise: Noise, slow_down: float, draw: random.Random, cells: int = 1) -> Results:
    """Make the results of one run."""
    rounds = []
    for cell in range(cells):
        rates = [
            [40 * (1 - slow_down) * math.exp(value + draw.gauss(0, WITHIN)) for _ in range(REPS)]
            for value in noise(draw)
        ]
        rounds += rounds_of(rates, settings={"n_threads": cell + 1})
    return results(*rounds)


def judge(noise: Noise, slow_down: float, n_pairs: int, seed: int, cells: int = 1) -> tuple[float, float, float]:
    """Return the shares of pairs called different, and failed at the threshold; and the middle of the ratios."""
    draw = random.Random(seed)
    n_different = n_failed = 0
    ratios = []
    for _ in range(n_pairs):
        found = compare_results(series(noise, 0.0, draw, cells), series(noise, slow_down, draw, cells))
        changes = [each for pair in found.pairs for each in pair.changes if each.figure == "decode_tps"]
        n_different += any(each.significant for each in changes)
        n_failed += bool(found.slow_downs(THRESHOLD_PERCENT))
        ratios += [each.ratio for each in changes]
    return n_different / n_pairs, n_failed / n_pairs, median(ratios)


def main() -> int:
    """Print a row per kind of noise and slow-down; return whether the bars hold."""
    parser = argparse.ArgumentParser(prog="make bench-compare", description=__doc__)
    parser.add_argument("--pairs", type=int, default=300, help="of runs, for each row with a slow-down")
    parser.add_argument(
        "--silent-pairs", type=int, default=4000, help="of runs, for each row without: 4.3 %% is expected"
    )
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    passed = True
    print(f"{ROUNDS} rounds of {REPS} repetitions; {arguments.pairs} pairs of runs a row,")
    print(f"{arguments.silent_pairs} where nothing is planted\n")
    print(f"| noise | planted | called different | fails at {THRESHOLD_PERCENT:g} % | median ratio | bar |")
    print("| ----- | ------: | ---------------: | ---------: | -----------: | --- |")
    for name, noise in (HELD | TOLD).items():
        for slow_down in PLANTED if name in HELD else PLANTED[:1]:
            n_pairs = arguments.pairs if slow_down or name in TOLD else arguments.silent_pairs
            different, failed, ratio = judge(noise, slow_down, n_pairs, arguments.seed)
            bar = "told only"
            judged = slow_down == 0 or (slow_down >= 0.05 and name != "interrupted")
            if name in HELD and judged:
                ok = different <= FALSE if slow_down == 0 else different >= FOUND
                passed &= ok
                bar = "held" if ok else "MISSED"
            print(f"| {name} | {slow_down:.0%} | {different:.1%} | {failed:.1%} | {ratio:.4f} | {bar} |", flush=True)
    cells = 8
    for slow_down in (0.0, 0.05):
        n_pairs = max(1, (arguments.pairs if slow_down else arguments.silent_pairs) // cells)
        different, failed, _ = judge(normal, slow_down, n_pairs, arguments.seed, cells)
        ok = different <= FALSE if slow_down == 0 else different >= FOUND
        passed &= ok
        bar = "held" if ok else "MISSED"
        print(f"| normal, any of {cells} cells | {slow_down:.0%} | {different:.1%} | {failed:.1%} | | {bar} |")
    print(f"\nplanted: {'all bars held' if passed else 'a bar was missed'}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
