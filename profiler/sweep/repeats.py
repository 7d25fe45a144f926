"""Rounds that were disturbed are measured again, after the other cells' rounds of the same number.

By then the disturbance may be over, and the rounds are still interleaved. The most disturbed round comes first. A
repeat that is as disturbed as the first try ends the repeats of this number: then the disturbance lasts.
"""

from profiler.analysis.disturbance import disturbances_of, is_quieter
from profiler.measure.patience import Patience, settled
from profiler.records.round import Round
from profiler.sweep.plan import Turn

_MAX_TRIES = 3  # of one round in one sweep


class Repeats:
    """The disturbed rounds of one sweep.

    Args:
        share: of the time of all rounds, that measuring some again may add; 0: none is.
    """

    def __init__(self, share: float) -> None:
        self._patience = Patience(share)
        self._disturbed: dict[Turn, Round] = {}  # of the present number, the record that counts
        self._tries: dict[Turn, int] = {}
        self._due: Turn | None = None  # measured again next
        self._lasts = False  # the disturbance
        self._number = -1

    def settle(self, turn: Turn, record: Round) -> list[Round]:
        """Take a turn's record, and return what to write for it; the last one counts."""
        if turn.round != self._number:
            self._disturbed, self._number, self._lasts = {}, turn.round, False
        before = self._disturbed.pop(turn, None)
        if turn != self._due:  # the first try, or one more for drift control, which has marked the one before
            before = None
        self._due = None
        self._patience.add(record, is_repeat=before is not None)
        written = [record] if before is None else settled(before, record)
        if before is not None:
            self._lasts |= record.status != "ok" or not is_quieter(record, before)
        if written[-1].status == "ok" and disturbances_of(written[-1]):
            self._disturbed[turn] = written[-1]
            self._tries[turn] = self._tries.get(turn, 0) + 1
        return written

    def forget(self) -> None:
        """Repeat nothing of what was measured so far: drift control does, or has marked it."""
        self._disturbed = {}

    def due(self, upcoming: Turn | None) -> list[Turn]:
        """Return the turn to take once more now: one at most, where no other of this number is upcoming."""
        if self._lasts or (upcoming is not None and upcoming.round == self._number):
            return []
        able = [
            (turn, record)
            for turn, record in self._disturbed.items()
            if self._tries[turn] < _MAX_TRIES and self._patience.allows(record)
        ]
        if not able:
            return []
        self._due, worst = able[0]
        for turn, record in able[1:]:
            if is_quieter(worst, record):
                self._due, worst = turn, record
        return [self._due]
