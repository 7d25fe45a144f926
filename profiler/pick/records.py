"""What a race is told, what it requests next, and what it says.

`profiler.pick.race.Race(entries, limits, options)` is fed with what was measured, in the order of time, and requests
the next step. It has no clock, no random numbers and no state but what it was fed: the rounds of an earlier run, fed in
the order in which they were taken, lead to the same state.
"""

from typing import Literal

import msgspec


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One possible choice: a level with a number of threads."""

    key: str  # any name that is not used twice; the cell's key may be unknown until the file is made
    level: str
    n_threads: int
    n_threads_batch: int
    bpw: float
    file_bytes: int
    memory_bytes: int | None = None  # the model's peak at the context, as estimated; None: unknown
    synthetic: bool = False  # no KLD; quality is judged by bits per weight
    predicted_tps: float | None = None  # decode, where this device is calibrated


class RaceOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How sure a decision must be, and what is worth deciding."""

    error: float = 0.05  # the largest probability of a wrong choice, over all entries
    confirm_rounds: int = 6  # of the choice, and of a runner-up that is close
    tie: float = 0.02  # entries whose speeds differ less are a tie
    most_rounds: int = 18  # of one entry; after a confirmation's only where these would rather settle it than not
    windows: tuple[int, ...] = (4, 8, 16, 32, 64)  # totals at which a level's KLD is looked at; the last: all there are
    with_quality: bool = True  # False: no KLD can be measured, so bits per weight decide
    f16_cache: bool = True  # False: the unquantized file has a KLD too, from its quantized KV cache


DEFAULTS = RaceOptions()


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """What one round measured."""

    decode_tps: float | None = None
    prefill_tps: float | None = None
    ttft_ms: float | None = None
    model_rss_bytes: int | None = None
    wall_s: float = 0.0
    disturbed: bool = False  # others used the CPU, its clock fell, or pages were read


class RoundStep(msgspec.Struct, frozen=True, kw_only=True):
    """Measure a round of an entry."""

    key: str
    number: int  # from 0 on; the memory layout depends on it, as in a sweep


class WindowsStep(msgspec.Struct, frozen=True, kw_only=True):
    """Score a level on so many windows in total, those included that were scored before."""

    level: str
    n_windows: int


Step = RoundStep | WindowsStep


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """The KLD of a level, from a number of windows."""

    n_windows: int
    kld: float
    kld_se: float


EliminatedBy = Literal["limit", "quality", "speed", "memory", "threads", "failure", "absent"]


class Elimination(msgspec.Struct, frozen=True, kw_only=True):
    """An entry that is out of the race."""

    key: str
    by: EliminatedBy
    after_rounds: int  # of the entry
    at_step: int  # how many observations of any kind the race had been fed; 0: before the first
    why: str  # in words, without the entry's name


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """An entry's speed as the race sees it: relative to the leader's, with the interval that decides."""

    key: str
    n_rounds: int
    n_disturbed: int
    relative: float | None  # speed / the leader's
    lo: float | None
    hi: float | None


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The decision as it stands: final where `decided`, else the best answer so far."""

    decided: bool
    chosen: str | None  # an entry's key; None where nothing meets the limits, or nothing is known yet
    tied: tuple[str, ...]  # entries as good as the choice at this precision
    runner_up: str | None  # the best entry of another level
    error: float  # the largest probability that another entry is better than the choice and its ties, 0 to 1
    reason: str  # a sentence without its full stop
    eliminated: tuple[Elimination, ...]  # in the order of time
    open: tuple[str, ...]  # entries that could still be chosen, the choice included
    standings: tuple[Standing, ...]  # of all entries with a round, the fastest first
