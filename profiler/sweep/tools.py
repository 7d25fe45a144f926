"""What a sweep needs from outside: workers, a results file, memory, time, and whoever watches."""

import time
from collections.abc import Callable
from typing import Protocol

import msgspec

from profiler.measure.worker import Answer, Job
from profiler.records.record import Record
from profiler.records.round import AnchorRound, Round
from profiler.sweep.plan import Turn
from profiler.sweep.stopping import Met
from quant.gguf_io.artifact import Artifact

OnMinute = Callable[[Answer], None]
RunMinutes = Callable[[Job, OnMinute], Answer]  # of a sustained load: the last minute is the answer


class View(Protocol):
    """Whoever watches a sweep: the command line's progress, or a test's list."""

    def started(self, n_turns: int, n_done: int) -> None:
        """Called first, with the number of turns to do and of those done before."""

    def more(self, n_turns: int) -> None:
        """Called when turns were added: rounds that are measured again."""

    def turn(self, turn: Turn, artifact: Artifact) -> None:
        """Called when a turn begins."""

    def finished(self, record: Round, artifact: Artifact, left_s: float | None) -> None:
        """Called when a turn has ended, with an estimate of what the others will take."""

    def reference(self, record: AnchorRound) -> None:
        """Called when drift control has measured its reference cell."""

    def met(self, turn: Turn, artifact: Artifact, met: Met, n_spared: int) -> None:
        """Called when the turn's cell has met its target, with the number of turns that this spares."""


class Tools(msgspec.Struct, frozen=True, kw_only=True):
    """What a sweep works with; tests pass their own."""

    run: Callable[[Job], Answer]
    write: Callable[[Record], None]
    available_bytes: Callable[[], int]
    view: View
    now_s: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
