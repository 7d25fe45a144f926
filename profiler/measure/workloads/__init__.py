"""The workloads: how many tokens go in and come out, and the text that the prompt is taken from.

The counts are the same for every model, so a tokenizer that needs more tokens for a text sees less of it. Texts were
written for this project. `survey` repeats the load of the survey of small language models: 50 tokens in, 50 out.
"""

import random
from collections.abc import Sequence
from importlib import resources

import msgspec

from quant.base.errors import UserError

CORPUS = "corpus.txt"


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """Token counts of one load."""

    name: str
    mode: str  # "separate" | "request"
    n_prompt: int
    n_gen: int
    n_ctx: int | None = None  # None: as large as the tokens need
    text: str | None = None  # the text's file name; None: random tokens


_ALL = (
    # llama-bench's pp512 and tg128, each from an empty cache
    Workload(name="bench", mode="separate", n_prompt=512, n_gen=128),
    # the survey's load
    Workload(name="survey", mode="request", n_prompt=50, n_gen=50, n_ctx=2048, text="survey.txt"),
    # a short question, a short answer
    Workload(name="chat", mode="request", n_prompt=128, n_gen=128, n_ctx=2048, text="chat.txt"),
    # passages and a question about them
    Workload(name="rag", mode="request", n_prompt=1024, n_gen=128, text="rag.txt"),
    # a report to be summarized
    Workload(name="summarize", mode="request", n_prompt=1536, n_gen=192, text="summarize.txt"),
)
WORKLOADS = {workload.name: workload for workload in _ALL}


def find_workload(name: str) -> Workload:
    """Return a workload by its name.

    Raises:
        UserError: there is no such workload.
    """
    if found := WORKLOADS.get(name.strip().lower()):
        return found
    raise UserError(f"unknown workload '{name}'; choose from {', '.join(WORKLOADS)}, or use -p and -n")


def read_text(workload: str) -> str | None:
    """Return the text of a workload; None for random tokens and for the user's own counts."""
    known = WORKLOADS.get(workload)
    if known is None or known.text is None:
        return None
    return resources.files(__name__).joinpath(known.text).read_text(encoding="utf-8")


def read_corpus() -> str:
    """Return the default text of quality and importance matrices.

    English prose, dialogue, code and arithmetic, written for this project, with some characters beyond ASCII.
    """
    return resources.files(__name__).joinpath(CORPUS).read_text(encoding="utf-8")


def prompt_tokens(text_tokens: Sequence[int], n_tokens: int, *, bos: int | None, n_vocab: int, seed: int) -> list[int]:
    """Return exactly `n_tokens` ids: `bos` unless None, then the text, repeated or cut; without text, random ids."""
    if n_tokens == 0:
        return []
    head = [] if bos is None else [bos]
    room = n_tokens - len(head)
    if text_tokens:
        repeats = -(-room // len(text_tokens))
        return head + (list(text_tokens) * repeats)[:room]
    return head + random_tokens(room, n_vocab=n_vocab, seed=seed)


def random_tokens(n_tokens: int, *, n_vocab: int, seed: int) -> list[int]:
    """Return a sequence of ids that depends on nothing but the arguments."""
    source = random.Random(seed)
    return [source.randrange(n_vocab) for _ in range(n_tokens)]
