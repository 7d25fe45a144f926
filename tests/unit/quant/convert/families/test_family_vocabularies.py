"""Special tokens that some dense families set themselves, and where a key of theirs stands."""

import json
from pathlib import Path

import gguf

from quant.convert.families import chatglm, ernie4_5, hunyuan_dense, internlm2
from tests.support.vocabularies import (
    write_bpe_tokenizer,
    write_glm_tokenizer,
    write_internlm2_tokenizer,
    write_prefixed_tokenizer,
)

SIZE = {"vocab_size": 512}
BEGIN = 508  # of the tokenizers written here
END_OF_TEXT, USER = 509, 510


def test_the_ends_of_glm_are_known_by_their_texts(tmp_path: Path) -> None:
    write_glm_tokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("{}")
    found = chatglm.vocabulary(tmp_path, SIZE, "gpt-2").special.special_token_ids
    assert (found["eos"], found["eot"], found["unk"]) == (END_OF_TEXT, USER, END_OF_TEXT)
    assert chatglm.vocabulary_with_bos(tmp_path, SIZE, "gpt-2").special.special_token_ids["bos"] == END_OF_TEXT


def test_ids_that_the_tokenizer_names_stay(tmp_path: Path) -> None:
    write_glm_tokenizer(tmp_path)
    assert chatglm.vocabulary_with_bos(tmp_path, SIZE, "gpt-2").special.special_token_ids["bos"] == BEGIN


def test_hunyuan_ends_texts_and_turns_as_its_configs_say(tmp_path: Path) -> None:
    write_bpe_tokenizer(tmp_path)
    assert hunyuan_dense.vocabulary(tmp_path, SIZE, "gpt-2").last == {}
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [7, 8]}))
    found = hunyuan_dense.vocabulary(tmp_path, {**SIZE, "eod_token_id": 9, "pad_token_id": -1}, "gpt-2")
    assert found.last == {"eos_token_id": 9, "eot_token_id": 7}
    assert "pad" not in found.special.special_token_ids


def test_the_space_before_a_text_is_ernie_s_last_key(tmp_path: Path) -> None:
    write_prefixed_tokenizer(tmp_path)
    writer = gguf.GGUFWriter(None, "ernie4_5")
    ernie4_5.vocabulary(tmp_path, SIZE, None).write(writer)
    assert list(writer.kv_data[0])[-1] == "tokenizer.ggml.add_space_prefix"


def test_internlm2_ends_turns_and_has_no_piece_for_nul(tmp_path: Path) -> None:
    write_internlm2_tokenizer(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"eos_token_id": 2}))
    found = internlm2.vocabulary(tmp_path, SIZE, None)
    texts, unused = found.tokens.texts, gguf.TokenType.UNUSED
    assert texts[found.special.special_token_ids["eos"]] == b"<|im_end|>"
    assert b"\0" not in texts
    assert [text for text, kind in zip(texts, found.tokens.types, strict=True) if kind == unused] == [
        b"[UNUSED_TOKEN_2]",
        "\N{DRAGON}".encode(),
    ]
    writer = gguf.GGUFWriter(None, "internlm2")
    found.write(writer)
    keys = list(writer.kv_data[0])
    assert keys[keys.index(gguf.Keys.Tokenizer.TOKEN_TYPE) + 1] == gguf.Keys.Tokenizer.ADD_PREFIX
