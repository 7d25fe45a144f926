"""One call of `quality`: the reference scores some windows, then each file with each KV cache the same ones, and so on.

One process at a time opens one model, so memory never holds two. In between, the reference's distributions are
on disk, at most _DISK_BYTES of them: a long text takes several turns. A file's record is written when it is finished.
"""

import shutil
import sys
import time
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from profiler.analysis.memory_need import needed_bytes
from profiler.measure.corpus import Text
from profiler.quality.choose import Chosen
from profiler.quality.figures import divergence, perplexity
from profiler.quality.worker import ScoreAnswer, ScoreJob, WindowsScored, n_scored
from profiler.records.config import F16_CACHE, KvTypes, RunConfig, base_config
from profiler.records.environment import Environment
from profiler.records.failure import Failure
from profiler.records.quality import QualityRecord
from profiler.records.record import Record
from profiler.results.file import Results
from quant.base.errors import UserError
from quant.base.progress import progress, say
from quant.base.units import format_bytes, utc_now
from quant.sources.prepare import Prepared

_DISK_BYTES = 1 << 30
_BATCH_TOKENS = 512


class QualityOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a text is scored."""

    n_ctx: int = 512
    n_chunks: int | None = None  # None: the whole text
    n_threads: int = 1
    timeout_s: float | None = None  # of one process
    repack: bool = True
    caches: tuple[KvTypes, ...] = (F16_CACHE,)  # each file is scored with each


class Tools(NamedTuple):
    """What a session needs from outside."""

    scratch: Path  # a folder of its own, removed at the end
    write: Callable[[Record], None]
    run: Callable[[ScoreJob, Callable[[bytes], None]], ScoreAnswer]
    available_bytes: Callable[[], int]


class QualityCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How many files were scored; one with several KV caches counts with each."""

    n_ok: int
    n_failed: int
    n_known: int  # scored before


def config_of(options: QualityOptions, cache: KvTypes = F16_CACHE) -> RunConfig:
    """Return the settings of a process: a window as one prompt, in batches of 512 tokens.

    Flash attention is left to llama.cpp, which uses it wherever it can, and must for quantized values.
    """
    n_batch = min(options.n_ctx, _BATCH_TOKENS)
    return base_config(
        workload="quality",
        n_prompt=options.n_ctx,
        n_ctx=options.n_ctx,
        n_batch=n_batch,
        n_outputs_max=min(n_batch, n_scored(options.n_ctx)),
        n_threads=options.n_threads,
        repack=options.repack,
        type_k=cache.type_k,
        type_v=cache.type_v,
    )


def run_quality(
    chosen: Chosen, text: Text, options: QualityOptions, environment: Environment, *, known: Results, tools: Tools
) -> QualityCounts:
    """Score every file with every KV cache that is not in the results, and write its record.

    The reference is scored with an f16 cache, requested or not.

    Raises:
        UserError: the text is too short, or the disk has no room for a single window.
    """
    reference = _reference_in_memory(chosen, options, tools)
    blank = QualityRecord(
        artifact_sha256="",
        text_sha256=text.sha256,
        text_name=text.name,
        n_ctx=options.n_ctx,
        n_chunks_asked=options.n_chunks,
        reference_sha256=reference.artifact.sha256 if reference else None,
        env_id=environment.id,
        status="failed",
        started_at="",
        n_threads=options.n_threads,
    )
    done = {record.key for record in known.qualities if record.status == "ok"}
    requested = [(file, cache) for file in chosen.files for cache in options.caches]
    if chosen.reference is not None and not any(_is_base(file, cache, chosen.reference) for file, cache in requested):
        requested.insert(0, (chosen.reference, F16_CACHE))
    files = [_FileScores(file, cache, blank, done) for file, cache in requested]
    session = _Session(files, options, tools)
    n_pending = sum(file.is_pending for file in files)
    if n_pending:
        with _emptied(tools.scratch):
            (tools.scratch / "text").write_bytes(text.content)
            session.score_all()
    return QualityCounts(n_ok=session.n_ok, n_failed=session.n_failed, n_known=len(files) - n_pending)


def _reference_in_memory(chosen: Chosen, options: QualityOptions, tools: Tools) -> Prepared | None:
    """Return the reference, or None where it does not fit: perplexity needs the level alone."""
    reference = chosen.reference
    if reference is None or (lack := _lack_of_memory(reference, config_of(options), tools)) is None:
        return reference
    name = f"{reference.artifact.model} {reference.artifact.level}"
    say(f"{name}, the model to compare with, {lack}; only perplexity is measured, no KLD")
    return None


def _is_base(file: Prepared, cache: KvTypes, reference: Prepared) -> bool:
    """Return whether this is what the others are compared with."""
    return cache == F16_CACHE and file.artifact.sha256 == reference.artifact.sha256


def _lack_of_memory(file: Prepared, config: RunConfig, tools: Tools) -> str | None:
    need, have = needed_bytes(file.artifact, config), tools.available_bytes()
    if need <= have:
        return None
    return f"needs about {format_bytes(need)}, {format_bytes(have)} are available; close programs or lower --n-ctx"


@contextmanager
def _emptied(folder: Path) -> Iterator[None]:
    """Make a folder empty of what a killed run left, and remove it at the end."""
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror}; set SLMPROF_CACHE to another folder") from error
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _FileScores:
    """One file with one KV cache, what has been scored so far, and its record, which gets figures at the end."""

    def __init__(self, file: Prepared, cache: KvTypes, blank: QualityRecord, done: Container[object]) -> None:
        self.file, self.cache = file, cache
        self.record = msgspec.structs.replace(
            blank, artifact_sha256=file.artifact.sha256, type_k=cache.type_k, type_v=cache.type_v
        )
        self.is_pending = self.record.key not in done  # a record is still to be written
        self.is_reference = cache == F16_CACHE and file.artifact.sha256 == blank.reference_sha256
        self.nll: list[float] = []
        self._kld: list[float] = []
        self._n_same_top = 0
        self._n_tokens = 0
        self._wall_ns = 0
        self._peak_rss_bytes: int | None = None

    @property
    def name(self) -> str:
        name = f"{self.file.artifact.model} {self.file.artifact.level}"
        return name if self.cache == F16_CACHE else f"{name}, KV cache {self.cache}"

    def begin(self) -> None:
        """Note when the first process started."""
        if not self.record.started_at:
            self.record = msgspec.structs.replace(self.record, started_at=utc_now())

    def add(self, answer: ScoreAnswer, wall_ns: int) -> None:
        self.nll += answer.nll
        self._kld += answer.kld
        self._n_same_top += answer.n_same_top
        self._n_tokens = answer.n_tokens
        self._wall_ns += wall_ns
        if answer.peak_rss_bytes is not None:
            self._peak_rss_bytes = max(self._peak_rss_bytes or 0, answer.peak_rss_bytes)

    def fail(self, failure: Failure, status: str) -> None:
        self.record = msgspec.structs.replace(self.record, status=status, error=failure)

    def finish(self, reference: "_FileScores | None") -> None:
        """Derive the figures, with those against the reference where there is one."""
        compared = None
        if self.is_reference:
            compared = divergence(self.nll, self.nll, [0.0] * len(self.nll), len(self.nll))
        elif reference is not None:
            compared = divergence(self.nll, reference.nll, self._kld, self._n_same_top)
        self.record = msgspec.structs.replace(
            self.record,
            status="ok",
            n_chunks=len(self.nll) // n_scored(self.record.n_ctx),
            n_tokens=self._n_tokens,
            perplexity=perplexity(self.nll),
            divergence=compared,
            wall_ns=self._wall_ns,
            peak_rss_bytes=self._peak_rss_bytes,
        )


class _Session:
    """Turns of a few windows: the reference, then the levels that have not failed."""

    def __init__(self, files: Sequence[_FileScores], options: QualityOptions, tools: Tools) -> None:
        self._files, self._options, self._tools = files, options, tools
        self._reference = next((file for file in files if file.is_reference), None)
        self.n_ok = self.n_failed = 0

    def _pending(self) -> list[_FileScores]:
        return [file for file in self._files if file.is_pending]

    def score_all(self) -> None:
        """Score the pending files on the whole text."""
        if self._reference is not None:
            self._score_against(self._reference)
            return
        for file in self._pending():
            if self._score(file, 0, sys.maxsize):
                self._finish(file)

    def _score_against(self, reference: _FileScores) -> None:
        first, total = 0, sys.maxsize
        at_once = self._windows_at_once(reference)
        while first < total and self._pending():
            base = self._score(reference, first, at_once)
            if base is None:
                self._give_up(reference)
                return
            total = base.n_windows
            is_last = first + at_once >= total
            for file in self._pending():
                if (file.is_reference or self._score(file, first, at_once)) and is_last:
                    self._finish(file)
            for path in self._tools.scratch.glob("*.reference"):
                path.unlink()
            first += at_once

    def _windows_at_once(self, reference: _FileScores) -> int:
        """Return how many windows fit on disk together.

        Raises:
            UserError: not even one.
        """
        from profiler.quality.reference import window_bytes

        shape = reference.file.artifact.shape
        if shape is None:
            return 1
        one = window_bytes(n_scored(self._options.n_ctx), shape.n_vocab)
        free = shutil.disk_usage(self._tools.scratch).free
        if free < 2 * one:
            raise UserError(
                f"{self._tools.scratch.parent} has {format_bytes(free)} free, and a window takes {format_bytes(one)}; "
                "free space, set SLMPROF_CACHE to another disk, or use a smaller --n-ctx"
            )
        return max(1, min(_DISK_BYTES, free // 2) // one)

    def _score(self, file: _FileScores, first: int, n_windows: int) -> ScoreAnswer | None:
        """Score windows in one process; None where it failed, and the failure is then in the results."""
        file.begin()
        config = config_of(self._options, file.cache)
        if lack := _lack_of_memory(file.file, config, self._tools):
            self._fail(file, Failure(kind="memory", message=lack), "skipped")
            return None

        def on_progress(line: bytes) -> None:
            news = msgspec.json.decode(line, type=WindowsScored)
            progress(f"{file.name}, windows", news.n_done, news.n_windows)

        job = ScoreJob(
            path=str(file.file.path),
            config=config,
            text_path=str(self._tools.scratch / "text"),
            n_chunks=self._options.n_chunks,
            first=first,
            n_windows=n_windows,
            folder=str(self._tools.scratch) if self._reference else None,
            is_reference=file.is_reference,
        )
        begun_ns = time.monotonic_ns()
        answer = self._tools.run(job, on_progress)
        if answer.failure is None:
            file.add(answer, time.monotonic_ns() - begun_ns)
            return answer
        if answer.failure.kind == "text" and not self.n_ok and not file.nll:
            raise UserError(answer.failure.message)
        self._fail(file, _with_advice(answer.failure, file.cache), "failed")
        return None

    def _fail(self, file: _FileScores, failure: Failure, status: str) -> None:
        """Write why a file has no figures, unless the results hold some already."""
        file.fail(failure, status)
        say(f"{file.name} {status}: {failure.message}")
        if file.is_pending:
            file.is_pending = False
            self.n_failed += status == "failed"
            self._tools.write(file.record)

    def _give_up(self, reference: _FileScores) -> None:
        """Fail what is pending: without the reference no level can be compared."""
        status = reference.record.status
        failure = Failure(
            kind="worker", message=f"{reference.file.artifact.level}, the model to compare with, {status}"
        )
        for file in self._pending():
            self._fail(file, failure, status)

    def _finish(self, file: _FileScores) -> None:
        """Write a file's figures."""
        file.finish(self._reference)
        file.is_pending = False
        self.n_ok += 1
        self._tools.write(file.record)
        say(f"{file.name}: {describe(file.record)}")


def _with_advice(failure: Failure, cache: KvTypes) -> Failure:
    """Return a failure with what a KV cache needs, where no context could be made with it."""
    if failure.kind != "context" or cache == F16_CACHE:
        return failure
    needs = "quantized keys and values need heads of a multiple of 32, values also flash attention; use f16"
    return msgspec.structs.replace(failure, message=f"{failure.message}; {needs}")


def describe(record: QualityRecord) -> str:
    """Return a record's main figures in one line."""
    assert record.perplexity is not None
    ppl = record.perplexity.ppl
    words = f"perplexity {ppl.value:.4g} ± {ppl.se:.2g}"
    if record.divergence is not None:
        kld, same = record.divergence.kld, record.divergence.same_top
        words += f", KLD {kld.value:.3g} ± {kld.se:.1g}, same top token {same.value:.1%}"
    return words
