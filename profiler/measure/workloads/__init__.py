"""The fixed prompts: how many tokens go in and come out, and the text that they are taken from.

The counts are the same for every model, so a tokenizer that needs more tokens for a text sees less of it. Texts were
written for this project. `survey` repeats the load of the survey of small language models: 50 tokens in, 50 out.
"""

import hashlib
import random
from collections.abc import Sequence
from importlib import resources

import msgspec

from quant.base.errors import UserError

CORPUS = "corpus.txt"


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """Token counts of one load; a text's file name, None for random tokens."""

    name: str
    mode: str  # "separate" | "request"
    n_prompt: int
    n_gen: int
    n_ctx: int | None = None  # None: as much as the tokens need
    text: str | None = None
    about: str


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload(
            name="bench",
            mode="separate",
            n_prompt=512,
            n_gen=128,
            about="llama-bench's pp512 and tg128, each from an empty cache",
        ),
        Workload(
            name="survey",
            mode="request",
            n_prompt=50,
            n_gen=50,
            n_ctx=2048,
            text="survey.txt",
            about="the survey's load",
        ),
        Workload(
            name="chat",
            mode="request",
            n_prompt=128,
            n_gen=128,
            n_ctx=2048,
            text="chat.txt",
            about="a short question, a short answer",
        ),
        Workload(
            name="rag",
            mode="request",
            n_prompt=1024,
            n_gen=128,
            text="rag.txt",
            about="passages and a question about them",
        ),
        Workload(
            name="summarize",
            mode="request",
            n_prompt=1536,
            n_gen=192,
            text="summarize.txt",
            about="a report to be summarized",
        ),
    )
}


def find_workload(name: str) -> Workload:
    """Give a workload by its name.

    Raises:
        UserError: there is none of that name.
    """
    if found := WORKLOADS.get(name.strip().lower()):
        return found
    raise UserError(f"unknown workload '{name}'; choose from {', '.join(WORKLOADS)}, or give -p and -n")


def read_text(workload: str) -> str | None:
    """Give the text of a workload, None for one of random tokens or of the user's own counts."""
    known = WORKLOADS.get(workload)
    if known is None or known.text is None:
        return None
    return resources.files(__name__).joinpath(known.text).read_text(encoding="utf-8")


def read_corpus() -> str:
    """Give the text that quality and importance matrices are taken from where the user names none.

    English prose, dialogue, code and arithmetic, written for this project; some letters beyond ASCII are among it.
    """
    return resources.files(__name__).joinpath(CORPUS).read_text(encoding="utf-8")


def text_sha256(text: str) -> str:
    """Hash a text: numbers that come from different texts are never compared."""
    return hashlib.sha256(text.encode()).hexdigest()


def prompt_tokens(text_tokens: Sequence[int], n_tokens: int, *, bos: int | None, n_vocab: int, seed: int) -> list[int]:
    """Make exactly `n_tokens` ids: BOS where wanted, then the text, repeated or cut; without text, random ids."""
    if n_tokens == 0:
        return []
    head = [] if bos is None else [bos]
    room = n_tokens - len(head)
    if text_tokens:
        repeats = -(-room // len(text_tokens))
        return head + (list(text_tokens) * repeats)[:room]
    return head + random_tokens(room, n_vocab=n_vocab, seed=seed)


def random_tokens(n_tokens: int, *, n_vocab: int, seed: int) -> list[int]:
    """Make a fixed sequence of ids that depends on nothing but the arguments."""
    source = random.Random(seed)
    return [source.randrange(n_vocab) for _ in range(n_tokens)]
