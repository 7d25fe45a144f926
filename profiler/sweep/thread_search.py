"""`-t auto`: the best number of threads for prefill and for decode, without trying all of them.

Prefill is bound by arithmetic and gains from every core; decode is bound by memory and is often fastest before all
cores are used, and slower beyond. So each is searched by itself:

    a coarse grid      1, half of the cores, all but the efficiency cores, all
    neighbours         of the best so far, until both of them are slower; beyond a flat stretch one more
    repeats            of those that cannot be told apart from the best within noise, taken in turns
    the choice         the fewest threads that are within 1 % of the best

No count is tried that would make a thread wait for a core: physical cores, affinity, a container's quota and --cores
bound it. The search is a pure function over a `measure`; profiler/sweep/thread_choice.py measures and keeps the choice.
"""

import math
from collections.abc import Callable, Sequence

import msgspec

from profiler.analysis.stats import median
from profiler.records.environment import Environment

AUTO = 0  # "auto" in a list of thread counts, until it is resolved
KINDS = ("prefill", "decode")
Measure = Callable[[int, str], Sequence[float]]  # threads, kind -> rates of some repetitions

_TIE = 0.01  # a loss at which fewer threads are the better choice
_NEAR = 0.02  # counts nearer to the best than this are repeated
_SURE = 0.012  # two standard errors of a difference, below which more repeats change nothing that matters
_PASSES = 4  # measurements of one count, at most
_MOST_CONTENDERS = 4
_LEAST_SCATTER = 0.003  # of log rates; three repetitions can agree by chance


class MeasureError(Exception):
    """A measurement failed; the text is the reason."""


class ThreadLimits(msgspec.Struct, frozen=True):
    """The most threads to try, and how many of the cores are not efficiency cores."""

    most: int
    fast: int


class Trial(msgspec.Struct, frozen=True):
    """All rates of one kind at one number of threads, in tokens per second."""

    kind: str
    n_threads: int
    rates: tuple[float, ...]


class ThreadChoice(msgspec.Struct, frozen=True):
    """The threads chosen for one file, and what was tried."""

    n_threads: int  # decode
    n_threads_batch: int  # prefill
    tried: tuple[Trial, ...] = ()


def thread_limits(
    environment: Environment, cores: Sequence[int] | None, physical_of: Callable[[Sequence[int]], int] = len
) -> ThreadLimits:
    """Return the limits under an environment and --cores; `physical_of` counts the physical cores behind some CPUs."""
    most = environment.cores_physical
    for cpus in (environment.affinity, cores):
        if cpus is not None:
            most = min(most, physical_of(cpus))
    if environment.cpu_quota is not None:
        most = min(most, int(environment.cpu_quota))
    most = max(1, most)
    allowed = set(environment.affinity if environment.affinity is not None else range(environment.cores_logical))
    allowed &= set(cores) if cores is not None else allowed
    slow = {cpu for kind in environment.core_kinds if kind.name == "efficiency" for cpu in kind.cpus}
    n_slow = len(slow & allowed)
    return ThreadLimits(most, most - n_slow if n_slow < most else most)


def search_threads(measure: Measure, limits: ThreadLimits, kinds: Sequence[str] = KINDS) -> ThreadChoice:
    """Search the threads of each kind; a kind that is not requested gets 1.

    Raises:
        MeasureError: a measurement failed.
    """
    searches = {kind: _Search(measure, kind, limits) for kind in kinds}
    best = {kind: search.run() for kind, search in searches.items()}
    tried = [
        Trial(kind, n_threads, tuple(rates))
        for kind, search in searches.items()
        for n_threads, rates in sorted(search.rates.items())
    ]
    return ThreadChoice(best.get("decode", 1), best.get("prefill", 1), tuple(tried))


class _Search:
    """One kind's search over 1 to `most` threads. Rates are compared by their logarithms."""

    def __init__(self, measure: Measure, kind: str, limits: ThreadLimits) -> None:
        self._measure, self._kind, self._limits = measure, kind, limits
        self.rates: dict[int, list[float]] = {}
        self._passes: dict[int, int] = {}

    def run(self) -> int:
        most, fast = self._limits.most, self._limits.fast
        for n_threads in sorted({1, (most + 1) // 2, fast, most}):
            self._try(n_threads)
        while True:
            self._climb()
            if not self._repeat():
                break
        floor = self._level(self._best()) - _TIE
        return min(n for n in self.rates if self._level(n) >= floor)

    def _try(self, n_threads: int) -> None:
        found = self._measure(n_threads, self._kind)
        self.rates.setdefault(n_threads, []).extend(found)
        self._passes[n_threads] = self._passes.get(n_threads, 0) + 1

    def _level(self, n_threads: int) -> float:
        return math.log(median(self.rates[n_threads]))

    def _best(self) -> int:
        return max(self.rates, key=self._level)

    def _climb(self) -> None:
        """Try the best count's neighbours until none is untried, and look beyond flat stretches."""
        while (n_threads := self._next()) is not None:
            self._try(n_threads)

    def _next(self) -> int | None:
        best, most = self._best(), self._limits.most
        for step in (-1, 1):
            if 1 <= best + step <= most and best + step not in self.rates:
                return best + step
        for step in (-1, 1):
            near = best + step
            if near in self.rates and self._level(best) - self._level(near) < max(_NEAR, self._error(best, near)):
                # It may be flat only here: try half-way to what is known beyond.
                beyond = [n for n in self.rates if (n - near) * step > 0]
                far = min(beyond, key=lambda n: abs(n - near)) if beyond else near
                if abs(far - near) > 1:
                    return (far + near) // 2
        return None

    def _repeat(self) -> bool:
        """Measure once more, in turns, what is within noise of the best; False when nothing is left to tell apart."""
        best = self._best()
        near = [
            n
            for n in self.rates
            if self._level(best) - self._level(n) < max(_NEAR, self._error(best, n)) and self._passes[n] < _PASSES
        ]
        near = sorted(sorted(near, key=self._level, reverse=True)[:_MOST_CONTENDERS])
        others = [n for n in near if n != best]
        if not others or all(self._error(best, n) < _SURE for n in others):
            return False
        for n_threads in near:
            self._try(n_threads)
        return True

    def _error(self, one: int, other: int) -> float:
        """Return two standard errors of the difference of two levels, from the scatter of all counts together."""
        n_free = sum(len(rates) - 1 for rates in self.rates.values())
        rest = sum((math.log(rate) - self._level(n)) ** 2 for n, rates in self.rates.items() for rate in rates)
        scatter = max(_LEAST_SCATTER, math.sqrt(rest / n_free) if n_free else 1.0)
        # A median of normal values scatters by a quarter more than their mean.
        return 2 * 1.25 * scatter * math.sqrt(1 / len(self.rates[one]) + 1 / len(self.rates[other]))


def describe(choice: ThreadChoice, name: str, limits: ThreadLimits) -> list[str]:
    """Return a few lines on what was chosen and what was tried."""
    chosen = {"prefill": choice.n_threads_batch, "decode": choice.n_threads}
    kinds = [kind for kind in KINDS if any(trial.kind == kind for trial in choice.tried)]
    words = " and ".join(f"{chosen[kind]} for the {kind}" for kind in kinds)
    lines = [f"threads of {name}: {words}, of at most {limits.most}"]
    counts = sorted({trial.n_threads for trial in choice.tried})
    rows = [["threads", *map(str, counts)]]
    for kind in kinds:
        figures = {trial.n_threads: f"{median(trial.rates):.4g}" for trial in choice.tried if trial.kind == kind}
        stars = {n: figure + ("*" if n == chosen[kind] else " ") for n, figure in figures.items()}
        rows.append([f"{kind} t/s", *(stars.get(n, "- ") for n in counts)])
    rows[0] = [rows[0][0], *(f"{count} " for count in rows[0][1:])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for first, *rest in rows:
        figures_text = "  ".join(text.rjust(width) for text, width in zip(rest, widths[1:], strict=True))
        lines.append(f"  {first.ljust(widths[0])}  {figures_text}".rstrip())
    return lines
