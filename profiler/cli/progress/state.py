"""The state of a running sweep: a row per cell, the current turn, the time left, the temperature, warnings.

It takes the events of a view, and draws nothing.
"""

import time
from collections.abc import Callable

import msgspec

from profiler.analysis.flags import flags_of
from profiler.analysis.rates import decode_tps_of, prefill_tps_of, rates_of, ttft_ms_of
from profiler.analysis.stats import median
from profiler.analysis.sustained.figures import state_of
from profiler.records.round import Round
from profiler.sweep.plan import Turn
from profiler.tables.format import load_name, thread_counts
from profiler.tables.sustained import in_words
from quant.gguf_io.artifact import Artifact

_MOST_WARNINGS = 3  # the latest ones
_VALUE_OF: dict[str, Callable[[Round], float | None]] = {
    "prefill": prefill_tps_of,
    "decode": decode_tps_of,
    "ttft": ttft_ms_of,
}


class Row(msgspec.Struct, kw_only=True):
    """One cell as far as this run has measured it."""

    name: str
    rounds: list[Round] = []
    error: str | None = None
    end: str | None = None  # why it takes no further rounds
    flags: tuple[str, ...] = ()

    def median(self, name: str) -> float | None:
        """Return the median over the rounds so far of "prefill", "decode" (t/s) or "ttft" (ms)."""
        values = [value for record in self.rounds if (value := _VALUE_OF[name](record)) is not None]
        return median(values) if values else None


class SweepState:
    """All rows, in the order in which the cells first had a turn, and where the sweep is."""

    def __init__(self) -> None:
        self.n_turns = self.n_before = self.n_over = 0
        self.drift_ns = 0  # that drift control's own rounds took
        self.now = ""
        self.current: str | None = None  # the key of the row that is being measured
        self.left_s: float | None = None
        self.temperature_c: float | None = None
        self.hottest_c: float | None = None
        self.throttle: tuple[str, ...] = ()
        self.rows: dict[str, Row] = {}
        self.warnings: list[str] = []
        self.rounds: list[Round] = []
        self._begun_ns = self._ended_ns = 0

    @property
    def elapsed_ns(self) -> int:
        """The time from the start to the end of the last round."""
        return self._ended_ns - self._begun_ns

    def started(self, n_turns: int, n_done: int) -> None:
        """Take the number of turns to do, and of those done before."""
        self.n_turns, self.n_before = n_turns, n_done
        self._begun_ns = self._ended_ns = time.monotonic_ns()

    def begin(self, turn: Turn, artifact: Artifact) -> None:
        """Take a turn that begins."""
        name = describe_cell(turn, artifact)
        self.current, self.now = turn.cell.key, f"{name}, round {turn.round + 1}"
        self.rows.setdefault(turn.cell.key, Row(name=name))

    def end(self, record: Round, left_s: float | None) -> None:
        """Take a turn that has ended."""
        self.n_over += 1
        self.left_s, self.current = left_s, None
        self.rounds.append(record)
        self._ended_ns = time.monotonic_ns()
        row = self.rows[record.cell.key]
        if record.status != "ok":
            row.error = record.error.message if record.error else record.status
            row.end = record.status
            return
        # A re-measured round replaces the suspect one.
        row.rounds = [*(each for each in row.rounds if each.round != record.round), record]
        self._read_sensors(record)
        found = flags_of(row.rounds, None)
        for warning in found:
            if warning.name not in row.flags:
                self.warnings = [*self.warnings, f"{warning.name} ({row.name}): {warning.message}"][-_MOST_WARNINGS:]
        row.flags = tuple(warning.name for warning in found)

    def close(self, key: str, n_spared: int) -> None:
        """Take a cell that has met its target, and the number of turns that this spares."""
        self.n_turns -= n_spared
        self.rows[key].end = "done"

    def _read_sensors(self, record: Round) -> None:
        seen = [each for sample in record.samples for each in (sample.before, sample.after)]
        temperatures = [each.temperature_c for each in seen if each.temperature_c is not None]
        if temperatures:
            self.temperature_c = temperatures[-1]
            self.hottest_c = max(temperatures[-1] if self.hottest_c is None else self.hottest_c, *temperatures)
        self.throttle = seen[-1].throttle if seen else ()

    def shown(self, most: int) -> list[tuple[str, Row]]:
        """Return at most so many rows: where not all fit, those around the one that is being measured."""
        rows = list(self.rows.items())
        if len(rows) <= most:
            return rows
        place = next((place for place, (key, _) in enumerate(rows) if key == self.current), len(rows) - 1)
        first = min(max(place - most // 2, 0), len(rows) - most)
        return rows[first : first + most]


def describe_cell(turn: Turn, artifact: Artifact) -> str:
    """Name a turn's cell in a few words."""
    config = turn.cell.config
    return f"{artifact.model} {artifact.level} t{thread_counts(config, '/')} {load_name(config)}"


def describe_result(record: Round) -> str:
    """Return a round's speeds, or why it has none."""
    if record.error is not None:
        return f"{record.status}: {record.error.message}"
    rates = rates_of(record)
    each = {"prefill": rates.prefill, "decode": rates.decode}
    words = [f"{name} {rate:.1f} t/s" for name, rate in each.items() if rate is not None]
    if record.cell.config.sustain_s:
        words += in_words(state_of([record]))
    return ", ".join(words)
