"""Models with known logits, and a session that scores them in this process."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from profiler.measure.corpus import Text
from profiler.quality.choose import Chosen
from profiler.quality.session import QualityCounts, QualityOptions, Tools, run_quality
from profiler.quality.worker import ScoreAnswer, ScoreJob
from profiler.records.quality import QualityRecord
from profiler.records.record import Record
from profiler.results.file import Results
from quant.base.progress import watch
from quant.gguf_io.artifact import Artifact
from quant.sources.prepare import Prepared
from tests.support.cells import artifact
from tests.support.scripted_quality_worker import work
from tests.support.scripted_scores import Script
from tests.support.summaries import ENVIRONMENT


def model(folder: Path, level: str, logits: list[float], **script: Any) -> Prepared:
    """A file whose model has the same logits after every token."""
    path = folder / f"tiny-{level}.gguf"
    path.write_bytes(msgspec.json.encode(Script(after={}, other=logits, **script)))
    facts = artifact(sha256=level.lower().ljust(64, "-"), level=level, file_name=path.name)
    return Prepared(artifact=facts, path=path)


class Scoring:
    """A results file in memory; `jobs` are the processes that there would have been."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records: list[Record] = []
        self.jobs: list[ScoreJob] = []
        self.said: list[str] = []
        self.available_bytes = 1 << 40

    @property
    def known(self) -> Results:
        """What is there, as the results file would be read."""
        qualities = {each.key: each for each in self.records if isinstance(each, QualityRecord)}
        return Results(qualities=list(qualities.values()), artifacts={})

    def latest(self) -> dict[str, QualityRecord]:
        """The records by the beginning of the file's hash, which is its level."""
        return {each.artifact_sha256.rstrip("-"): each for each in self.known.qualities}

    def run(self, reference: Prepared | None, *others: Prepared, text: str, **options: Any) -> QualityCounts:
        """Score files with a text of digits, each of which is a token."""
        files = (*([reference] if reference else []), *others)
        tools = Tools(
            scratch=self.folder / "scratch",
            write=self.records.append,
            run=self.score,
            available_bytes=lambda: self.available_bytes,
        )
        with watch(say=self.said.append):
            return run_quality(
                Chosen(files=files, reference=reference),
                Text(name="digits", content=text.encode()),
                QualityOptions(**({"n_ctx": 8} | options)),
                ENVIRONMENT,
                known=self.known,
                tools=tools,
            )

    def score(self, job: ScoreJob, on_progress: Callable[[bytes], None]) -> ScoreAnswer:
        """Do a job, and note it."""
        self.jobs.append(job)
        return work(job, lambda news: on_progress(msgspec.json.encode(news)))


def with_artifacts(records: list[QualityRecord], *artifacts: Artifact) -> Results:
    """Results of these records."""
    return Results(qualities=records, artifacts={each.sha256: each for each in artifacts})
