"""A device that does not exist: it becomes hot during a sweep, slows down, and cools when it rests."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from profiler.measure.loop import Probes, measure
from profiler.measure.worker import Answer, Job
from profiler.records.config import Cell
from profiler.records.record import Conditions, Memory, Record, Round
from profiler.results.file import ResultsWriter
from profiler.sweep.sweep import Options, Outcome, Turn, run_sweep
from tests.support.cells import artifact, cell
from tests.support.scripted_engine import FakeClock, FakeEngine, Script
from tests.support.summaries import ENVIRONMENT

CELLS = [cell(n_ctx=64 + more) for more in range(14)]  # of equal cost, so that the seed chooses the anchor
FILES = ("a" * 64, "b" * 64)
STEP_NS = 50_000_000


class Device:
    """Run jobs on a fake engine whose clock goes with the device's heat.

    Args:
        hot_at: the process, counted from 0, with which it becomes hot; None: never.
        factor: its speed while it is hot.
        cool_after_s: the rest that it needs; None: it stays hot.
        sensors: it tells its temperature and that it throttles.
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
        """Tell what the sensors do."""
        if not self.sensors:
            return Conditions()
        return Conditions(temperature_c=85.0 if self.hot else 60.0, throttle=("throttled",) if self.hot else ())

    def sleep(self, seconds: float) -> None:
        """Rest; the heat goes when the rests since it came are long enough."""
        self.rests.append(seconds)
        if self.cool_after_s is not None and sum(self.rests) >= self.cool_after_s:
            self.hot = False


class Silent:
    """A view that counts."""

    n_more = 0

    def started(self, n_turns: int, n_done: int) -> None:
        self.n_turns, self.n_done = n_turns, n_done

    def more(self, n_turns: int) -> None:
        self.n_more += n_turns

    def turn(self, turn: Turn, artifact: Any) -> None:
        pass

    def finished(self, record: Round, artifact: Any, left_s: float | None) -> None:
        pass


class Sweep:
    """One call of the program on a results file: what was said, and how it ended."""

    def __init__(
        self,
        results: Path,
        device: Device,
        *,
        cells: Sequence[Cell] = CELLS,
        kill_at_write: int | None = None,
        budget: tuple[float, Any] | None = None,
        **options: Any,
    ) -> None:
        self.lines: list[str] = []
        self.view = Silent()
        self.n_writes = 0
        self.outcome: Outcome | None = None
        self.intro = ""
        settings = Options(**({"rounds": 6, "reps": 1, "anchor": True} | options))
        clock = {} if budget is None else {"now_s": budget[1]}
        with ResultsWriter(results) as writer:

            def write(record: Record) -> None:
                if self.n_writes == kill_at_write:
                    raise KeyboardInterrupt
                self.n_writes += 1
                writer.write(record)

            known = writer.results
            trusted = [record for record in known.rounds if record.status == "ok" and record.doubt is None]
            if not known.environments:
                writer.write(ENVIRONMENT)
                for sha256 in FILES:
                    writer.write(artifact(sha256))
            with contextlib.suppress(KeyboardInterrupt):
                self.outcome = run_sweep(
                    cells,
                    {sha256: (artifact(sha256), Path("none")) for sha256 in FILES},
                    ENVIRONMENT,
                    done={(record.cell.key, record.round) for record in trusted},
                    first_order=1 + max((each.order for each in [*known.rounds, *known.anchors]), default=-1),
                    options=settings,
                    write=write,
                    run=device.run,
                    available_bytes=lambda: 8 << 30,
                    view=self.view,
                    sleep=device.sleep,
                    earlier=[*trusted, *known.anchors],
                    say=self.hear,
                    **clock,
                )

    def hear(self, line: str) -> None:
        """Keep what is said; what the anchor is comes first, and apart."""
        if line.startswith("the anchor is tiny"):
            self.intro = line
        else:
            self.lines.append(line)
