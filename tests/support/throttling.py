"""A simulated device: it becomes hot during a sweep, slows down, and cools when it rests."""

import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from profiler.measure.loop import Probes, measure
from profiler.measure.worker import Answer, Job
from profiler.records.config import Cell
from profiler.records.record import Record
from profiler.records.round import Conditions, Memory
from profiler.results.writer import ResultsWriter
from profiler.sweep.plan import Options, history_of
from profiler.sweep.sweep import Outcome
from tests.support.cells import artifact, cell
from tests.support.scripted_engine import FakeClock, FakeEngine, Script
from tests.support.summaries import ENVIRONMENT
from tests.support.sweeps import Seen, sweep

CELLS = [cell(n_ctx=64 + more) for more in range(14)]  # of equal cost: the seed chooses the reference cell
FILES = ("a" * 64, "b" * 64)
STEP_NS = 50_000_000
INTRO = "drift control: the reference cell is"


class Device:
    """Run jobs on a fake engine whose clock goes with the device's heat.

    Args:
        hot_at: the process, counted from 0, with which it becomes hot; None: never.
        factor: its speed while it is hot.
        cool_after_s: the rest that it needs; None: it stays hot.
        sensors: whether it reports its temperature and that it throttles.
        slow_until: it is disturbed from the start, up to this process.
    """

    def __init__(
        self,
        hot_at: int | None = None,
        factor: float = 0.8,
        cool_after_s: float | None = 25,
        *,
        sensors: bool = True,
        slow_until: int = 0,
    ) -> None:
        self.hot_at, self.factor, self.cool_after_s, self.sensors = hot_at, factor, cool_after_s, sensors
        self.slow_until = slow_until
        self.n_runs = 0
        self.rests: list[float] = []
        self.hot = False

    def run(self, job: Job) -> Answer:
        """Do a job as a worker does, with this device's clock and sensors."""
        if self.n_runs == self.hot_at:
            self.hot = True
        slow = self.hot or self.n_runs < self.slow_until
        self.n_runs += 1
        clock = FakeClock()
        step_ns = round(STEP_NS / self.factor) if slow else STEP_NS
        engine = FakeEngine(clock, Script(decode_ns=step_ns, decode_ns_per_depth=0))
        probes = Probes(memory=Memory, conditions=self.conditions)
        return Answer(measured=measure(engine, Path("none"), job.config, reps=1, seed=0, clock=clock, probes=probes))

    def conditions(self) -> Conditions:
        """Return what the sensors report."""
        if not self.sensors:
            return Conditions()
        return Conditions(temperature_c=85.0 if self.hot else 60.0, throttle=("throttled",) if self.hot else ())

    def sleep(self, seconds: float) -> None:
        """Rest; it is cool again when all rests together are long enough."""
        self.rests.append(seconds)
        if self.cool_after_s is not None and sum(self.rests) >= self.cool_after_s:
            self.hot = False


class Sweep:
    """One call of the program on a results file: what it printed, and how it ended."""

    def __init__(
        self,
        results: Path,
        device: Device,
        *,
        cells: Sequence[Cell] = CELLS,
        kill_at_write: int | None = None,
        now_s: Callable[[], float] = time.monotonic,
        **options: Any,
    ) -> None:
        self.view = Seen()
        self.n_writes = 0
        self.outcome: Outcome | None = None
        with ResultsWriter(results) as writer:

            def write(record: Record) -> None:
                if self.n_writes == kill_at_write:
                    raise KeyboardInterrupt
                self.n_writes += 1
                writer.write(record)

            if not writer.results.environments:
                writer.write(ENVIRONMENT)
                for sha256 in FILES:
                    writer.write(artifact(sha256))
            with contextlib.suppress(KeyboardInterrupt):
                self.outcome = sweep(
                    cells,
                    dict.fromkeys(FILES, Path("none")),
                    Options(**({"rounds": 6, "reps": 1, "drift_control": True} | options)),
                    run=device.run,
                    write=write,
                    history=history_of(writer.results, ENVIRONMENT.id),
                    view=self.view,
                    sleep=device.sleep,
                    now_s=now_s,
                )

    @property
    def intro(self) -> list[str]:
        """The lines that name the reference cell."""
        return [line for line in self.view.lines if line.startswith(INTRO)]

    @property
    def lines(self) -> list[str]:
        """All other lines."""
        return [line for line in self.view.lines if not line.startswith(INTRO)]
