"""The process that does one task for some cells: a job as JSON on stdin, a list as JSON on stdout."""

import gc
from importlib import import_module
from typing import Any

import numpy as np  # noqa: F401  stats.quantiles_ns uses it where it is loaded; for many cells it pays for its import

from profiler.results.percell import Job, Task, read_job, work_on
from quant.base.worker import serve

# Where a task is defined, as TASK.
_TASKS = {"summary": "profiler.analysis.summarise", "side": "profiler.compare.match"}


def work(job: Job) -> list[Any]:
    """Do the job."""
    task: Task[Any] = import_module(_TASKS[job.task]).TASK
    rounds = iter(read_job(job))
    return [work_on(task, [next(rounds) for _ in lines], job.artifacts, job.environments) for lines in job.cells]


if __name__ == "__main__":
    # Rounds have no cycles, and looking for some takes a tenth of the time.
    gc.disable()
    serve(Job, work)
