"""One pick: a race that is fed with what the results file holds, and with what is measured where that ends.

Every round and every score is written before the race is fed with it, so a killed pick goes on where it stopped: the
race asks for the same steps again, and finds their records. Files are made when the race first asks for their level.
"""

import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import msgspec

from profiler.analysis.disturbance import disturbances_of
from profiler.analysis.memory_parts import model_rss_of
from profiler.analysis.rates import rates_of, ttft_ms_of
from profiler.measure.one_round import RoundTaker
from profiler.measure.patience import Patience, settled
from profiler.pick.candidates import Candidates
from profiler.pick.files import LevelFiles
from profiler.pick.progress import elimination_lines
from profiler.pick.race import Race
from profiler.pick.records import Entry, Observed, RaceOptions, RoundStep, Step, Verdict, WindowsStep
from profiler.quality.adaptive import AdaptiveScores, NoReferenceError
from profiler.recommend.records import Limits
from profiler.records.config import F16_CACHE, Cell
from profiler.records.quality import QualityRecord
from profiler.records.record import Record
from profiler.records.round import Round
from quant.base.errors import UserError
from quant.base.progress import say
from quant.gguf_io.artifact import Artifact
from quant.sources.prepare import Prepared

_NS_PER_S = 1e9


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that the race was fed with; the first has the step 1."""

    step: int
    level: str
    key: str | None = None  # the entry; None: of the level
    observed: Observed | None = None
    kld: float | None = None
    n_windows: int | None = None
    failure: str | None = None


class Pick(msgspec.Struct, frozen=True, kw_only=True):
    """How the pick of one source stands."""

    source: str
    candidates: Candidates
    limits: Limits
    verdict: Verdict
    events: tuple[Event, ...]
    cells: Mapping[str, Cell]  # by the entry's key, of those whose file is known
    chosen: Prepared | None
    most_error: float  # that was asked for
    n_measured: int  # by this run: rounds and scores
    over_budget: bool

    def entry(self, key: str) -> Entry:
        """Return an entry by its key."""
        return next(each for each in self.candidates.entries if each.key == key)


class Known(msgspec.Struct, kw_only=True):
    """What the results file holds of one model in one environment."""

    sha256: dict[str, str] = {}  # by level
    rounds: dict[tuple[str, int], Round] = {}  # by the cell's key and the number
    qualities: dict[tuple[str, int], QualityRecord] = {}  # by the file and the windows that were asked for


class PickOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a pick goes."""

    limits: Limits = Limits()
    race: RaceOptions = RaceOptions()
    budget_s: float = math.inf
    patience: float = 0.0  # the share of the time that re-measuring disturbed rounds may add
    keep_all: bool = False


class PickTools(NamedTuple):
    """What a pick works with."""

    rounds: RoundTaker
    scores: AdaptiveScores | None  # None: no quality is measured
    write: Callable[[Record], None]
    write_artifact: Callable[[Artifact], None]
    lacking: Callable[[Prepared], str | None] | None = None  # why a file misses the limits on accuracy
    making: Callable[[], AbstractContextManager[None]] = nullcontext  # around what makes files and scores
    now_s: Callable[[], float] = time.monotonic


class PickSession:
    """The pick of one source."""

    def __init__(
        self,
        source: str,
        candidates: Candidates,
        files: LevelFiles,
        known: Known,
        options: PickOptions,
        tools: PickTools,
    ) -> None:
        self._source, self._candidates, self._files = source, candidates, files
        self._known, self._options, self._tools = known, options, tools
        self._entries = {entry.key: entry for entry in candidates.entries}
        self._begun_s = tools.now_s()
        self._n_measured = self._n_files = 0
        self._patience = Patience(options.patience)
        self._begin(with_quality=tools.scores is not None)

    def _begin(self, *, with_quality: bool) -> None:
        f16_cache = all(config.cache == F16_CACHE for config in self._candidates.configs.values())
        options = msgspec.structs.replace(self._options.race, with_quality=with_quality, f16_cache=f16_cache)
        self._windows = options.windows
        self._race = Race(self._candidates.entries, self._options.limits, options)
        self._events: list[Event] = []
        self._out: set[str] = set()

    def run(self) -> Pick:
        """Measure until the choice is decided, or the budget is used up."""
        over_budget = False
        self._after()
        while (step := self._race.next()) is not None:
            if not self._recall(step):
                ends_s = self._tools.now_s() - self._begun_s + self._expected_s(step)
                if over_budget := ends_s >= self._options.budget_s:
                    break
                self._do(step)
            self._after()
        return self._finish(over_budget)

    def _expected_s(self, step: Step) -> float:
        """Return how long a step will take, by the entry's last round: none is begun that the budget would cut."""
        if not isinstance(step, RoundStep):
            return 0.0
        last = (each.observed for each in reversed(self._events) if each.observed and each.key == step.key)
        return next((each.wall_s for each in last), 0.0)

    def _recall(self, step: Step) -> bool:
        """Feed the race with what is known already; return whether that answers the step."""
        if isinstance(step, RoundStep):
            cell = self._cell(step.key)
            record = self._known.rounds.get((cell.key, step.number)) if cell else None
            if record is None:
                return False
            self._feed_round(step.key, record)
            return True
        sha256 = self._known.sha256.get(step.level)
        quality = self._known.qualities.get((sha256, step.n_windows)) if sha256 else None
        if quality is None:
            return False
        self._feed_quality(step, quality)
        return True

    def _do(self, step: Step) -> None:
        level = self._entries[step.key].level if isinstance(step, RoundStep) else step.level
        try:
            with self._tools.making():
                file = self._file(level)
                lacking = self._tools.lacking(file) if self._tools.lacking else None
        except UserError as error:
            if not self._n_files:
                raise  # nothing could be made of this source: it is not the level's fault
            self._events.append(Event(step=len(self._events) + 1, level=level, failure=str(error)))
            self._race.record_absent(level, str(error))
            return
        if lacking is not None:
            self._events.append(Event(step=len(self._events) + 1, level=level, failure=lacking))
            self._race.record_absent(level, lacking)
            return
        self._n_measured += 1
        if isinstance(step, RoundStep):
            self._take_round(step, file)
        else:
            self._score(step, file)

    def _file(self, level: str) -> Prepared:
        """Return a level's file, made now if need be.

        Raises:
            UserError: it cannot be made, or the results are of another one.
        """
        file = self._files.at(level)
        sha256 = file.artifact.sha256
        if self._known.sha256.setdefault(level, sha256) != sha256:
            raise UserError(
                f"{file.artifact.file_name} is not the file that the results hold rounds of: the source or an option "
                "has changed; use --fresh, or another -o"
            )
        self._n_files += 1
        self._tools.write_artifact(file.artifact)
        return file

    def _take_round(self, step: RoundStep, file: Prepared) -> None:
        cell = Cell(artifact_sha256=file.artifact.sha256, config=self._candidates.configs[step.key])
        record = self._measured(cell, step, file)
        self._tools.write(record)
        self._patience.add(record)
        if record.status == "ok" and disturbances_of(record) and self._patience.allows(record):
            say(f"{step.key}: that round was disturbed; it is measured again")
            again = self._measured(cell, step, file)
            self._patience.add(again, is_repeat=True)
            written = settled(record, again)
            for each in written:
                self._tools.write(each)
            record = written[-1]
        if record.error is not None:
            say(f"{step.key} {record.status}: {record.error.message}")
            self._events.append(
                Event(
                    step=len(self._events) + 1,
                    level=self._entries[step.key].level,
                    key=step.key,
                    failure=record.error.message,
                )
            )
            self._race.record_failure(step.key, record.error.message)
            return
        self._known.rounds[cell.key, step.number] = record
        self._feed_round(step.key, record)

    def _measured(self, cell: Cell, step: RoundStep, file: Prepared) -> Round:
        record = self._tools.rounds.take(cell, step.number, (file.artifact, file.path))
        if record.status == "ok":
            rates = rates_of(record)
            each = {"prefill": rates.prefill, "decode": rates.decode}
            figures = ", ".join(f"{name} {rate:.4g} t/s" for name, rate in each.items() if rate is not None)
            say(f"[{len(self._events) + 1}] {step.key}, round {step.number + 1}: {figures}")
        return record

    def _score(self, step: WindowsStep, file: Prepared) -> None:
        assert self._tools.scores is not None
        try:
            with self._tools.making():
                record = self._tools.scores.score(file, step.n_windows)
        except NoReferenceError as error:
            if self._options.limits.max_kld is not None:
                raise UserError(f"--max-kld needs the unquantized model to compare with; {error}") from error
            say(f"no quality is measured, bits per weight decide instead: {error}")
            self._begin(with_quality=False)
            return
        self._tools.write(record)
        if record.status != "ok":
            why = record.error.message if record.error else record.status
            say(f"{step.level}: its quality cannot be measured: {why}")
            self._events.append(Event(step=len(self._events) + 1, level=step.level, failure=why))
            self._race.record_no_quality(step.level, why)
            return
        assert record.divergence is not None
        kld = record.divergence.kld
        say(
            f"[{len(self._events) + 1}] {step.level}: KLD {kld.value:.3g} ± {kld.se:.1g} over {record.n_chunks} windows"
        )
        self._known.qualities[record.artifact_sha256, step.n_windows] = record
        self._feed_quality(step, record)

    def _feed_round(self, key: str, record: Round) -> None:
        observed = observed_of(record)
        level = self._entries[key].level
        self._events.append(Event(step=len(self._events) + 1, level=level, key=key, observed=observed))
        self._race.record_round(key, observed)

    def _feed_quality(self, step: WindowsStep, record: QualityRecord) -> None:
        assert record.divergence is not None
        kld = record.divergence.kld
        # Fewer than asked for are all that there are, which the race knows by the last of its numbers.
        n_windows = step.n_windows if record.n_chunks >= step.n_windows else self._windows[-1]
        self._events.append(
            Event(step=len(self._events) + 1, level=step.level, kld=kld.value, n_windows=record.n_chunks)
        )
        self._race.record_quality(step.level, n_windows, kld.value, kld.se)

    def _cell(self, key: str) -> Cell | None:
        sha256 = self._known.sha256.get(self._entries[key].level)
        return Cell(artifact_sha256=sha256, config=self._candidates.configs[key]) if sha256 else None

    def _after(self) -> None:
        """Report who is out, and delete the files of levels that are."""
        verdict = self._race.verdict()
        out = {each.key for each in verdict.eliminated}
        for line in elimination_lines(
            [each for each in verdict.eliminated if each.key not in self._out], self._entries
        ):
            say(line)
        for key in sorted(self._out - out):
            say(f"back in the race: {key}")
        self._out = out
        if not self._options.keep_all:
            racing = {self._entries[key].level for key in verdict.open}
            for level in sorted({entry.level for entry in self._entries.values()} - racing):
                self._files.drop(level)

    def _finish(self, over_budget: bool) -> Pick:
        verdict = self._race.verdict()
        chosen = None
        if verdict.chosen is not None:
            with self._tools.making():
                chosen = self._file(self._entries[verdict.chosen].level)
        if verdict.decided:
            if not self._options.keep_all:
                self._files.drop_all_but(chosen.path if chosen else None)
            if self._tools.scores is not None:
                self._tools.scores.forget()
        return Pick(
            source=self._source,
            candidates=self._candidates,
            limits=self._options.limits,
            verdict=verdict,
            events=tuple(self._events),
            cells={key: cell for key in self._entries if (cell := self._cell(key)) is not None},
            chosen=chosen,
            most_error=self._options.race.error,
            n_measured=self._n_measured,
            over_budget=over_budget,
        )


def observed_of(record: Round) -> Observed:
    """Return what a round that went well measured, and whether it was disturbed."""
    rates = rates_of(record)
    return Observed(
        decode_tps=rates.decode,
        prefill_tps=rates.prefill,
        ttft_ms=ttft_ms_of(record),
        model_rss_bytes=model_rss_of(record.memory),
        wall_s=(record.wall_ns or 0) / _NS_PER_S,
        disturbed=bool(disturbances_of(record)),
    )
