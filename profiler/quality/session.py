"""One call of `quality`: the unquantized model scores some windows, then each level the same ones, and so on.

One process at a time opens one model, so memory never holds two. Between them the unquantized model's distributions lie
on disk, never more than _DISK_BYTES of them: a long text takes several turns, and a file is done when its record is
written.
"""

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from profiler.analysis.memory_need import needed_bytes
from profiler.measure.corpus import Text
from profiler.quality.choose import Chosen
from profiler.quality.figures import divergence, perplexity
from profiler.quality.worker import News, ScoreAnswer, ScoreJob, n_scored
from profiler.records.config import RunConfig, base_config
from profiler.records.record import Environment, Failure, Quality, Record
from profiler.results.file import Results
from quant.base.errors import UserError
from quant.base.progress import Progress
from quant.base.units import format_bytes
from quant.sources.prepare import Prepared

MIN_CTX = 8
_DISK_BYTES = 1 << 30
_BATCH_TOKENS = 512


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How a text is scored."""

    n_ctx: int = 512
    n_chunks: int | None = None  # None: the whole text
    n_threads: int = 1
    timeout_s: float | None = None  # of one process
    repack: bool = True


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How it ended."""

    n_ok: int
    n_failed: int
    n_there: int  # in the results before


def config_of(options: Options) -> RunConfig:
    """Give the settings of a process: a window as one prompt, in batches of 512 tokens."""
    n_batch = min(options.n_ctx, _BATCH_TOKENS)
    return base_config(
        workload="quality",
        n_prompt=options.n_ctx,
        n_ctx=options.n_ctx,
        n_batch=n_batch,
        n_outputs_max=min(n_batch, n_scored(options.n_ctx)),
        n_threads=options.n_threads,
        repack=options.repack,
    )


class Tools(NamedTuple):
    """What a session works with."""

    scratch: Path  # a folder of its own, removed in the end
    write: Callable[[Record], None]
    run: Callable[[ScoreJob, Callable[[bytes], None]], ScoreAnswer]
    available_bytes: Callable[[], int]
    progress: Progress
    say: Callable[[str], None]


def run_quality(
    chosen: Chosen, text: Text, options: Options, environment: Environment, *, known: Results, tools: Tools
) -> Outcome:
    """Score every file that is not in the results, and write its record.

    Raises:
        UserError: the text is too short, or the disk has no room for a single window.
    """
    chosen = _comparable(chosen, options, tools)
    blank = _blank(chosen, text, options, environment)
    done = {record.key for record in known.qualities if record.status == "ok"}
    session = _Session(chosen.reference, blank, options, tools)
    left = [file for file in chosen.files if session.record_of(file).key not in done]
    n_ok = n_failed = 0
    if left:
        with _emptied(tools.scratch):
            (tools.scratch / "text").write_bytes(text.content)
            n_ok, n_failed = session.score_all(left)
    return Outcome(n_ok=n_ok, n_failed=n_failed, n_there=len(chosen.files) - len(left))


def _comparable(chosen: Chosen, options: Options, tools: Tools) -> Chosen:
    """Do without the comparison where the unquantized model does not fit: perplexity needs the level alone."""
    reference = chosen.reference
    if reference is None or (lack := _lack_of_memory(reference, options, tools)) is None:
        return chosen
    name = f"{reference.artifact.model} {reference.artifact.level}"
    tools.say(f"{name}, which the levels are to be compared with, {lack}; so there is perplexity and no divergence")
    return msgspec.structs.replace(chosen, reference=None)


def _lack_of_memory(file: Prepared, options: Options, tools: Tools) -> str | None:
    need, have = needed_bytes(file.artifact, config_of(options)), tools.available_bytes()
    if need <= have:
        return None
    return f"needs about {format_bytes(need)}, {format_bytes(have)} are available; close programs or lower --n-ctx"


def _blank(chosen: Chosen, text: Text, options: Options, environment: Environment) -> Quality:
    return Quality(
        artifact_sha256="",
        text_sha256=text.sha256,
        text_name=text.name,
        n_ctx=options.n_ctx,
        n_chunks_asked=options.n_chunks,
        reference_sha256=chosen.reference.artifact.sha256 if chosen.reference else None,
        env_id=environment.id,
        status="failed",
        started_at="",
        n_threads=options.n_threads,
    )


@contextmanager
def _emptied(folder: Path) -> Iterator[None]:
    """Give a folder without what a killed run left, and remove it in the end."""
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror}; set SLMPROF_CACHE to another folder") from error
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Sums:
    """What has been seen of one file so far."""

    def __init__(self) -> None:
        self.nll: list[float] = []
        self.kld: list[float] = []
        self.n_same_top = 0
        self.wall_ns = 0
        self.peak_rss_bytes: int | None = None
        self.n_tokens = 0

    def add(self, answer: ScoreAnswer, wall_ns: int) -> None:
        self.nll += answer.nll
        self.kld += answer.kld
        self.n_same_top += answer.n_same_top
        self.wall_ns += wall_ns
        self.n_tokens = answer.n_tokens
        if answer.peak_rss_bytes is not None:
            self.peak_rss_bytes = max(self.peak_rss_bytes or 0, answer.peak_rss_bytes)


class _Session:
    """Turns of a few windows: the reference, then the levels that have not failed."""

    def __init__(self, reference: Prepared | None, blank: Quality, options: Options, tools: Tools) -> None:
        self._reference, self._blank, self._options, self._tools = reference, blank, options, tools
        self._config = config_of(options)
        self._started: dict[str, str] = {}  # by the file's sha256, as all below
        self._seen: dict[str, _Sums] = {}
        self._left: dict[str, Prepared] = {}
        self._ended: dict[str, str] = {}  # the status of what has no figures
        self._n_ok = self._n_failed = 0

    def record_of(self, file: Prepared) -> Quality:
        """Give a file's record without anything found."""
        sha256 = file.artifact.sha256
        return msgspec.structs.replace(self._blank, artifact_sha256=sha256, started_at=self._started.get(sha256, ""))

    def score_all(self, files: list[Prepared]) -> tuple[int, int]:
        """Go through the text; give how many files were scored and how many could not be."""
        self._left = {file.artifact.sha256: file for file in files}
        if self._reference is None:
            for file in files:
                if self._score(file, 0, sys.maxsize):
                    self._finish(file)
        else:
            self._score_against(self._reference)
        return self._n_ok, self._n_failed

    def _score_against(self, reference: Prepared) -> None:
        first, total = 0, sys.maxsize
        at_once = self._windows_at_once(reference)
        while first < total and self._left:
            base = self._score(reference, first, at_once)
            if base is None:
                self._give_up(reference)
                return
            total = base.n_windows
            is_last = first + at_once >= total
            for file in list(self._left.values()):
                is_reference = file.artifact.sha256 == reference.artifact.sha256
                if (is_reference or self._score(file, first, at_once)) and is_last:
                    self._finish(file)
            for path in self._tools.scratch.glob("*.reference"):
                path.unlink()
            first += at_once

    def _windows_at_once(self, reference: Prepared) -> int:
        """Say how many windows may lie on disk together.

        Raises:
            UserError: not one of them may.
        """
        from profiler.quality.reference import window_bytes

        shape = reference.artifact.shape
        if shape is None:
            return 1
        one = window_bytes(n_scored(self._options.n_ctx), shape.n_vocab)
        free = shutil.disk_usage(self._tools.scratch).free
        if free < 2 * one:
            raise UserError(
                f"{self._tools.scratch.parent} has {format_bytes(free)} free, and a window takes {format_bytes(one)}; "
                "make room, set SLMPROF_CACHE to another disk, or give a smaller --n-ctx"
            )
        return max(1, min(_DISK_BYTES, free // 2) // one)

    def _score(self, file: Prepared, first: int, n_windows: int) -> ScoreAnswer | None:
        """Let one process score windows; None where it failed, which is then in the results."""
        sha256, artifact, reference = file.artifact.sha256, file.artifact, self._reference
        self._started.setdefault(sha256, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
        seen = self._seen.setdefault(sha256, _Sums())
        if lack := _lack_of_memory(file, self._options, self._tools):
            self._fail(file, Failure(kind="memory", message=lack), "skipped")
            return None

        def on_news(line: bytes) -> None:
            news = msgspec.json.decode(line, type=News)
            self._tools.progress(f"{artifact.model} {artifact.level}, windows", news.n_done, news.n_windows)

        begun_ns = time.monotonic_ns()
        answer = self._tools.run(
            ScoreJob(
                path=str(file.path),
                config=self._config,
                text_path=str(self._tools.scratch / "text"),
                n_chunks=self._options.n_chunks,
                first=first,
                n_windows=n_windows,
                folder=str(self._tools.scratch) if reference else None,
                is_reference=reference is not None and sha256 == reference.artifact.sha256,
            ),
            on_news,
        )
        if answer.failure is None:
            seen.add(answer, time.monotonic_ns() - begun_ns)
            return answer
        if answer.failure.kind == "text" and not self._n_ok and not seen.nll:
            raise UserError(answer.failure.message)
        self._fail(file, answer.failure)
        return None

    def _fail(self, file: Prepared, failure: Failure, status: str = "failed") -> None:
        """Write why a file has no figures, unless it has some in the results already."""
        self._ended[file.artifact.sha256] = status
        self._tools.say(f"{file.artifact.model} {file.artifact.level} {status}: {failure.message}")
        if self._left.pop(file.artifact.sha256, None) is None:
            return
        self._n_failed += status == "failed"
        self._tools.write(msgspec.structs.replace(self.record_of(file), status=status, error=failure))

    def _give_up(self, reference: Prepared) -> None:
        """Fail what is left: without the reference no level can be compared."""
        status = self._ended[reference.artifact.sha256]
        words = f"{reference.artifact.level}, which it is to be compared with, {status}"
        for file in list(self._left.values()):
            self._fail(file, Failure(kind="worker", message=words), status)

    def _finish(self, file: Prepared) -> None:
        """Write a file's figures."""
        sha256 = file.artifact.sha256
        seen, compared = self._seen[sha256], None
        if self._reference is not None:
            base = self._seen[self._reference.artifact.sha256]
            is_reference = base is seen
            compared = divergence(
                seen.nll,
                base.nll,
                [0.0] * len(seen.nll) if is_reference else seen.kld,
                len(seen.nll) if is_reference else seen.n_same_top,
            )
        record = msgspec.structs.replace(
            self.record_of(file),
            status="ok",
            n_chunks=len(seen.nll) // n_scored(self._options.n_ctx),
            n_tokens=seen.n_tokens,
            perplexity=perplexity(seen.nll),
            divergence=compared,
            wall_ns=seen.wall_ns,
            peak_rss_bytes=seen.peak_rss_bytes,
        )
        self._n_ok += 1
        del self._left[sha256]
        self._tools.write(record)
        self._tools.say(f"{file.artifact.model} {file.artifact.level}: {describe(record)}")


def describe(record: Quality) -> str:
    """Give a record in a few words."""
    assert record.perplexity is not None
    ppl = record.perplexity.ppl
    words = f"perplexity {ppl.value:.4g} ± {ppl.se:.2g}"
    if record.divergence is not None:
        kld, same = record.divergence.kld, record.divergence.same_top
        words += f", divergence {kld.value:.3g} ± {kld.se:.1g}, same top token {same.value:.1%}"
    return words
