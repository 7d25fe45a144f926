"""A process that sizes up one model after the other. Run as `python -m profiler.estimate.worker`.

A shape that llama.cpp cannot handle may end it; the parent starts another.
"""

from profiler.estimate.records import Question, Reply
from profiler.estimate.size_up import size_up
from quant.base.errors import UserError
from quant.base.worker import serve_many


def answer(question: Question) -> Reply:
    """Size up a model; a reason that the user can act on is a reply too."""
    try:
        return Reply(sizes=size_up(question))
    except UserError as error:
        return Reply(refusal=str(error))


if __name__ == "__main__":
    serve_many(Question, answer)
