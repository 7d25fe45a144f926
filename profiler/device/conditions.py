"""What the machine was doing before and after a repetition."""

from profiler.device.os.system import this_system
from profiler.records.round import Conditions


class ConditionsReader:
    """Read the conditions of the CPUs that a cell is bound to, or of all.

    Where there are more CPUs than threads the clock is that of the fastest: the others may idle at a low one.
    """

    def __init__(self, cpus: tuple[int, ...] | None, *, n_threads: int | None = None) -> None:
        self._cpus, self._n_threads, self._system = cpus, n_threads, this_system()

    def read(self) -> Conditions:
        """Read once; takes about a millisecond, more where one of the system's programs must run."""
        return self._system.conditions(self._cpus, n_busy=self._n_threads)
