"""Picks of planted truth: levels whose speed and quality a test fixes, in a results file in memory."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from profiler.measure.loop import Measured
from profiler.measure.one_round import RoundOptions, RoundTaker
from profiler.measure.worker import Answer, Job
from profiler.pick.candidates import Candidates, Dropped, entry_key
from profiler.pick.files import LevelFiles
from profiler.pick.records import Entry
from profiler.pick.session import Known, Pick, PickOptions, PickSession, PickTools
from profiler.quality.adaptive import AdaptiveScores
from profiler.records.config import RunConfig
from profiler.records.failure import Failure
from profiler.records.quality import QualityRecord
from profiler.records.record import Record
from profiler.records.round import Conditions, Round
from quant.base.progress import watch
from quant.sources.prepare import Prepared, PrepareOptions
from tests.support.cells import artifact, config
from tests.support.rounds import a_round, sample
from tests.support.summaries import ENVIRONMENT

MIB = 1 << 20
ROUND_S = 1.0
BITS = {"Q4_0": 4.5, "Q5_K_M": 5.5, "Q6_K": 6.6, "Q8_0": 8.5}


class Files(LevelFiles):
    """Files that are made by writing a few bytes."""

    def __init__(self, folder: Path, cannot_make: Mapping[str, Exception]) -> None:
        super().__init__("planted", PrepareOptions(levels=None, models_dir=folder))
        self._folder, self._cannot_make = folder, cannot_make
        self.made: list[str] = []

    def at(self, level: str) -> Prepared:
        """Make a level's file."""
        if level in self._cannot_make:
            raise self._cannot_make[level]

        def make() -> Prepared:
            path = self._folder / f"tiny-{level}.gguf"
            if not path.exists():
                self.made.append(level)
                path.write_text(level)
            return Prepared(artifact=facts(level), path=path)

        self._files[level] = self.noting(make)
        return self._files[level]


def facts(level: str) -> Any:
    """The facts of a level's file."""
    return artifact(level.lower().ljust(64, "-"), level=level, file_name=f"tiny-{level}.gguf")


class Planted:
    """A device on which the rates of each level and number of threads are known; time passes by rounds only."""

    def __init__(self, folder: Path, decode_tps: Mapping[str, float], threads: tuple[int, ...] = (1, 2)) -> None:
        self.folder, self.decode_tps, self.threads = folder, decode_tps, threads
        self.records: list[Record] = []
        self.jobs: list[Job] = []
        self.said: list[str] = []
        self.fail: dict[str, Failure] = {}  # by level
        self.cannot_make: dict[str, Exception] = {}
        self.lacking: dict[str, str] = {}  # by level: why its accuracy misses a limit
        self.loads: dict[int, float] = {}  # by the process, from 1: the CPUs that others use meanwhile
        self.stop_after: int | None = None  # rounds, as by Ctrl-C
        self.now_s = 0.0
        self.files = Files(folder, self.cannot_make)
        self.synthetic = True

    def run(self, scores: AdaptiveScores | None = None, **options: Any) -> Pick:
        """Pick, with what is in the results file already."""
        self.files = Files(self.folder, self.cannot_make)
        rounds = RoundTaker(
            RoundOptions(env_id=ENVIRONMENT.id, reps=1, seed=0),
            run=self._measure,
            available_bytes=lambda: 8 << 30,
            first_order=len(self.records),
            now_s=lambda: self.now_s,
        )
        tools = PickTools(
            rounds=rounds,
            scores=scores,
            write=self.records.append,
            write_artifact=lambda _: None,
            lacking=lambda file: self.lacking.get(file.artifact.level),
            now_s=lambda: self.now_s,
        )
        with watch(say=self.said.append):
            return PickSession(
                "planted", self.candidates(), self.files, self.known(), PickOptions(**options), tools
            ).run()

    def candidates(self) -> Candidates:
        """An entry for each level and number of threads."""
        configs = {entry_key(level, each): each for level in self.decode_tps for each in self._configs()}
        entries = tuple(
            Entry(
                key=entry_key(level, each),
                level=level,
                n_threads=each.n_threads,
                n_threads_batch=each.n_threads_batch,
                bpw=BITS[level],
                file_bytes=int(BITS[level] * MIB),
                memory_bytes=int(BITS[level] * 10 * MIB),
                synthetic=self.synthetic,
            )
            for level in self.decode_tps
            for each in self._configs()
        )
        dropped = (Dropped(level="F16", why="needs about 9.0 GiB of memory, 8.0 GiB are available"),)
        return Candidates(model="tiny", synthetic=self.synthetic, entries=entries, configs=configs, dropped=dropped)

    def _configs(self) -> list[RunConfig]:
        return [config(n_threads=n, n_threads_batch=n) for n in self.threads]

    def known(self) -> Known:
        """What the records so far hold."""
        rounds = [each for each in self.records if isinstance(each, Round) and each.status == "ok"]
        qualities = [each for each in self.records if isinstance(each, QualityRecord)]
        levels = {record.cell.artifact_sha256 for record in rounds}
        return Known(
            sha256={level: facts(level).sha256 for level in self.decode_tps if facts(level).sha256 in levels},
            rounds={(record.cell.key, record.round): record for record in rounds},
            qualities={(each.artifact_sha256, each.n_chunks_asked or 0): each for each in qualities},
        )

    def _measure(self, job: Job) -> Answer:
        if self.stop_after is not None and len(self.jobs) >= self.stop_after:
            raise KeyboardInterrupt
        self.jobs.append(job)
        self.now_s += ROUND_S
        level = Path(job.path).read_text()
        if level in self.fail:
            return Answer(failure=self.fail[level])
        n_threads = job.config.n_threads
        wobble = 1 + 0.01 * ((len(self.jobs) * 7) % 5 - 2)  # repeatable scatter of up to 2 %
        step_ms = 1000 / (self.decode_tps[level] * n_threads**0.5 * wobble)
        before, after = around(self.loads.get(len(self.jobs), 0.0))
        record = a_round(
            0,
            sample(prefill_ms=step_ms, decode_ms=[step_ms] * job.config.n_gen, before=before, after=after),
            wall_ns=round(ROUND_S * 1e9),
        )
        fields = {name: getattr(record, name) for name in ("samples", "memory", "buffers", "in_force")}
        return Answer(measured=Measured(load_ns=1, context_ns=1, tokenize_ns=1, warmup_ns=1, **fields))

    def levels_there(self) -> set[str]:
        """Return the levels whose files are there."""
        return {path.read_text() for path in self.folder.glob("*.gguf")}

    def taken(self) -> list[tuple[str, int]]:
        """Return the rounds in the results."""
        return [(each.cell.key, each.round) for each in self.records if isinstance(each, Round)]


def around(load: float) -> tuple[Conditions, Conditions]:
    """Return the conditions before and after a second in which others used this share of one CPU."""
    second = 1_000_000_000
    after = Conditions(busy_ns=round((1 + load) * second), process_cpu_ns=second, clock_ns=second)
    return Conditions(busy_ns=0, process_cpu_ns=0, clock_ns=0), after
