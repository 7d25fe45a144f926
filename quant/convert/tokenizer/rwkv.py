"""RWKV's vocabulary of byte strings: rwkv_vocab_v20230424.txt, of which the longest match is taken.

A line has an id, the literal of a string or of bytes, and the number of bytes. GGUF has the bytes in the form of a
literal too. Token 0 begins and ends a text, and two line ends end a turn.
Source: _set_vocab_rwkv_world in conversion/base.py and llm_tokenizer_rwkv in src/llama-vocab.cpp of the pinned
llama.cpp.
"""

import ast
import re
from pathlib import Path

from gguf import TokenType

from quant.base.errors import UserError
from quant.convert.tokenizer.files import read_bytes
from quant.convert.tokenizer.special import special_vocab
from quant.convert.tokenizer.tokens import Tokens
from quant.convert.tokenizer.vocabulary import Vocabulary, load_vocabulary

FILE_NAME = "rwkv_vocab_v20230424.txt"
_LINE = re.compile(r"(\d{1,8}) (b?(['\"]).*\3) (\d{1,4})")
_END, _END_OF_TURN = 0, 261
_TEMPLATE = "rwkv-world"  # a template that llama.cpp has


def read_words(folder: Path) -> list[bytes]:
    """Return the byte strings of the vocabulary, whose ids count from 1.

    Raises:
        UserError: a line has another form.
    """
    path = folder / FILE_NAME
    words = []
    # Line ends within a literal are escaped, but other characters that end lines are not.
    for number, line in enumerate(read_bytes(path).decode("utf-8", errors="replace").split("\n")):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line.rstrip("\r"))
        word = _literal(match[2]) if match else None
        if match is None or word is None or len(word) != int(match[4]):
            raise UserError(f"line {number + 1} of {path} is no token and its length; download it again")
        words.append(word)
    return words


def _literal(text: str) -> bytes | None:
    try:
        value = ast.literal_eval(text)
        return value if isinstance(value, bytes) else str(value).encode()
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def rwkv_vocabulary(folder: Path, config: dict[str, object], pre: str | None) -> Vocabulary:
    """Read the vocabulary; that of a synthetic checkpoint is of another kind.

    Raises:
        UserError: it is missing, broken or larger than the embedding.
    """
    if not (folder / FILE_NAME).is_file():
        if (folder / "tokenizer.json").is_file():
            return load_vocabulary(folder, config, pre=pre)
        raise UserError(f"{folder} has no {FILE_NAME}; download the tokenizer's files too")
    words, n_vocab = read_words(folder), config.get("vocab_size")
    if type(n_vocab) is not int or not _END_OF_TURN < len(words) + 1 <= n_vocab:
        raise UserError(
            f"{folder / FILE_NAME} has {len(words)} tokens, and config.json has vocab_size = {str(n_vocab)[:80]}; "
            "they do not belong together"
        )
    tokens = Tokens.padded(n_vocab)
    tokens.put(_END, b"<s>", TokenType.CONTROL)
    for number, word in enumerate(words):
        tokens.put(number + 1, repr(word)[2:-1].encode(), TokenType.NORMAL)
    special = special_vocab(folder, n_vocab=n_vocab)
    if special.chat_template is None:
        special.chat_template = _TEMPLATE
    special.special_token_ids.setdefault("eot", _END_OF_TURN)
    special.special_token_ids |= {"bos": _END, "eos": _END}
    return Vocabulary(model="rwkv", pre=None, tokens=tokens, special=special)
