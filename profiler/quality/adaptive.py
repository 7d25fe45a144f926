"""Quality in steps: a file is scored on the first windows of a text, and on more when these do not suffice.

No window is scored twice: the values of each file, and the unquantized model's distributions, stay in a folder until
the decision that they serve is made, also when the process is killed in between.
"""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from profiler.analysis.memory_need import needed_bytes
from profiler.measure.corpus import Text
from profiler.quality.figures import divergence, perplexity
from profiler.quality.reference import window_bytes
from profiler.quality.session import QualityOptions, config_of
from profiler.quality.worker import ScoreAnswer, ScoreJob, WindowsScored, n_scored
from profiler.records.config import F16_CACHE, KvTypes
from profiler.records.failure import Failure
from profiler.records.quality import QualityRecord
from quant.base.errors import UserError
from quant.base.files import CACHE_ADVICE
from quant.base.progress import progress, say
from quant.base.units import format_bytes, utc_now
from quant.sources.prepare import Prepared

_DISK_BYTES = 1 << 30  # of distributions, at most


class Scored(msgspec.Struct, kw_only=True):
    """What is known of one file, window after window."""

    n_windows: int = 0
    nll: list[float] = []
    kld: list[float] = []
    n_same_top: int = 0
    n_tokens: int = 0
    wall_ns: int = 0
    peak_rss_bytes: int | None = None
    exhausted: bool = False  # the text, or the disk, has no further window


class ScoreTools(NamedTuple):
    """What scoring needs from outside."""

    scratch: Path  # of one results file and one model
    run: Callable[[ScoreJob, Callable[[bytes], None]], ScoreAnswer]
    available_bytes: Callable[[], int]


class NoReferenceError(Exception):
    """The unquantized model cannot be scored, so nothing can be compared with it; the text is the reason."""


class AdaptiveScores:
    """Scores the files of one model against its unquantized file, which is made when it is first needed.

    The files are scored with the options' first KV cache, the unquantized one with an f16 cache.
    """

    def __init__(
        self, reference: Callable[[], Prepared], text: Text, options: QualityOptions, env_id: str, tools: ScoreTools
    ) -> None:
        self._reference_of, self._text, self._options, self._env_id = reference, text, options, env_id
        self._tools = tools
        (self._cache, *_) = options.caches
        self._reference: Prepared | None = None

    def score(self, file: Prepared, n_windows: int) -> QualityRecord:
        """Return the figures of a file over the first windows of the text; a failure is a record too.

        Raises:
            NoReferenceError: the unquantized model cannot be scored.
            UserError: the text has no window, or the disk has no room for one.
        """
        reference = self._opened()
        started_at = utc_now()
        base = self._scored(reference, F16_CACHE, n_windows)
        if isinstance(base, Failure):
            raise NoReferenceError(f"{reference.artifact.model} {reference.artifact.level}: {base.message}")
        is_base = self._cache == F16_CACHE and _is_same(file, reference)
        found = base if is_base else self._scored(file, self._cache, n_windows)
        record = QualityRecord(
            artifact_sha256=file.artifact.sha256,
            text_sha256=self._text.sha256,
            text_name=self._text.name,
            n_ctx=self._options.n_ctx,
            n_chunks_asked=n_windows,
            reference_sha256=reference.artifact.sha256,
            env_id=self._env_id,
            status="failed",
            started_at=started_at,
            n_threads=self._options.n_threads,
            adaptive=True,
            type_k=self._cache.type_k,
            type_v=self._cache.type_v,
        )
        if isinstance(found, Failure):
            status = "skipped" if found.kind == "memory" else "failed"
            return msgspec.structs.replace(record, status=status, error=found)
        n = len(found.nll)
        kld = [0.0] * n if found is base else found.kld
        return msgspec.structs.replace(
            record,
            status="ok",
            n_chunks=found.n_windows,
            n_tokens=found.n_tokens,
            perplexity=perplexity(found.nll),
            divergence=divergence(found.nll, base.nll[:n], kld, n if found is base else found.n_same_top),
            wall_ns=found.wall_ns,
            peak_rss_bytes=found.peak_rss_bytes,
        )

    def forget(self) -> None:
        """Remove what was kept for further windows."""
        shutil.rmtree(self._tools.scratch, ignore_errors=True)

    def _opened(self) -> Prepared:
        if self._reference is None:
            self._reference = self._reference_of()
        return self._reference

    def _folder(self) -> Path:
        """Return the folder of the reference's windows; a text of the same content stands in it."""
        identity = f"{self._opened().artifact.sha256[:16]}-{self._text.sha256[:16]}-{self._options.n_ctx}"
        return self._tools.scratch / identity

    def _scored(self, file: Prepared, cache: KvTypes, n_windows: int) -> Scored | Failure:
        """Score the windows that are not scored yet."""
        path = self._folder() / f"{file.artifact.sha256[:32]}-{cache.type_k}-{cache.type_v}.json"
        known = _read(path)
        n_windows = min(n_windows, self._room(file)) if known.n_windows < n_windows else n_windows
        if known.exhausted or known.n_windows >= n_windows:
            return known
        is_reference = cache == F16_CACHE and _is_same(file, self._opened())
        config = config_of(self._options, cache)
        need, have = needed_bytes(file.artifact, config), self._tools.available_bytes()
        if need > have:
            lack = f"needs about {format_bytes(need)}, {format_bytes(have)} are available"
            return Failure(kind="memory", message=lack)
        name = f"{file.artifact.model} {file.artifact.level}"

        def on_progress(line: bytes) -> None:
            news = msgspec.json.decode(line, type=WindowsScored)
            progress(f"{name}, windows", news.n_done, min(n_windows, news.n_windows))

        say(f"scoring {name}: windows {known.n_windows + 1} to {n_windows}")
        begun_ns = time.monotonic_ns()
        answer = self._tools.run(
            ScoreJob(
                path=str(file.path),
                config=config,
                text_path=str(self._text_path()),
                n_chunks=None,
                first=known.n_windows,
                n_windows=n_windows - known.n_windows,
                folder=str(self._folder()),
                is_reference=is_reference,
            ),
            on_progress,
        )
        if answer.failure is not None:
            if answer.failure.kind == "text":
                raise UserError(answer.failure.message)
            return answer.failure
        known.n_windows = min(n_windows, answer.n_windows)
        known.exhausted = answer.n_windows <= n_windows
        known.nll += answer.nll
        known.kld += answer.kld
        known.n_same_top += answer.n_same_top
        known.n_tokens = answer.n_tokens
        known.wall_ns += time.monotonic_ns() - begun_ns
        if answer.peak_rss_bytes is not None:
            known.peak_rss_bytes = max(known.peak_rss_bytes or 0, answer.peak_rss_bytes)
        _write(path, known)
        return known

    def _room(self, file: Prepared) -> int:
        """Return how many windows' distributions fit on the disk together.

        Raises:
            UserError: not even one.
        """
        folder = self._made(self._folder())
        shape = file.artifact.shape
        if shape is None:
            return 1
        one = window_bytes(n_scored(self._options.n_ctx), shape.n_vocab)
        there = sum(path.stat().st_size for path in folder.glob("*.reference"))
        room = min(_DISK_BYTES, (shutil.disk_usage(folder).free + there) // 2) // one
        if room < 1:
            raise UserError(f"{folder} has no room for {format_bytes(one)}; free space, or {CACHE_ADVICE}")
        return room

    def _text_path(self) -> Path:
        path = self._made(self._folder()) / "text"
        if not path.exists():
            path.write_bytes(self._text.content)
        return path

    def _made(self, folder: Path) -> Path:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot write {folder}: {error.strerror}; {CACHE_ADVICE}") from error
        return folder


def _is_same(file: Prepared, other: Prepared) -> bool:
    return file.artifact.sha256 == other.artifact.sha256


def _read(path: Path) -> Scored:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Scored)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return Scored()


def _write(path: Path, scored: Scored) -> None:
    from quant.base.files import write_text

    write_text(path, msgspec.json.encode(scored).decode(), advice=CACHE_ADVICE)
