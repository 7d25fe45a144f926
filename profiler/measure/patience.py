"""Which of two records of one round counts, and for how long disturbed rounds are measured again."""

import msgspec

from profiler.analysis.disturbance import is_quieter
from profiler.records.round import Round

DEFAULT = 0.30  # of the time that all rounds take


class Patience:
    """The time that measuring disturbed rounds again may add, as a share of that of all others."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._first_ns = self._repeated_ns = 0

    def add(self, record: Round, *, is_repeat: bool = False) -> None:
        """Count a round's time."""
        if is_repeat:
            self._repeated_ns += record.wall_ns or 0
        else:
            self._first_ns += record.wall_ns or 0

    def allows(self, record: Round) -> bool:
        """Return whether there is time to measure a round again that took as long as this one."""
        return self._repeated_ns + (record.wall_ns or 0) <= self._share * self._first_ns


def settled(first: Round, again: Round) -> list[Round]:
    """Return what to write after a disturbed round was measured again: the last of them counts.

    It is the quieter of the two, whichever is faster: choosing by speed would make a cell faster than it is. Both are
    kept in the file, so where the first counts it is written a second time.
    """
    again = msgspec.structs.replace(again, repeated=first.repeated + 1)
    if again.status == "ok" and not is_quieter(first, again):
        return [again]
    return [again, msgspec.structs.replace(first, repeated=first.repeated + 2)]
