"""Worlds in which the best choice is known: true speeds, KLD and memory of levels and thread counts, and noisy rounds.

A world has a clock of its own: every round takes the time that a process, its warm-up and its repetitions would take;
the speed drifts with that time, and another program comes and goes.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from profiler.pick.records import Entry, Observed, Quality
from profiler.recommend.records import Limits
from profiler.recommend.rule import MAX_KLD, goal_of

LEVELS = {
    "F16": 16.0, "Q8_0": 8.5, "Q6_K": 6.56, "Q5_K_M": 5.69, "Q5_0": 5.5, "Q4_1": 5.0,
    "Q4_K_M": 4.85, "Q4_0": 4.55, "IQ4_NL": 4.5, "IQ4_XS": 4.25, "Q3_K_M": 3.91, "Q2_K": 2.96,
}  # fmt: skip
THREADS = (1, 2, 3, 4)
N_PARAMS, N_PROMPT, N_GEN, REPS, WARM_UP = 1.1e9, 128, 32, 3, 1
START_S, READ_BYTES_PER_S = 1.5, 1e9
WINDOW_KLD_SPREAD = 0.2  # of a window's KLD, as a share of the mean
MOST_WINDOWS = 64
TIE = 0.02
# How much of a load's 30 % of a CPU a run with so many threads on four cores loses.
LOAD = {1: 0.05, 2: 0.1, 3: 0.25, 4: 0.7}


class Conditions(NamedTuple):
    """What makes rounds differ from the truth."""

    noise: float = 0.02  # standard deviation of a round's log rate
    drift: float = 0.02  # amplitude of a slow wave
    load: float = 0.3  # of a CPU, taken by another program ...
    load_share: float = 1 / 3  # ... so much of the time
    seen: bool = True  # whether the load is noticed
    rest: float = 0.03  # standard deviation by which levels differ in their use of threads, of logs


QUIET = Conditions(drift=0.0, load=0.0)


class World:
    """One device, one model, and its clock."""

    def __init__(self, seed: int, conditions: Conditions = QUIET, levels: dict[str, float] | None = None) -> None:
        """Draw the truth."""
        self.draw = draw = np.random.default_rng(seed)
        self.conditions = conditions
        self.clock_s = 0.0
        self.levels = levels or LEVELS
        scaling = draw.uniform(0.1, 0.6)
        crowded = draw.uniform(0.0, 0.12)
        self.decode: dict[str, float] = {}
        self.prefill: dict[str, float] = {}
        self.kld: dict[str, float] = {}
        self.entries: list[Entry] = []
        for level, bpw in self.levels.items():
            decode = 60 / bpw**0.8 * math.exp(draw.normal(0, 0.12))
            prefill = 25 / bpw**0.1 * math.exp(draw.normal(0, 0.15))
            self.kld[level] = self._new_kld(bpw)
            for n in THREADS:
                key = f"{level} t{n}"
                gain = n / (1 + scaling * (n - 1)) * (1 - crowded * (n == THREADS[-1]))
                self.decode[key] = decode * gain / 2 * math.exp(draw.normal(0, conditions.rest))
                self.prefill[key] = prefill * n**0.85 * math.exp(draw.normal(0, conditions.rest))
                file_bytes = int(N_PARAMS * bpw / 8)
                self.entries.append(
                    Entry(
                        key=key,
                        level=level,
                        n_threads=n,
                        n_threads_batch=n,
                        bpw=bpw,
                        file_bytes=file_bytes,
                        memory_bytes=file_bytes + (60 << 20),
                    )
                )
        self.entry = {each.key: each for each in self.entries}
        self._wave_s, self._phase = draw.uniform(1800, 7200), draw.uniform(0, 2 * math.pi)
        self._busy = draw.uniform() < conditions.load_share
        self._until_s = draw.exponential(60)
        self.scored: dict[str, int] = {}  # windows, by level
        self._seed = seed

    def _new_kld(self, bpw: float) -> float:
        """Return a KLD that all windows can tell from the limit and from those of other levels."""
        while True:
            kld = math.exp(math.log(0.04) - 1.3 * (bpw - 4.6) + self.draw.normal(0, 0.4)) if bpw < 16 else 0.0
            if all(abs(math.log(max(kld, 1e-9) / max(other, 1e-9))) > 0.12 for other in (MAX_KLD, *self.kld.values())):
                return kld

    def ttft_ms(self, key: str) -> float:
        """Return the true time to first token."""
        return 1000 * N_PROMPT / self.prefill[key]

    def round(self, key: str) -> Observed:
        """Measure one round; the clock goes on."""
        entry, noise = self.entry[key], self.conditions.noise
        decode, prefill = self.decode[key], self.prefill[key]
        wall_s = START_S + entry.file_bytes / READ_BYTES_PER_S
        wall_s += (WARM_UP + REPS) * (N_PROMPT / prefill + N_GEN / decode)
        share = self._busy_share(wall_s)
        slow = math.log(1 - self.conditions.load * share * LOAD[entry.n_threads] * self.draw.uniform(0.6, 1.4))
        slow += self.conditions.drift * math.sin(2 * math.pi * self.clock_s / self._wave_s + self._phase)
        # The flag `busy` is raised above a tenth of one CPU, and the counters that it reads err by a hundredth.
        seen = self.conditions.seen and self.conditions.load * share + self.draw.normal(0, 0.01) > 0.10
        prefill_tps = prefill * math.exp(slow + self.draw.normal(0, noise))
        return Observed(
            decode_tps=decode * math.exp(slow + self.draw.normal(0, noise)),
            prefill_tps=prefill_tps,
            ttft_ms=1000 * N_PROMPT / prefill_tps,
            model_rss_bytes=(entry.memory_bytes or 0) - int(self.draw.integers(0, 1 << 20)),
            wall_s=wall_s,
            disturbed=bool(seen),
        )

    def quality(self, level: str, n_windows: int) -> Quality:
        """Score a level on so many windows."""
        self.scored[level] = n_windows
        draw = np.random.default_rng((self._seed, list(self.levels).index(level)))  # the windows are the same each time
        values = self.kld[level] * np.maximum(1 + draw.normal(0, WINDOW_KLD_SPREAD, MOST_WINDOWS)[:n_windows], 0.05)
        se = float(values.std(ddof=1)) / math.sqrt(n_windows)
        return Quality(n_windows=n_windows, kld=float(values.mean()), kld_se=se)

    def right(self, limits: Limits) -> set[str]:
        """Return the keys of the right choice and of those that the truth ties with it; empty where nothing fits.

        A tie is within 2 %: of the speed, or of a limit on a rate. KLD ties within 5 % or 0.0005.
        """
        found: set[str] = set()
        for factor in np.linspace(1 - TIE, 1 + TIE, 9):
            able = [each for each in self.entries if self._meets(each, limits, float(factor))]
            if able and goal_of(limits) == "quality":
                finest = min(self.kld[each.level] for each in able)
                most = max(finest + 0.0005, finest * 1.05)
                able = [each for each in able if self.kld[each.level] <= most]
            fastest = max((self.decode[each.key] for each in able), default=0.0)
            found |= {each.key for each in able if self.decode[each.key] >= fastest * (1 - TIE)}
        return found

    def _meets(self, entry: Entry, limits: Limits, factor: float) -> bool:
        most_kld = limits.max_kld or (MAX_KLD if goal_of(limits) == "speed" else math.inf)
        return (
            self.kld[entry.level] <= most_kld
            and self.decode[entry.key] >= (limits.min_decode_tps or 0) * factor
            and self.prefill[entry.key] >= (limits.min_prefill_tps or 0) * factor
            and self.ttft_ms(entry.key) <= (limits.max_ttft_ms or math.inf) / factor
            and (entry.memory_bytes or 0) <= (limits.max_memory_bytes or math.inf)
        )

    def _busy_share(self, wall_s: float) -> float:
        """Let the clock go on, and return how much of that time another program ran."""
        end_s, busy_s = self.clock_s + wall_s, 0.0
        if not self.conditions.load:
            self.clock_s = end_s
            return 0.0
        while self.clock_s < end_s:
            stop_s = min(self._until_s, end_s)
            busy_s += (stop_s - self.clock_s) * self._busy
            self.clock_s = stop_s
            if self.clock_s >= self._until_s:
                self._busy = not self._busy
                mean_s = 60.0 if self._busy else 60.0 * (1 / self.conditions.load_share - 1)
                self._until_s += self.draw.exponential(mean_s)
        return busy_s / wall_s


def run_race(world: World, race: Any, most_steps: int = 2000) -> float:
    """Let a race run to its end in a world; return the time of its rounds, in seconds."""
    from profiler.pick.records import RoundStep

    wall_s = 0.0
    for _ in range(most_steps):
        step = race.next()
        if step is None:
            return wall_s
        if isinstance(step, RoundStep):
            observed = world.round(step.key)
            wall_s += observed.wall_s
            race.record_round(step.key, observed)
        else:
            found = world.quality(step.level, step.n_windows)
            race.record_quality(step.level, found.n_windows, found.kld, found.kld_se)
    raise AssertionError("the race does not end")
