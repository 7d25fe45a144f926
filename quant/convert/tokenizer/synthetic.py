"""A byte-level vocabulary of any size for made-up weights: bytes, merges of what is known, special tokens.

It fills the memory and takes the time to read that a real vocabulary of its size does.
"""

from itertools import chain, count
from pathlib import Path
from typing import NamedTuple

import gguf

from quant.base.errors import UserError
from quant.convert.tokenizer import Tokens, Vocabulary
from quant.convert.tokenizer.bpe import byte_letters

_BYTES = 256
_MAX_VOCAB = 1 << 20  # four times the largest of a published model; beyond, a tokenizer costs minutes and gigabytes
BEGIN, END = "<|begin|>", "<|end|>"
# Tokens that llama.cpp looks for in every file whose name says Phi-3, and does not load it without.
# Source: impl::load in src/llama-vocab.cpp of the pinned llama.cpp.
_WANTED = {"phi3": ("<unk>", "<s>", "</s>", "<|endoftext|>")}
# Common letters first, so that the merges that English text uses exist in a vocabulary of any size.
_FIRST = "\u0120etaoinshrdlcumwfgypbvk"


class Words(NamedTuple):
    """A vocabulary by id: bytes and merged words, then the special ones."""

    words: list[str]
    special: tuple[str, ...]
    merges: list[tuple[str, str]]


def made_up_words(n_vocab: int, arch: str) -> Words:
    """Make a vocabulary of exactly `n_vocab` tokens, BEGIN and END last.

    Raises:
        UserError: there is no room for the bytes, or the number is beyond any known vocabulary.
    """
    special = (*_WANTED.get(arch, ()), BEGIN, END)
    if n_vocab < _BYTES + len(special):
        raise UserError(f"a vocabulary of {n_vocab} tokens has no room for 256 bytes and {len(special)} special tokens")
    if n_vocab > _MAX_VOCAB:
        raise UserError(f"a vocabulary of {n_vocab} tokens is larger than any known; check the config's vocab_size")
    words = list(byte_letters())
    seen = set(words)
    known = [*_FIRST, *(letter for letter in words if letter not in _FIRST)]
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


def made_up_vocabulary(n_vocab: int, arch: str) -> Vocabulary:
    """Give the vocabulary that a checkpoint by `synthesize` has, without its files.

    Raises:
        UserError: as made_up_words.
    """
    made = made_up_words(n_vocab, arch)
    special = gguf.SpecialVocab(Path("made-up"))  # no files: what it holds is set here
    special.merges = [f"{left} {right}" for left, right in made.merges]
    special.special_token_ids = {"bos": n_vocab - 2, "eos": n_vocab - 1}
    special.add_special_token = {"bos": False}
    kinds = [gguf.TokenType.NORMAL] * len(made.words) + [gguf.TokenType.CONTROL] * len(made.special)
    return Vocabulary(
        model="gpt2",
        pre="gpt-2",
        tokens=Tokens(texts=[word.encode() for word in (*made.words, *made.special)], types=[int(k) for k in kinds]),
        special=special,
    )
