"""tiktoken's vocabularies: a line per token with its bytes in base64 and its rank, which is its id.

The merges are not in the file. Each token of several bytes is the merge of the two parts that are left when the pairs
of lower rank have been merged, lowest first. Source: _set_vocab_qwen in conversion/base.py of the pinned llama.cpp.
"""

import base64
from pathlib import Path

from gguf import TokenType

from quant.base.errors import UserError
from quant.convert.tokenizer.bpe import byte_characters
from quant.convert.tokenizer.files import read_bytes
from quant.convert.tokenizer.pre import validate_pre
from quant.convert.tokenizer.special import special_vocab
from quant.convert.tokenizer.tokens import Tokens
from quant.convert.tokenizer.vocabulary import Vocabulary

_MAX_TOKEN_BYTES = 1024  # the longest known has 128


def ranked_vocabulary(path: Path, special: tuple[str, ...], n_vocab: int, pre: str) -> Vocabulary:
    """Return the vocabulary of a file, with the special tokens that the files beside it name.

    Raises:
        UserError: the file is broken, has more tokens than the config, or llama.cpp has no such pre-tokenizer.
    """
    validate_pre(pre)
    tokens, merges = tiktoken_tokens(path, special, n_vocab)
    found = special_vocab(path.parent)
    found.merges = merges
    return Vocabulary(model="gpt2", pre=pre, tokens=tokens, special=found)


def tiktoken_tokens(path: Path, special: tuple[str, ...], n_vocab: int) -> tuple[Tokens, list[str]]:
    """Return the tokens and the merges.

    Args:
        special: control tokens whose ids follow the last rank.

    Raises:
        UserError: the file is broken, or has more tokens than the config.
    """
    ranks = read_ranks(path)
    if len(ranks) + len(special) > n_vocab:
        raise UserError(
            f"{path} has {len(ranks)} tokens and {len(special)} special ones, but vocab_size in config.json is "
            f"{n_vocab}; the files do not belong together"
        )
    tokens = Tokens.padded(n_vocab)
    characters = byte_characters()
    written = {token: "".join(characters[byte] for byte in token) for token in ranks}
    for token, rank in ranks.items():
        tokens.put(rank, written[token].encode(), TokenType.NORMAL)
    for place, text in enumerate(special, start=len(ranks)):
        tokens.put(place, text.encode(), TokenType.CONTROL)
    merges = []
    for token, rank in ranks.items():
        if len(token) > 1:
            parts = _parts(ranks, token, rank)
            if len(parts) != 2:
                raise UserError(
                    f"{path} has a token of rank {rank} that is not a merge of two others; download it again"
                )
            merges.append(f"{written[parts[0]]} {written[parts[1]]}")
    return tokens, merges


def read_ranks(path: Path) -> dict[bytes, int]:
    """Read the tokens and their ranks, in the file's order.

    Raises:
        UserError: a line is broken, or the ranks are not consecutive from zero.
    """
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(read_bytes(path).splitlines(), start=1):
        if not line:
            continue
        try:
            encoded, rank = line.split()
            token = base64.b64decode(encoded, validate=True)
            ranks[token] = int(rank)
        except ValueError as error:
            raise UserError(f"line {number} of {path} is not a token and a rank; download it again") from error
        if not 0 < len(token) <= _MAX_TOKEN_BYTES:
            raise UserError(f"line {number} of {path} has a token of {len(token)} bytes; download it again")
    if sorted(ranks.values()) != list(range(len(ranks))):
        raise UserError(f"the ranks in {path} are not consecutive from 0; download it again")
    if any(bytes([byte]) not in ranks for byte in range(256)):
        raise UserError(f"{path} lacks some of the 256 bytes; download it again")
    return ranks


def _parts(ranks: dict[bytes, int], token: bytes, below: int) -> list[bytes]:
    """Merge a token's bytes with all pairs of a lower rank than its own."""
    parts = [token[place : place + 1] for place in range(len(token))]
    while len(parts) > 1:
        lowest, place = min(
            (ranks.get(parts[place] + parts[place + 1], below), place) for place in range(len(parts) - 1)
        )
        if lowest >= below:
            break
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
    return parts
