"""What a running sweep knows of itself: a row per cell, the current turn, the time left, the temperature, warnings.

It hears the same as a view does, and draws nothing.
"""

import msgspec

from profiler.analysis.flags import flags_of
from profiler.analysis.rates import decode_tps_of, prefill_tps_of, ttft_ms_of
from profiler.analysis.stats import median
from profiler.records.record import Round

_MOST_WARNINGS = 3  # the latest ones


class Row(msgspec.Struct, kw_only=True):
    """One cell as far as this run has measured it."""

    name: str
    rounds: list[Round] = []
    error: str | None = None
    end: str | None = None  # why it takes no further rounds
    flags: tuple[str, ...] = ()

    def middle(self, name: str) -> float | None:
        """Give the median over the rounds so far of "prefill", "decode" or "ttft"."""
        value_of = {"prefill": prefill_tps_of, "decode": decode_tps_of, "ttft": ttft_ms_of}[name]
        values = [value for record in self.rounds if (value := value_of(record)) is not None]
        return median(values) if values else None


class Board:
    """All rows, in the order in which the cells were first seen."""

    def __init__(self) -> None:
        self.n_turns = self.n_before = self.n_seen = self.n_over = 0
        self.now = ""
        self.current: str | None = None  # the key of the row that is being measured
        self.left_s: float | None = None
        self.temperature_c: float | None = None
        self.hottest_c: float | None = None
        self.throttle: tuple[str, ...] = ()
        self.rows: dict[str, Row] = {}
        self.warnings: list[str] = []

    def begin(self, key: str, name: str, number: int) -> None:
        """Hear that a cell's round, counted from 0, begins."""
        self.n_seen += 1
        self.current, self.now = key, f"{name}, round {number + 1}"
        self.rows.setdefault(key, Row(name=name))

    def end(self, record: Round, left_s: float | None) -> None:
        """Hear how the round ended."""
        self.n_over += 1
        self.left_s, self.current = left_s, None
        row = self.rows.setdefault(record.cell.key, Row(name=record.cell.key))
        if record.status != "ok":
            row.error = record.error.message if record.error else record.status
            row.end = record.status
            return
        # A round that is measured again takes the place of the one that was in doubt.
        row.rounds = [*(each for each in row.rounds if each.round != record.round), record]
        self._feel(record)
        found = flags_of(row.rounds, None)
        for warning in found:
            if warning.name not in row.flags:
                self.warnings = [*self.warnings, f"{warning.name} ({row.name}): {warning.message}"][-_MOST_WARNINGS:]
        row.flags = tuple(warning.name for warning in found)

    def _feel(self, record: Round) -> None:
        seen = [each for sample in record.samples for each in (sample.before, sample.after)]
        temperatures = [each.temperature_c for each in seen if each.temperature_c is not None]
        if temperatures:
            self.temperature_c = temperatures[-1]
            self.hottest_c = max(temperatures[-1] if self.hottest_c is None else self.hottest_c, *temperatures)
        self.throttle = seen[-1].throttle if seen else ()

    def head(self) -> str:
        """Say in a line how far it is, how long it will take, and how warm the device is."""
        from quant.base.units import format_duration

        parts = [f"{self.n_over} of {self.n_turns} rounds"]
        if self.n_before:
            parts[0] += f", {self.n_before} before"
        if self.left_s:
            parts.append(f"{format_duration(self.left_s)} left")
        if self.temperature_c is not None:
            parts.append(f"{self.temperature_c:.0f} °C, at most {self.hottest_c:.0f}")
        if self.throttle:
            parts.append(f"the system reports {', '.join(self.throttle)}")
        return "; ".join(parts)

    def shown(self, most: int) -> list[tuple[str, Row]]:
        """Give at most so many rows: where not all have room, those around the one that is measured."""
        rows = list(self.rows.items())
        if len(rows) <= most:
            return rows
        place = next((place for place, (key, _) in enumerate(rows) if key == self.current), len(rows) - 1)
        first = min(max(place - most // 2, 0), len(rows) - most)
        return rows[first : first + most]
