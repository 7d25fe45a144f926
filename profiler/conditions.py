"""What the machine was doing before and after a repetition."""

from profiler.record import Conditions
from profiler.system import this_system


class ConditionsReader:
    """Read the conditions of the CPUs that a cell is bound to, or of all."""

    def __init__(self, cpus: tuple[int, ...] | None) -> None:
        self._cpus, self._system = cpus, this_system()

    def read(self) -> Conditions:
        """Read once; takes about a millisecond, some more where a system's own program must be asked."""
        found = self._system.conditions(self._cpus)
        assert isinstance(found, Conditions)
        return found
