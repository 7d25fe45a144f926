"""Files are compared where they read every text as the same tokens; else one line names what differs first."""

from pathlib import Path
from typing import Any

import gguf
import pytest

from profiler.quality.vocabulary import refuse_other_vocabulary
from quant.base.errors import UserError
from quant.gguf_io.header import GgufHeader, LongArray, open_gguf_header

N_SHORT, N_LONG = 8, 5000  # a list of a header is kept, or found again in the file


def tokens(n_tokens: int, changed: dict[int, str] | None = None) -> list[str]:
    return [(changed or {}).get(number, f"token-{number}") for number in range(n_tokens)]


def header(path: Path, n_tokens: int, **changes: Any) -> GgufHeader:
    """A header with this vocabulary and nothing else; None omits a key."""
    writer = gguf.GGUFWriter(path, "llama")
    keys: dict[str, Any] = {
        "model": "gpt2",
        "pre": "smollm",
        "tokens": tokens(n_tokens),
        "token_type": [1] * n_tokens,
        "merges": [f"t {number}" for number in range(n_tokens)],
        "bos_token_id": 1,
        "padding_token_id": 2,
        "add_bos_token": False,
    }
    for name, value in (keys | changes).items():
        key = f"tokenizer.ggml.{name}"
        if isinstance(value, list):
            writer.add_array(key, value)
        elif isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif value is not None:
            writer.add_string(key, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return open_gguf_header(path)


@pytest.mark.parametrize("n_tokens", [N_SHORT, N_LONG])
def test_the_same_vocabulary_is_accepted(tmp_path: Path, n_tokens: int) -> None:
    one = header(tmp_path / "one.gguf", n_tokens)
    assert isinstance(one.metadata["tokenizer.ggml.tokens"], LongArray) == (n_tokens == N_LONG)
    # Another padding token, and a default that is stated or not, read no text differently.
    refuse_other_vocabulary(one, header(tmp_path / "two.gguf", n_tokens, padding_token_id=3, add_bos_token=None))
    scores = [0.5] * n_tokens
    refuse_other_vocabulary(one, header(tmp_path / "scored.gguf", n_tokens, scores=scores))  # a merge needs no score


@pytest.mark.parametrize("n_tokens", [N_SHORT, N_LONG])
@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"model": "llama"}, "its tokenizer is 'gpt2', the reference's 'llama'"),
        ({"pre": None}, "its pre-tokenizer is 'smollm', the reference's 'default'"),
        ({"tokens": {6: "\x1b[1m\nlines"}}, "its token 6 is 'token-6', the reference's ' [1m lines'"),
        ({"token_type": {5: 3}}, "its type of token 5 is 1, the reference's 3"),
        ({"merges": {0: "a b"}}, "its merge 0 is 't 0', the reference's 'a b'"),
        ({"bos_token_id": 0}, "its bos_token_id is 1, the reference's 0"),
        ({"add_bos_token": True}, "its add_bos_token is False, the reference's True"),
    ],
)  # fmt: skip
def test_the_first_difference_is_named(tmp_path: Path, n_tokens: int, changes: dict[str, Any], difference: str) -> None:
    one = header(tmp_path / "one.gguf", n_tokens)
    lists: dict[str, list[Any]] = {
        "tokens": tokens(n_tokens),
        "token_type": [1] * n_tokens,
        "merges": [f"t {number}" for number in range(n_tokens)],
    }
    for name, value in changes.items():
        if isinstance(value, dict):
            ((number, item),) = value.items()
            lists[name][number] = item
    changes = {name: lists.get(name, value) for name, value in changes.items()}
    with pytest.raises(UserError) as caught:
        refuse_other_vocabulary(one, header(tmp_path / "two.gguf", n_tokens, **changes))
    text = str(caught.value)
    assert text.startswith(f"one.gguf cannot be compared with two.gguf: {difference};")
    assert "\n" not in text


def test_another_number_of_tokens_and_none_at_all(tmp_path: Path) -> None:
    one = header(tmp_path / "one.gguf", N_SHORT)
    longer = header(tmp_path / "two.gguf", N_SHORT, tokens=tokens(N_LONG))
    with pytest.raises(UserError, match="it has 8 tokens, the reference 5000"):
        refuse_other_vocabulary(one, longer)
    with pytest.raises(UserError, match=r"none\.gguf has no vocabulary"):
        refuse_other_vocabulary(one, header(tmp_path / "none.gguf", N_SHORT, model="none", tokens=None))


def test_scores_decide_where_there_are_no_merges(tmp_path: Path) -> None:
    one = header(tmp_path / "one.gguf", N_SHORT, model="llama", merges=None, scores=[0.0] * N_SHORT)
    other = header(tmp_path / "two.gguf", N_SHORT, model="llama", merges=None, scores=[0.0, -1.5] * 4)
    with pytest.raises(UserError, match=r"its score of token 1 is 0\.0, the reference's -1\.5"):
        refuse_other_vocabulary(one, other)
