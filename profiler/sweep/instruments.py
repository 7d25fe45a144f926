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


def during_decode(trace: EnergyTrace, answer: Answer) -> EnergyTrace:
    """Keep the samples taken while decode was timed; those of loading and prefill are not its."""
    samples = answer.measured.samples if answer.measured else ()
    spans = [sample.decode_energy for sample in samples if sample.decode_energy]
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
        self._traces: dict[int, EnergyTrace] = {}  # by the order of a round: it may be written once more, with a mark

    @classmethod
    def of(cls, environment: Environment) -> "Instruments":
        """Load the bandwidth measured in this environment, and look for a source of energy."""
        meter = find_meter(environment.board)
        return cls(load_ceiling(environment.id), meter if isinstance(meter, Meter) else None)

    def running(self, run: Callable[[Job], Answer]) -> Callable[[Job], Answer]:
        """Return a `run` whose worker reads energy around decode, while the parent samples power."""

        def run_metered(job: Job) -> Answer:
            self._trace = None
            if self._meter is None:
                return run(job)
            with tracing(self._meter) as trace_of:
                answer = run(msgspec.structs.replace(job, energy=True))
            self._trace = during_decode(trace_of(), answer)
            return answer

        return run_metered

    def writing(self, write: Callable[[Record], None]) -> Callable[[Record], None]:
        """Return a `write` that adds both to each round that went well."""

        def write_extended(record: Record) -> None:
            if isinstance(record, Round) and record.status == "ok":
                if self._trace is not None:
                    self._traces.setdefault(record.order, self._trace)
                n_threads = record.cell.config.n_threads
                record = msgspec.structs.replace(
                    record,
                    read_ceiling_bytes_per_s=self._ceiling.read_bytes_per_s(n_threads) if self._ceiling else None,
                    energy=self._traces.get(record.order),
                )
            self._trace = None
            write(record)

        return write_extended
