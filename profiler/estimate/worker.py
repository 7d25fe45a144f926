"""A process that finds the sizes of one model after the other. Run as `python -m profiler.estimate.worker`.

A shape that llama.cpp cannot handle may end it; the parent starts another.
"""

from profiler.estimate.model_sizes import sizes_of
from profiler.estimate.records import Question, Reply
from quant.base.errors import UserError
from quant.base.worker import serve_many


def answer(question: Question) -> Reply:
    """Return the sizes of a model; a reason that the user can act on is a reply too."""
    try:
        return Reply(sizes=sizes_of(question))
    except UserError as error:
        return Reply(refusal=str(error))


if __name__ == "__main__":
    serve_many(Question, answer)
