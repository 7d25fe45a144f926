"""The process that does one task for some cells: a job as JSON on stdin, a list as JSON on stdout."""

from importlib import import_module
from typing import Any

from profiler.percell import Job, Task, read_job, work_on
from quant.child import serve

# Where a task is defined, as TASK.
_TASKS = {"summary": "profiler.summarise", "side": "profiler.compare.match"}


def work(job: Job) -> list[Any]:
    """Do the job."""
    task: Task[Any] = import_module(_TASKS[job.task]).TASK
    rounds = iter(read_job(job))
    return [work_on(task, [next(rounds) for _ in lines], job.artifacts, job.environments) for lines in job.cells]


if __name__ == "__main__":
    serve(Job, work)
