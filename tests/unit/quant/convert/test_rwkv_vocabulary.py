"""Vocabularies of byte strings (RWKV) and of lines of JSON (PLaMo): what they hold, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
from gguf import TokenType

from quant.base.errors import UserError
from quant.convert.tokenizer.plamo import plamo_vocabulary
from quant.convert.tokenizer.rwkv import FILE_NAME, read_words, rwkv_vocabulary
from quant.convert.verify.reference import TrieReference, open_reference
from tests.support.vocabularies import write_plamo_tokenizer, write_rwkv_tokenizer

CONFIG: dict[str, Any] = {"vocab_size": 512}


def test_a_line_is_a_string_or_bytes(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("1 'a b' 3\n2 b'\\xff' 1\n3 \"it's\" 4\n4 '\\u4e2d' 3\n5 '\\n\\n' 2\n")
    assert read_words(tmp_path) == [b"a b", b"\xff", b"it's", "\u4e2d".encode(), b"\n\n"]


@pytest.mark.parametrize(
    "line", ["1 'a' 2", "1 a 1", "'a' 1", "1 'a' + 'b' 2", "1 __import__('os') 1", "1 'a", "1 [1] 1", "1 b'\\xzz' 1"]
)
def test_a_line_of_another_form_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / FILE_NAME).write_text(f"1 'a' 1\n{line}\n")
    with pytest.raises(UserError, match=r"line 2 of .* is no token and its length"):
        read_words(tmp_path)


def test_rwkv_s_vocabulary(tmp_path: Path) -> None:
    write_rwkv_tokenizer(tmp_path)
    found = rwkv_vocabulary(tmp_path, CONFIG, None)
    assert (found.model, found.pre, found.n_tokens) == ("rwkv", None, 512)
    assert found.special.special_token_ids == {"eot": 261, "bos": 0, "eos": 0}
    assert (found.tokens.texts[0], found.tokens.texts[1], found.tokens.texts[-1]) == (b"<s>", rb"\x80", b"[PAD511]")
    with pytest.raises(UserError, match="do not belong together"):
        rwkv_vocabulary(tmp_path, {"vocab_size": 300}, None)
    (tmp_path / FILE_NAME).unlink()
    with pytest.raises(UserError, match=f"has no {FILE_NAME}"):
        rwkv_vocabulary(tmp_path, CONFIG, None)


def test_the_longest_match_is_taken(tmp_path: Path) -> None:
    reference = TrieReference([b"a", b"ab", b"abcd", b"c", b"\xe4", b"\xb8", b"\xad"])
    assert reference.encode("abcab\u4e2d", add_special=False) == (2, 4, 2, 5, 6, 7)
    with pytest.raises(UserError, match="has no byte 100"):
        reference.encode("d", add_special=False)
    write_rwkv_tokenizer(tmp_path)
    opened = open_reference(tmp_path, 512)
    assert opened is not None
    assert opened.library == "longest match"


def test_plamo_s_vocabulary(tmp_path: Path) -> None:
    write_plamo_tokenizer(tmp_path)
    found = plamo_vocabulary(tmp_path, CONFIG, None)
    assert (found.model, found.n_tokens) == ("plamo2", 512)
    assert found.special.special_token_ids == {"bos": 1, "eos": 2, "pad": 3, "unk": 0, "eot": 4}
    kinds = [TokenType(kind) for kind in found.tokens.types]
    assert (kinds[0], kinds[1], kinds[6], kinds[262], kinds[-1]) == (
        TokenType.UNKNOWN, TokenType.CONTROL, TokenType.BYTE, TokenType.NORMAL, TokenType.UNUSED,
    )  # fmt: skip
    for line in ('["a"]', "[1, 0.0]", '["a", "x"]', "{", "null", '"ab"'):
        (tmp_path / "tokenizer.jsonl").write_text(line)
        with pytest.raises(UserError, match="no token with a score"):
            plamo_vocabulary(tmp_path, CONFIG, None)
