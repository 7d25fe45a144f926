"""What the parent adds to a worker's round: the device's read bandwidth, and the energy that it took."""

from collections.abc import Callable

import msgspec

from profiler.device.bandwidth_record import Ceiling, load_ceiling
from profiler.device.energy.find import find_meter
from profiler.device.energy.meter import Meter
from profiler.device.power_sampler import tracing
from profiler.measure.worker import Answer, Job
from profiler.records.energy import EnergyTrace
from profiler.records.environment import Environment
from profiler.records.record import Record
from profiler.records.round import Round
from profiler.sweep.tools import OnMinute, RunMinutes


def while_timed(trace: EnergyTrace, answer: Answer) -> EnergyTrace:
    """Keep the samples taken during decode, and in a request during its prefill; those of loading are not its."""
    samples = answer.measured.samples if answer.measured else ()
    spans = [span for sample in samples if (span := sample.request_energy or sample.decode_energy)]
    kept = [
        (at_ns, watts)
        for at_ns, watts in zip(trace.at_ns, trace.watts, strict=True)
        if any(span.before.at_ns <= at_ns <= span.after.at_ns for span in spans)
    ]
    return msgspec.structs.replace(
        trace, at_ns=tuple(at_ns for at_ns, _ in kept), watts=tuple(watts for _, watts in kept)
    )


class Instruments:
    """Wrap how a sweep runs a job and writes a record."""

    def __init__(self, ceiling: Ceiling | None, meter: Meter | None) -> None:
        self._ceiling, self._meter = ceiling, meter
        self._trace: EnergyTrace | None = None
        # By the order and number of a round: it may be written once more, with a mark.
        self._traces: dict[tuple[int, int], EnergyTrace] = {}

    @classmethod
    def of(cls, environment: Environment) -> "Instruments":
        """Load the bandwidth measured in this environment, and look for a source of energy."""
        meter = find_meter(environment.board)
        return cls(load_ceiling(environment.id), meter if isinstance(meter, Meter) else None)

    def running(self, run: Callable[[Job], Answer]) -> Callable[[Job], Answer]:
        """Return a `run` whose worker reads energy around what it times, while the parent samples power."""
        run_metered = self.sustaining(lambda job, on_minute: run(job))
        return lambda job: run_metered(job, lambda answer: None)

    def sustaining(self, run: RunMinutes) -> RunMinutes:
        """Return the same of a `run` that hands over minutes."""

        def run_metered(job: Job, on_minute: OnMinute) -> Answer:
            self._trace = None
            if self._meter is None:
                return run(job, on_minute)
            with tracing(self._meter) as trace_of:

                def on_metered_minute(minute: Answer) -> None:
                    self._trace = while_timed(trace_of(), minute)
                    on_minute(minute)

                answer = run(msgspec.structs.replace(job, energy=True), on_metered_minute)
            self._trace = while_timed(trace_of(), answer)
            return answer

        return run_metered

    def writing(self, write: Callable[[Record], None]) -> Callable[[Record], None]:
        """Return a `write` that adds both to each round that went well."""

        def write_extended(record: Record) -> None:
            if isinstance(record, Round) and record.status == "ok":
                if self._trace is not None:
                    self._traces.setdefault((record.order, record.round), self._trace)
                n_threads = record.cell.config.n_threads
                record = msgspec.structs.replace(
                    record,
                    read_ceiling_bytes_per_s=self._ceiling.read_bytes_per_s(n_threads) if self._ceiling else None,
                    energy=self._traces.get((record.order, record.round)),
                )
            self._trace = None
            write(record)

        return write_extended
