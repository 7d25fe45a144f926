"""PLaMo's vocabulary: tokenizer.jsonl, whose lines have a token, its score and its type.

Source: _set_vocab_plamo in conversion/base.py and llm_tokenizer_plamo2 in src/llama-vocab.cpp of the pinned llama.cpp.
"""

import json
from pathlib import Path
from typing import Any

import gguf
from gguf import TokenType

from quant.base.errors import UserError
from quant.convert.tokenizer.files import encoded, read_bytes, read_json
from quant.convert.tokenizer.tokens import Tokens
from quant.convert.tokenizer.vocabulary import Vocabulary, load_vocabulary

FILE_NAME = "tokenizer.jsonl"
_PADDING_SCORE = -1000.0
_END_OF_TURN = 4  # <|plamo:op|>
_TYPES = {"UNKNOWN": TokenType.UNKNOWN, "CONTROL": TokenType.CONTROL, "BYTE": TokenType.BYTE}
_SPECIAL = ("bos", "eos", "pad", "sep", "unk")


def plamo_vocabulary(folder: Path, config: dict[str, Any], pre: str | None) -> Vocabulary:
    """Read the vocabulary; that of a synthetic checkpoint is of another kind.

    Raises:
        UserError: it is missing, broken or larger than the embedding.
    """
    path, n_vocab = folder / FILE_NAME, config.get("vocab_size")
    if not path.is_file():
        if (folder / "tokenizer.json").is_file():
            return load_vocabulary(folder, config, pre=pre)
        raise UserError(f"{folder} has no {FILE_NAME}; download the tokenizer's files too")
    entries = [_entry(path, line) for line in read_bytes(path).split(b"\n") if line.strip()]
    if type(n_vocab) is not int or not 0 < len(entries) <= n_vocab:
        raise UserError(
            f"{path} has {len(entries)} tokens, and config.json has vocab_size = {str(n_vocab)[:80]}; "
            "they do not belong together"
        )
    tokens = Tokens.padded(n_vocab, _PADDING_SCORE)
    for token_id in range(len(entries), n_vocab):
        tokens.texts[token_id] = f"[PAD{token_id - len(entries) + 1}]".encode()
    for token_id, (text, score, kind) in enumerate(entries):
        tokens.put(token_id, text, kind, score)
    special = gguf.SpecialVocab(folder / "none")  # there are no such files; its contents are set here
    settings = read_json(folder / "tokenizer_config.json") or {}
    ids = {word: token_id for token_id, (word, _, _) in reversed(list(enumerate(entries)))}
    named = {name: settings.get(f"{name}_token") for name in _SPECIAL}
    found = {name: ids.get(word.encode()) for name, word in named.items() if isinstance(word, str)}
    special.special_token_ids = {name: token_id for name, token_id in found.items() if token_id is not None}
    special.special_token_ids["eot"] = _END_OF_TURN
    return Vocabulary(model="plamo2", pre="default", tokens=tokens, special=special)


def _entry(path: Path, line: bytes) -> tuple[bytes, float, TokenType]:
    try:
        text, score, *rest = json.loads(line)
        assert isinstance(text, str)
        kind = rest[0] if rest else "NORMAL"
        score = float(score)
    except (ValueError, TypeError, AssertionError, RecursionError, OverflowError) as error:
        raise UserError(f"{path} has a line that is no token with a score; download it again") from error
    is_control = text.startswith("<|plamo:") and text.endswith("|>")
    usual = TokenType.CONTROL if is_control else TokenType.NORMAL
    return encoded(text, path), score, _TYPES.get(str(kind), usual)
