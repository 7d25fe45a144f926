"""Windows scored on the scripted engine; as a process: python -m tests.support.scripted_quality_worker."""

from collections.abc import Callable

from profiler.quality.worker import ScoreAnswer, ScoreJob, work_with
from quant.base.child import serve_and_tell
from tests.support.scripted_scores import FakeScores


def work(job: ScoreJob, tell: Callable[[object], None]) -> ScoreAnswer:
    """Do a job; the path is that of the script."""
    return work_with(FakeScores(), job, tell)


if __name__ == "__main__":
    serve_and_tell(ScoreJob, work)
