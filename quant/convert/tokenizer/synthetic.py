"""A vocabulary of any size for synthetic weights: bytes, merged tokens, special tokens.

It needs as much memory and loading time as a real vocabulary of its size and kind.
"""

from itertools import chain, count
from pathlib import Path
from typing import NamedTuple

import gguf

from quant.base.errors import UserError
from quant.convert.tokenizer.bpe import byte_characters
from quant.convert.tokenizer.tokens import Tokens
from quant.convert.tokenizer.vocabulary import Vocabulary
from quant.convert.vocabulary_kinds import BPE, KINDS

_BYTES = 256
_MAX_VOCAB = 1 << 20  # four times the largest of a published model; beyond, a tokenizer costs minutes and gigabytes
BEGIN, END = "<|begin|>", "<|end|>"
# Tokens without which llama.cpp does not load a file whose name contains Phi-3.
# Source: impl::load in src/llama-vocab.cpp of the pinned llama.cpp.
_REQUIRED = {"phi3": ("<unk>", "<s>", "</s>", "<|endoftext|>")}
# Common characters first, so that the merges of English text exist in a vocabulary of any size.
_FIRST = "\u0120etaoinshrdlcumwfgypbvk"
_SPACES = {"\u0120": "\u2581"}  # byte-level BPE's character for a space, and SentencePiece's


class Words(NamedTuple):
    """A vocabulary by id: bytes and merged words, then the special ones."""

    words: list[str]
    special: tuple[str, ...]
    merges: list[tuple[str, str]]


def synthetic_words(n_vocab: int, arch: str) -> Words:
    """Return a vocabulary of exactly `n_vocab` tokens, BEGIN and END last.

    Raises:
        UserError: the number is too small for the bytes, or larger than any known vocabulary.
    """
    special = (*_REQUIRED.get(arch, ()), BEGIN, END)
    if n_vocab < _BYTES + len(special):
        raise UserError(f"a vocabulary of {n_vocab} tokens has no room for 256 bytes and {len(special)} special tokens")
    if n_vocab > _MAX_VOCAB:
        raise UserError(f"a vocabulary of {n_vocab} tokens is larger than any known; check the config's vocab_size")
    words = list(byte_characters())
    seen = set(words)
    known = [*_FIRST, *(char for char in words if char not in _FIRST)]
    merges: list[tuple[str, str]] = []
    n_missing = n_vocab - len(special) - len(words)
    # Walk the square of known tokens by growing shells, so that both halves stay short and common.
    for shell in count():
        if len(merges) >= n_missing:
            break
        top, inner = known[shell], known[: shell + 1]
        for pair in chain(((top, other) for other in inner[:-1]), ((other, top) for other in inner)):
            word = pair[0] + pair[1]
            if word not in seen:
                seen.add(word)
                known.append(word)
                merges.append(pair)
    del merges[n_missing:]
    words += known[_BYTES : _BYTES + n_missing]
    return Words(words, special, merges)


def synthetic_vocabulary(n_vocab: int, arch: str, kind: str = BPE) -> Vocabulary:
    """Return a vocabulary that llama.cpp loads as one of `KINDS`; BPE's is that of a checkpoint made by `synthesize`.

    Raises:
        UserError: as synthetic_words.
    """
    made = synthetic_words(n_vocab, arch)
    special = gguf.SpecialVocab(Path("synthetic"))  # there are no files; its contents are set here
    special.merges = [f"{left} {right}" for left, right in made.merges] if kind == BPE else []
    special.special_token_ids = {"bos": n_vocab - 2, "eos": n_vocab - 1}
    special.add_special_token = {"bos": False}
    kinds = [gguf.TokenType.NORMAL] * len(made.words) + [gguf.TokenType.CONTROL] * len(made.special)
    tokens = Tokens(texts=[word.encode() for word in (*made.words, *made.special)], types=[int(k) for k in kinds])
    if KINDS[kind]:
        spaces = str.maketrans(_SPACES)
        tokens.texts = [word.translate(spaces).encode() for word in (*made.words, *made.special)]
        tokens.scores = [0.0] * n_vocab
        # PLaMo's kind takes the id 0 for none.
        tokens.texts[1 : 1 + _BYTES] = [b"<0x%02X>" % byte for byte in range(_BYTES)]
        tokens.types[1 : 1 + _BYTES] = [int(gguf.TokenType.BYTE)] * _BYTES
    return Vocabulary(model=kind, pre="gpt-2", tokens=tokens, special=special)
