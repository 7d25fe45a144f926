"""llama.cpp's names for the pre-tokenizers of published models, detected from the structure in tokenizer.json."""

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer
from tokenizers.models import BPE

from quant.base.errors import UserError
from quant.convert.tokenizer.pre import KNOWN, detect_pre
from quant.convert.tokenizer.vocabulary import load_vocabulary
from tests.support.pre_tokenizers import (
    BLOOM,
    BY_NAME,
    BYTES,
    DEEPSEEK_3,
    DIGITS,
    GPT_2,
    GPT_4O,
    IGNORING_MERGES,
    LLAMA_3,
    NUMBERS,
    PUNCTUATION,
    QWEN_2,
    TEKKEN,
    WORDS,
    found_name,
    sequence,
    split,
)
from tests.support.vocabularies import write_bpe_tokenizer

IGNORING = {"model": {"ignore_merges": True}}


def _found(pre_tokenizer: Any, *, settings: dict[str, Any] | None = None, has_bos: bool = True, **more: Any) -> str:
    return detect_pre({"pre_tokenizer": pre_tokenizer, **more}, Path("c"), settings=settings, has_bos=has_bos)


def _refusal(pre_tokenizer: Any, **more: Any) -> str:
    with pytest.raises(UserError) as error:
        _found(pre_tokenizer, **more)
    return str(error.value)


@pytest.mark.parametrize("name", BY_NAME)
def test_a_published_pre_tokenizer_is_told_by_its_structure(name):
    more = IGNORING if name in IGNORING_MERGES else {}
    assert _found(BY_NAME[name], **more) == found_name(name)


@pytest.mark.parametrize("name", BY_NAME)
def test_it_is_told_as_the_tokenizers_library_writes_it(name):
    empty = json.loads(Tokenizer(BPE()).to_str())
    rewritten = json.loads(Tokenizer.from_str(json.dumps(empty | {"pre_tokenizer": BY_NAME[name]})).to_str())
    rewritten["model"]["ignore_merges"] = name in IGNORING_MERGES
    assert detect_pre(rewritten, Path("c")) == found_name(name)


def test_every_name_found_is_one_that_llama_cpp_knows():
    assert set(map(found_name, BY_NAME)) <= set(KNOWN)


@pytest.mark.parametrize("style", ["gpt-2", "smollm", "llama-bpe", "qwen2"])
def test_a_trained_tokenizer_is_detected(tmp_path, style):
    write_bpe_tokenizer(tmp_path, style=style, vocab_size=300)
    vocabulary = load_vocabulary(tmp_path, {"vocab_size": 300})
    assert (vocabulary.model, vocabulary.pre, vocabulary.n_tokens) == ("gpt2", style, 300)


def test_a_changed_vocabulary_changes_nothing():
    few, many = {"vocab": {"a": 0}, "merges": []}, {"vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}
    assert _found(BY_NAME["deepseek-coder"], model=few) == _found(BY_NAME["deepseek-coder"], model=many)


# --- equal structures in other words


@pytest.mark.parametrize(
    ("pre_tokenizer", "name"),
    [
        ({"type": "ByteLevel"}, "gpt-2"),  # use_regex is true by default
        (sequence(WORDS), "gpt-2"),
        (sequence(sequence(sequence(WORDS))), "gpt-2"),
        (sequence(sequence(DIGITS), sequence(WORDS)), "smollm"),
        ({**WORDS, "trim_offsets": False}, "gpt-2"),
        (sequence(split(GPT_2), BYTES), "gpt-2"),
        (sequence(split(GPT_2, "Removed", invert=True), BYTES), "gpt-2"),
        (sequence(split(r"\p{N}"), WORDS), "smollm"),
        (sequence(split(r"\p{N}"), split(GPT_2), BYTES), "smollm"),
        (sequence(DIGITS, split(GPT_2), BYTES), "smollm"),
        (sequence(split(QWEN_2, invert=True), BYTES), "qwen2"),
        (sequence(split(QWEN_2, "Removed", invert=True), BYTES), "qwen2"),
        (sequence(split(QWEN_2.replace(r"\r\n", "\r\n")), BYTES), "qwen2"),
        (sequence(split(TEKKEN, "Removed", invert=True), BYTES), "tekken"),
        (sequence(PUNCTUATION, WORDS, split(r"\p{N}+"), split("[0-9][0-9][0-9]")), "falcon"),
        (sequence(split(BLOOM), split(r"\p{N}"), BYTES), "viking"),
    ],
)
def test_another_spelling_is_the_same(pre_tokenizer, name):
    assert _found(pre_tokenizer) == name


@pytest.mark.parametrize("settings", [None, {}, {"add_prefix_space": False}, {"add_prefix_space": None}])
def test_a_prefix_space_that_the_settings_turn_off_is_none(settings):
    assert _found({**WORDS, "add_prefix_space": True}, settings=settings) == "gpt-2"


def test_a_prefix_space_that_both_files_ask_for_is_refused():
    said = _refusal({**WORDS, "add_prefix_space": True}, settings={"add_prefix_space": True})
    assert "(space+bytes+words)" in said


# --- Llama 3's structure, which has three names


@pytest.mark.parametrize("how", [split(LLAMA_3), split(LLAMA_3, "Removed", invert=True)])
@pytest.mark.parametrize(
    ("model", "has_bos", "name"),
    [
        ({"ignore_merges": True}, True, "llama-bpe"),
        ({"ignore_merges": True}, False, "glm4"),
        ({"ignore_merges": False}, True, "dbrx"),
        ({}, True, "dbrx"),
        ({}, False, "dbrx"),
        ([], True, "dbrx"),
    ],
)
def test_merging_and_bos_tell_apart_what_splits_as_llama_3(how, model, has_bos, name):
    assert _found(sequence(how, BYTES), model=model, has_bos=has_bos) == name


@pytest.mark.parametrize(
    ("settings", "config", "name"),
    [
        ({"bos_token": "<s>"}, {}, "llama-bpe"),
        ({}, {"bos_token_id": 1}, "llama-bpe"),
        ({"bos_token": None}, {"eos_token_id": 1}, "glm4"),
    ],
)
def test_the_bos_token_of_either_file_counts(tmp_path, settings, config, name):
    content = {
        "added_tokens": [{"id": 1, "content": "<s>", "special": True}],
        "pre_tokenizer": BY_NAME["llama-bpe"],
        "model": {"type": "BPE", "vocab": {"a": 0}, "merges": [], "ignore_merges": True},
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert load_vocabulary(tmp_path, {"vocab_size": 2}).pre == name


# --- what is not known


@pytest.mark.parametrize(
    ("pre_tokenizer", "shown"),
    [
        (None, "(none)"),
        ("ByteLevel", "(none)"),
        (sequence(), "()"),
        ({"type": "Sequence", "pretokenizers": "x"}, "()"),
        (sequence({**WORDS, "add_prefix_space": True}), "(space+bytes+words)"),
        (BYTES, "(bytes)"),
        (sequence(NUMBERS, WORDS), "(numbers; bytes+words)"),
        (sequence(WORDS, DIGITS), "(bytes+words; digits)"),
        (sequence(DIGITS, BYTES), "(digits; bytes)"),
        (sequence(PUNCTUATION, WORDS), "(punctuation; bytes+words)"),
        (sequence({**PUNCTUATION, "behavior": "Isolated"}, WORDS, DIGITS), '"behavior": "Isolated"'),
        (sequence(DIGITS, split(BLOOM), BYTES), "(digits; split  ?[^("),  # Viking's steps in another order
        (sequence(split(LLAMA_3), {**BYTES, "add_prefix_space": True}), "split (?i:"),
        (sequence(split(LLAMA_3), WORDS), "split (?i:"),
        (sequence(split(LLAMA_3, "Removed"), BYTES), '"behavior": "Removed"'),
        (sequence(split(LLAMA_3, "MergedWithNext"), BYTES), '"behavior": "MergedWithNext"'),
        # The rest between the matches would be lost.
        (sequence(split(BLOOM, "Removed", invert=True), BYTES), '"behavior": "Removed"'),
        (sequence(split(r"\p{N}", "Removed", invert=True), WORDS), '"behavior": "Removed"'),
        (sequence(split(DEEPSEEK_3), BYTES), 'split [!"#$%&'),
        (sequence({**split(""), "pattern": {"String": GPT_4O}}, BYTES), 'split text "[^'),  # these literal characters
        (sequence({**split(""), "pattern": {"String": " "}}, BYTES), "split text ' '; bytes"),
        (sequence({**split(""), "pattern": {}}, BYTES), "split text None; bytes"),
        (sequence({**split(""), "pattern": "x"}, BYTES), '"pattern": "x", "type": "Split"'),
        (split(LLAMA_3 + "|x"), "split (?i:"),
        ({"type": "Whitespace"}, '{"type": "Whitespace"}'),
        ({}, "({})"),
    ],
)
def test_an_unknown_pre_tokenizer_shows_itself(pre_tokenizer, shown):
    said = _refusal(pre_tokenizer, **IGNORING)
    start = f"the pre-tokenizer in {Path('c') / 'tokenizer.json'} has an unknown structure ("
    assert said.startswith(start)
    assert shown in said
    assert said.endswith("); pass llama.cpp's name for it with --pre NAME")
    assert said.isprintable()
    assert len(said) < 400


@pytest.mark.parametrize("name", ["deepseek-llm", "falcon", "minicpm5", "tiny_aya"])
def test_a_step_too_few_is_another_structure(name):
    steps = BY_NAME[name]["pretokenizers"]
    for left_out in range(len(steps)):
        try:
            found = _found(sequence(*steps[:left_out], *steps[left_out + 1 :]))
        except UserError:
            continue
        assert found != name


def test_a_pre_tokenizer_nested_without_end_is_one_line():
    node: Any = WORDS
    for _ in range(5000):
        node = sequence(node)
    assert "nested too deeply" in _refusal(node)
