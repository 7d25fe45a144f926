"""A simulated device under a sustained load: after some time it becomes slower, or it does not."""

from collections.abc import Sequence
from pathlib import Path

from profiler.device.energy.meter import Meter
from profiler.measure.loop import Probes, measure
from profiler.measure.worker import Answer, Job
from profiler.records.config import Cell
from profiler.records.energy import EnergyReading
from profiler.records.record import Record
from profiler.records.round import Conditions, Memory
from profiler.results.writer import ResultsWriter
from profiler.sweep.instruments import Instruments
from profiler.sweep.plan import Options, Plan, history_of
from profiler.sweep.sustain import SustainedSweep
from profiler.sweep.sweep import Outcome
from profiler.sweep.tools import OnMinute, Tools
from tests.support.cells import artifact, cell
from tests.support.scripted_engine import FakeClock, FakeEngine, Script
from tests.support.summaries import ENVIRONMENT
from tests.support.sweeps import AVAILABLE_BYTES, Seen

MINUTE_S = 60
STEP_NS = 500_000_000  # a request of four tokens takes two seconds
FAST_MHZ, SLOW_MHZ = 2400.0, 1800.0


def sustained_cell(sha256: str = "a" * 64, minutes: int = 10, **changes: object) -> Cell:
    """A request of six tokens in and four out, one after the other."""
    return cell(sha256, **({"mode": "request", "sustain_s": minutes * MINUTE_S} | changes))


class _Engine(FakeEngine):
    """Its steps take longer while the device is hot."""

    def __init__(self, device: "SustainedDevice", clock: FakeClock) -> None:
        super().__init__(clock, Script(decode_ns=device.step_ns, decode_ns_per_depth=0, prefill_ns_per_token=10**7))
        self._device = device

    def decode(self, token: int) -> None:
        super().decode(token)
        if self._device.is_hot(self.clock):
            self.clock.now_ns += round(self.script.decode_ns * (1 / self._device.factor - 1))


class SustainedDevice:
    """Run jobs on a fake engine whose clock goes with the device's heat.

    Args:
        hot_after_s: from when on it is hot; None: never.
        factor: its speed while it is hot.
        step_ns: of a decode step while it is cool.
        watts: that it takes, where it reports them.
    """

    def __init__(
        self,
        hot_after_s: float | None = None,
        factor: float = 0.75,
        *,
        step_ns: int = STEP_NS,
        watts: float | None = None,
    ) -> None:
        self.hot_after_s, self.factor, self.step_ns, self.watts = hot_after_s, factor, step_ns, watts
        self.n_runs = 0

    def is_hot(self, clock: FakeClock) -> bool:
        """Return whether it is hot by now."""
        return self.hot_after_s is not None and clock.now_ns >= self.hot_after_s * 1e9

    def run(self, job: Job, on_minute: OnMinute) -> Answer:
        """Do a job as a worker does."""
        self.n_runs += 1
        clock = FakeClock()
        watts = self.watts

        def conditions() -> Conditions:
            hot = self.is_hot(clock)
            return Conditions(
                mhz=SLOW_MHZ if hot else FAST_MHZ,
                temperature_c=84.0 if hot else 55.0,
                throttle=("throttled",) if hot else (),
            )

        def energy() -> EnergyReading:
            assert watts is not None
            return EnergyReading(at_ns=clock.now_ns, counters_uj={"package": round(clock.now_ns * watts / 1000)})

        probes = Probes(
            memory=Memory,
            conditions=conditions,
            energy=energy if watts is not None else None,
            on_minute=lambda measured: on_minute(Answer(measured=measured)),
        )
        engine = _Engine(self, clock)
        return Answer(measured=measure(engine, Path("none"), job.config, reps=1, seed=0, clock=clock, probes=probes))


def sustain(
    results: Path,
    device: SustainedDevice,
    cells: Sequence[Cell] = (sustained_cell(),),
    *,
    kill_at_write: int | None = None,
    view: Seen | None = None,
) -> Outcome | None:
    """Measure cells into a results file as one call of the program does; None where it was killed at a write."""
    with ResultsWriter(results) as writer:
        n_writes = 0

        def write(record: Record) -> None:
            nonlocal n_writes
            if n_writes == kill_at_write:
                raise KeyboardInterrupt
            n_writes += 1
            writer.write(record)

        if not writer.results.environments:
            writer.write(ENVIRONMENT)
            for sha256 in dict.fromkeys(each.artifact_sha256 for each in cells):
                writer.write(artifact(sha256, level="Q8_0" if sha256.startswith("a") else "Q4_0"))
        plan = Plan(
            cells=cells,
            files={each.artifact_sha256: (artifact(each.artifact_sha256), Path("none")) for each in cells},
            environment=ENVIRONMENT,
            options=Options(),
            history=history_of(writer.results, ENVIRONMENT.id),
        )
        meter = Meter(source="RAPL", covers="the package") if device.watts else None
        instruments = Instruments(None, meter)
        tools = Tools(
            run=lambda job: device.run(job, lambda minute: None),
            write=instruments.writing(write),
            available_bytes=lambda: AVAILABLE_BYTES,
            view=view or Seen(),
        )
        try:
            return SustainedSweep(plan, tools, instruments.sustaining(device.run)).run()
        except KeyboardInterrupt:
            return None
