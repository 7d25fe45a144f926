"""A child process that answers many requests: python -m tests.support.scripted_server."""

import os

from quant.base.worker import serve_many
from tests.support.scripted_children import Seen, Task


def work(task: Task) -> Seen:
    """Answer, or end."""
    if task.kind == "fail":
        os._exit(7)
    return Seen(task.kind)


if __name__ == "__main__":
    serve_many(Task, work)
