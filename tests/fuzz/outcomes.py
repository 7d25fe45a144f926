"""What became of cases: counted, added up over processes, printed."""

import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

_PACKAGES = ("quant", "profiler", "plots")
_BEGINNING_WORDS = 7


@dataclass
class Outcomes:
    """Refusals by their first words, failures by kind and place, the slowest case."""

    refusals: Counter[str] = field(default_factory=Counter)
    failures: dict[str, list[int]] = field(default_factory=dict)
    n_accepted: int = 0
    n_refused: int = 0
    slowest_s: float = 0.0
    slowest: int = 0

    @property
    def n_failed(self) -> int:
        """The number of cases that failed."""
        return sum(map(len, self.failures.values()))

    def add(self, refusals: Sequence[str]) -> None:
        """Count a case that ended as it should."""
        self.n_accepted += not refusals
        self.n_refused += bool(refusals)
        self.refusals.update(" ".join(refusal.split()[:_BEGINNING_WORDS]) for refusal in refusals)

    def add_failure(self, case: int, what: str) -> None:
        """Count a failed case; print the first of each kind."""
        if what not in self.failures:
            print(f"FAILED, case {case}: {what}", flush=True)
        self.failures.setdefault(what, []).append(case)

    def add_time(self, case: int, case_s: float) -> None:
        """Keep the slowest case."""
        if case_s > self.slowest_s:
            self.slowest_s, self.slowest = case_s, case

    def add_all(self, other: "Outcomes") -> None:
        """Add another process's outcomes."""
        self.refusals.update(other.refusals)
        for what, cases in other.failures.items():
            self.failures[what] = sorted([*self.failures.get(what, []), *cases])
        self.n_accepted += other.n_accepted
        self.n_refused += other.n_refused
        self.add_time(other.slowest, other.slowest_s)

    def print(self, target: str, seed: int, took_s: float) -> None:
        """Print counts, the slowest case, the most frequent refusals and every failure."""
        n_cases = self.n_accepted + self.n_refused + self.n_failed
        print(f"{target}: {n_cases} cases, seed {seed}: {self.n_accepted} accepted, {self.n_refused} refused,"
              f" {self.n_failed} failed")  # fmt: skip
        print(f"{took_s:.0f} s; the slowest was case {self.slowest} with {self.slowest_s:.1f} s")
        for beginning, count in self.refusals.most_common(10):
            print(f"{count:7} {beginning}")
        for what, numbers in self.failures.items():
            print(f"FAILED {len(numbers)} times, as case {numbers[0]}: {what}")


def described(error: BaseException) -> str:
    """Name an exception and the project's innermost line that it passed."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if any(f"/{package}/" in frame.filename for package in _PACKAGES)
    ]
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "the checks"
    return f"{type(error).__name__} at {place}: {str(error)[:160]}"
