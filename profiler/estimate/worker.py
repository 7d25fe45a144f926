"""A process that sizes up one model after the other: questions as JSON lines in, replies as JSON lines out.

Run as `python -m profiler.estimate.worker`. A shape that llama.cpp cannot bear may end it; the parent starts another.
"""

import sys

import msgspec

from profiler.estimate.records import Question, Reply
from profiler.estimate.size_up import size_up
from quant.base.child import end_child, prepare_child
from quant.base.errors import UserError


def answer(question: Question) -> Reply:
    """Size a model up; what the user must mend is a reply too."""
    try:
        return Reply(sizes=size_up(question))
    except UserError as error:
        return Reply(refusal=str(error))


def main() -> None:
    """Answer until the parent closes stdin."""
    stdout = prepare_child()
    decoder = msgspec.json.Decoder(Question)
    for line in sys.stdin.buffer:
        stdout.write(msgspec.json.encode(answer(decoder.decode(line))) + b"\n")
        stdout.flush()
    end_child()


if __name__ == "__main__":
    main()
