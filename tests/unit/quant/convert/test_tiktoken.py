"""tiktoken's vocabularies: merges from ranks, control tokens behind them, broken files."""

import base64
from pathlib import Path

import pytest

from quant.base.errors import UserError
from quant.convert.tokenizer.tiktoken import tiktoken_tokens

BYTES = [bytes([byte]) for byte in range(256)]


def write(folder: Path, *more: bytes, lines: str = "") -> Path:
    path = folder / "qwen.tiktoken"
    tokens = [*BYTES, *more]
    path.write_text(
        "".join(f"{base64.b64encode(token).decode()} {rank}\n" for rank, token in enumerate(tokens)) + lines
    )
    return path


def test_a_token_is_the_merge_that_lower_ranks_leave(tmp_path):
    # " abc": "bc" has the lowest rank of its pairs, then " a"; what is left are " a" and "bc".
    path = write(tmp_path, b"bc", b" a", b" abc", b"\xc3\xa4")
    tokens, merges = tiktoken_tokens(path, ("<|endoftext|>",), 263)
    texts, types = tokens.texts, tokens.types
    assert merges == ["b c", "\u0120 a", "\u0120a bc", "\u00c3 \u00a4"]
    assert texts[256:] == [b"bc", "\u0120a".encode(), "\u0120abc".encode(), "\u00c3\u00a4".encode(),
                           b"<|endoftext|>", b"[PAD261]", b"[PAD262]"]  # fmt: skip
    assert types[255:] == [1, 1, 1, 1, 1, 3, 5, 5]


@pytest.mark.parametrize(
    ("more", "lines", "message"),
    [
        ((), "!!! 256\n", "line 257 of .* is not a token and a rank"),
        ((), "YWI=\n", "line 257 of .* is not a token and a rank"),
        ((), "YWI= 300\n", "are not consecutive from 0"),
        ((), "YQ== 256\n", "are not consecutive from 0"),
        ((b"abc",), "", "rank 256 that is not a merge of two others"),
        ((b"ab",), "", "257 tokens and 1 special ones, but vocab_size in config.json is 257"),
    ],
)
def test_a_broken_file_is_refused(tmp_path, more, lines, message):
    with pytest.raises(UserError, match=message):
        tiktoken_tokens(write(tmp_path, *more, lines=lines), ("<|endoftext|>",), 257 if more == (b"ab",) else 300)


def test_a_file_without_all_bytes_is_refused(tmp_path):
    path = tmp_path / "qwen.tiktoken"
    path.write_text("YQ== 0\n")
    with pytest.raises(UserError, match="lacks some of the 256 bytes"):
        tiktoken_tokens(path, (), 10)
