"""The race: which round or which window is measured next, and what is decided by those that were."""

from collections.abc import Iterable

from profiler.pick.records import Entry, Observed, RaceOptions, Step, Verdict
from profiler.recommend.records import Limits


class Race:
    """Entries that compete for one choice.

    Usage: `while (step := race.next()) is not None: ...`, with a `record_...` for what came of each step; `verdict()`
    at any time. A step is requested again until something is recorded that answers it.
    """

    def __init__(self, entries: Iterable[Entry], limits: Limits, options: RaceOptions = RaceOptions()) -> None:
        """Begin with what is known without measuring: entries that cannot meet the limits are out at once."""
        raise NotImplementedError

    def next(self) -> Step | None:
        """Return what to measure next; None once the choice is decided."""
        raise NotImplementedError

    def record_round(self, key: str, observed: Observed) -> None:
        """Count one round of an entry, disturbed or not."""
        raise NotImplementedError

    def record_failure(self, key: str, why: str) -> None:
        """Take an entry out of the race: its worker failed."""
        raise NotImplementedError

    def record_quality(self, level: str, n_windows: int, kld: float, kld_se: float) -> None:
        """Replace what is known of a level's quality by the figure of this many windows."""
        raise NotImplementedError

    def record_no_quality(self, level: str, why: str) -> None:
        """Take a level out of the race: its quality cannot be measured."""
        raise NotImplementedError

    def record_absent(self, level: str, why: str) -> None:
        """Take a level out of the race: it cannot be made, or does not fit."""
        raise NotImplementedError

    def verdict(self) -> Verdict:
        """Return the decision as it stands."""
        raise NotImplementedError
