"""Windows scored on the scripted engine; as a process: python -m tests.support.scripted_quality_worker."""

from profiler.quality.worker import ScoreAnswer, ScoreJob, work_with
from quant.base.worker import Send, serve_with_progress
from tests.support.scripted_scores import FakeScores


def work(job: ScoreJob, send: Send) -> ScoreAnswer:
    """Do a job; the path is that of the script."""
    return work_with(FakeScores(), job, send)


if __name__ == "__main__":
    serve_with_progress(ScoreJob, work)
