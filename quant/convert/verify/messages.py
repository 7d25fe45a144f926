"""What the verification of tokens asks its worker, and the answer."""

import msgspec

MISMATCH = "mismatch"  # the code of differences that GGUF could express


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """Open a file without weights, and compare its tokens with those of a checkpoint."""

    header: str
    checkpoint: str
    n_tokens: int  # of the file


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """The first line of one class whose ids differ, and how many there are."""

    code: str  # of the class
    reference: str  # the library that the expected ids come from
    n_lines: int
    text: str
    add_special: bool  # with BOS and EOS
    expected: tuple[int, ...]  # by the checkpoint's own tokenizer
    found: tuple[int, ...]  # by llama.cpp


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What was found."""

    opened: bool = True  # by llama.cpp; its reason is in the worker's stderr
    refusal: str | None = None  # why the tokenizer's library cannot read its file
    reference: str | None = None  # the library, None: there is none to compare with
    n_lines: int = 0  # compared, each mode counts
    known: tuple[Difference, ...] = ()  # what llama.cpp cannot express
    mismatch: Difference | None = None  # everything else
