"""Vocabularies from tokenizer files: names, types and ids; and files that no tokenizer library would take."""

import json
import os
import struct
from pathlib import Path
from typing import Any

import gguf
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quant.base.errors import UserError
from quant.convert.tokenizer.pre import KNOWN, validate_pre
from quant.convert.tokenizer.vocabulary import Vocabulary, is_sentencepiece, load_vocabulary
from tests.support.vocabularies import message, varint, write_sentencepiece_tokenizer

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = (int(getattr(gguf.TokenType, name)) for name in (
    "NORMAL", "UNKNOWN", "CONTROL", "USER_DEFINED", "UNUSED", "BYTE"))  # fmt: skip
MIB = 1 << 20
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def _added(token_id: Any, content: Any, *, special: Any = True) -> dict[str, Any]:
    return {"id": token_id, "content": content, "special": special, "normalized": False}


def _bpe(folder: Path, vocab: Any, *, added: Any = (), model: dict[str, Any] | None = None, **more: Any) -> Path:
    """Write a small tokenizer.json."""
    content = {
        "added_tokens": list(added) if isinstance(added, tuple) else added,
        "pre_tokenizer": BYTE_LEVEL,
        "model": {"type": "BPE", "vocab": vocab, "merges": [], **(model or {})},
        **more,
    }
    (folder / "tokenizer.json").write_text(json.dumps(content))
    return folder


def _settings(folder: Path, **values: Any) -> Path:
    (folder / "tokenizer_config.json").write_text(json.dumps(values))
    return folder


def _load(folder: Path, n_vocab: Any = None, **options: Any) -> Vocabulary:
    return load_vocabulary(folder, {"vocab_size": n_vocab}, **options)


def _listed(vocabulary: Vocabulary) -> list[tuple[str, int]]:
    return [(text.decode(), kind) for text, kind in zip(vocabulary.tokens.texts, vocabulary.tokens.types, strict=True)]


def _refusal(call: Any) -> str:
    with pytest.raises(UserError) as error:
        call()
    said = str(error.value)
    assert said.isprintable()
    assert len(said) < 800
    return said


def _short(value: Any) -> str | None:
    """Name a test by the start of its input."""
    return repr(value)[:24] if isinstance(value, str | bytes) else None


# --- the pre-tokenizer's name; test_pre_tokenizers.py has what is found without it


def test_pre_names_what_is_not_known(tmp_path):
    folder = _bpe(tmp_path, {"a": 0}, pre_tokenizer={"type": "Whitespace"})
    assert _load(folder, pre="whitespace").pre == "whitespace"
    assert "--pre" in _refusal(lambda: _load(folder))


def test_pre_goes_before_what_is_found(tmp_path):
    assert _load(_bpe(tmp_path, {"a": 0}), pre="qwen2").pre == "qwen2"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("quen2", "did you mean 'qwen2'?"),
        ("gpt2", "did you mean 'gpt-2'?"),
        ("LLAMA-BPE-", "some that it knows: gpt-2, smollm, llama-bpe, qwen2, tekken"),
        ("", "some that it knows: "),
    ],
)
def test_a_name_that_llama_cpp_does_not_know_is_refused_with_a_suggestion(tmp_path, name, hint):
    said = _refusal(lambda: validate_pre(name))
    assert said.startswith(f"llama.cpp knows no pre-tokenizer '{name}'; ")
    assert hint in said
    # Before any file is looked at.
    assert _refusal(lambda: _load(tmp_path / "nowhere", pre=name)) == said


def test_every_known_name_is_taken():
    for name in KNOWN:
        validate_pre(name)
    assert len(set(KNOWN)) == len(KNOWN)
    assert {"gpt-2", "smollm", "llama-bpe", "qwen2", "tekken", "deepseek-coder", "granite-embed-multi-97m"} <= set(
        KNOWN
    )


# --- byte-level BPE


def test_tokens_have_the_types_that_their_files_say(tmp_path):
    folder = _bpe(
        tmp_path,
        {"a": 0, "b": 1, "<s>": 2, "<tool>": 3, "<|odd|>": 4},
        added=(
            _added(2, "<s>"),
            _added(3, "<tool>", special=False),
            _added(4, "<|odd|>", special=False),  # looks like a control token, so it is one
            _added(5, "\u2581\u2581", special=False),  # llama.cpp expects spaces as spaces
            _added(6, "<pad>", special=False),
        ),
    )
    assert _listed(_load(folder)) == [
        ("a", NORMAL),
        ("b", NORMAL),
        ("<s>", CONTROL),
        ("<tool>", USER_DEFINED),
        ("<|odd|>", CONTROL),
        ("  ", USER_DEFINED),
        ("<pad>", CONTROL),
    ]


def test_a_byte_level_vocabulary_has_no_scores(tmp_path):
    vocabulary = _load(_bpe(tmp_path, {"a": 0}))
    assert vocabulary.tokens.scores is None
    assert (vocabulary.model, vocabulary.add_space_prefix) == ("gpt2", None)


def test_ids_without_a_token_are_padded_up_to_the_size(tmp_path):
    folder = _bpe(tmp_path, {"a": 0, "b": 3}, added=(_added(5, "<s>"),))
    assert _listed(_load(folder, 8)) == [
        ("a", NORMAL),
        ("[PAD1]", UNUSED),
        ("[PAD2]", UNUSED),
        ("b", NORMAL),
        ("[PAD4]", UNUSED),
        ("<s>", CONTROL),
        ("[PAD6]", UNUSED),
        ("[PAD7]", UNUSED),
    ]
    assert _load(folder).n_tokens == 6  # without a size, up to the highest id


def test_tokens_added_in_the_settings_alone_are_there(tmp_path):
    folder = _bpe(tmp_path, {"a": 0}, added=(_added(1, "<one>", special=False),))
    decoder = {
        "1": {"content": "<other>", "special": True},  # tokenizer.json counts
        "2": {"content": "<two>", "special": True},
        "3": {"content": "<three>"},
        "4": {"content": 4},
        "x": {"content": "<x>"},
        "5": "<five>",
        "-6": {"content": "<six>"},
        "9" * 5000: {"content": "<far>"},
    }
    _settings(folder, added_tokens_decoder=decoder)
    assert _listed(_load(folder)) == [
        ("a", NORMAL),
        ("<one>", USER_DEFINED),
        ("<two>", CONTROL),
        ("<three>", USER_DEFINED),
    ]


@pytest.mark.parametrize("token_id", [-1, True, None, "1", 1.0, [1]])
def test_an_added_token_without_an_id_is_none(tmp_path, token_id):
    folder = _bpe(tmp_path, {"a": 0}, added=(_added(token_id, "<s>"),))
    assert _listed(_load(folder, 2)) == [("a", NORMAL), ("[PAD1]", UNUSED)]


@pytest.mark.parametrize(
    ("vocab", "added"),
    [({"a": 0, "b": 8}, ()), ({"a": 0, "b": 8, "<s>": 9}, (_added(9, "<s>"),)), ({"a": 0, "b": 1 << 23}, ())],
)
def test_an_id_beyond_vocab_size_means_that_the_files_do_not_belong_together(tmp_path, vocab, added):
    folder = _bpe(tmp_path, vocab, added=added)
    highest = vocab["b"]
    assert _refusal(lambda: _load(folder, 8)) == (
        f"{folder / 'tokenizer.json'} has the token id {highest}, but vocab_size in config.json is 8; "
        "the files do not belong together"
    )
    if highest == 8:
        assert _load(folder, 10).n_tokens == 10


@pytest.mark.parametrize("in_vocab", [False, True])
@pytest.mark.parametrize("kind", ["byte-level", "byte-fallback"])
def test_an_added_token_beyond_vocab_size_is_dropped(tmp_path, kind, in_vocab):
    vocab = {"a": 0, "b": 1, "<s>": 2} | ({"<image>": 3} if in_vocab else {})
    added = (_added(2, "<s>"), _added(3, "<image>"), _added(1 << 60, "<far>"))
    folder = _bpe(tmp_path, vocab, added=added) if kind == "byte-level" else _fallback(tmp_path, vocab, *added)
    _settings(folder, added_tokens_decoder={"4": {"content": "<audio>"}})
    assert _listed(_load(folder, 3)) == [("a", NORMAL), ("b", NORMAL), ("<s>", CONTROL)]


def test_an_id_far_beyond_any_vocabulary_is_not_walked_to(tmp_path):
    folder = _bpe(tmp_path, {"a": 0}, added=(_added(1 << 60, "<s>"),))
    assert f"has the token id {1 << 60}" in _refusal(lambda: _load(folder))
    assert _load(folder, 3).n_tokens == 3


@pytest.mark.parametrize(
    ("vocab", "words"),
    [
        ({"a": 0, "b": 0}, "has two tokens with the id 0"),
        ({"a": -1}, "has a token with the id -1"),
        ({"a": 1 << 24}, "has a token with the id 16777216"),
        ({"a": "0"}, "has a token with the id '0'"),
        ({"a": True}, "has a token with the id True"),
        ({"a": 0.0}, "has a token with the id 0.0"),
        ({"a": None}, "has a token with the id None"),
        ({}, "has no vocabulary"),
        ([], "has no vocabulary"),
        (["a"], "has no vocabulary"),
        (None, "has no vocabulary"),
        ({"\ud800": 0}, "has a token that is no text"),
    ],
)
def test_a_broken_vocabulary_is_one_line(tmp_path, vocab, words):
    folder = _bpe(tmp_path, vocab)
    said = _refusal(lambda: _load(folder))
    assert said.startswith(str(folder / "tokenizer.json"))
    assert words in said
    assert _refusal(lambda: _load(_bpe(tmp_path, vocab, model={"byte_fallback": True}))) == said


@pytest.mark.parametrize("size", ["8", 0, -1, 1 << 24, 8.0, [8]])
def test_a_size_that_is_no_number_of_tokens_is_refused(tmp_path, size):
    folder = _bpe(tmp_path, {"a": 0})
    assert f"vocab_size in {folder / 'config.json'} is {size!r}" in _refusal(lambda: _load(folder, size))


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ({"type": "Unigram"}, "a Unigram model"),
        ({"type": "WordPiece"}, "a WordPiece model"),
        ({"type": None}, "a nameless model"),
        (None, "a nameless model"),
        ([], "a nameless model"),
    ],
)
def test_another_model_than_bpe_is_named(tmp_path, model, kind):
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": model}))
    refusal = _refusal(lambda: _load(tmp_path))
    assert f"tokenizer.json holds {kind}" in refusal
    assert "--converter" in refusal


def test_a_model_that_leaves_out_its_type_is_bpe(tmp_path):
    # tokenizers wrote no type in its first versions.
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"vocab": {"a": 0}}, "pre_tokenizer": BYTE_LEVEL}))
    assert _listed(_load(tmp_path)) == [("a", NORMAL)]


# --- merges, special ids, templates


def test_merges_are_kept_in_both_spellings(tmp_path):
    vocab = {"a": 0, "b": 1, "ab": 2}
    assert _load(_bpe(tmp_path, vocab, model={"merges": ["a b"]})).special.merges == ["a b"]
    assert _load(_bpe(tmp_path, vocab, model={"merges": [["a", "b"]]})).special.merges == ["a b"]
    folder = _bpe(tmp_path, vocab)
    (folder / "merges.txt").write_text("#version: 0.2\nab a\n")
    assert _load(folder).special.merges == ["ab a"]


def test_a_space_inside_a_half_of_a_merge_is_written_as_a_letter(tmp_path):
    pairs = [["a", "b"], ["", "a b"], ["a ", "b"], [" ", ""]]
    found = _load(_bpe(tmp_path, {"a": 0, "b": 1, "ab": 2}, model={"merges": pairs})).special.merges
    assert found == ["a b", " a\u0120b", "a\u0120 b", "\u0120 "]


def test_special_ids_come_from_the_settings_else_from_the_config(tmp_path):
    folder = _bpe(tmp_path, {"a": 0, "b": 1}, added=(_added(2, "<s>"), _added(3, "</s>")))
    _settings(folder, bos_token="<s>", eos_token={"content": "</s>"}, add_bos_token=True, add_eos_token=False)
    (folder / "config.json").write_text(json.dumps({"bos_token_id": 0, "pad_token_id": 1}))
    special = _load(folder).special
    assert special.special_token_ids == {"bos": 2, "eos": 3, "pad": 1}
    assert special.add_special_token == {"bos": True, "eos": False}


def test_a_template_is_text_and_nothing_else(tmp_path):
    sprung = tmp_path / "sprung"
    template = "{{ cycler.__init__.__globals__.os.system('touch " + str(sprung) + "') }}"
    folder = _settings(_bpe(tmp_path, {"a": 0}), chat_template=template)
    assert _load(folder).special.chat_template == template
    _settings(folder)
    (folder / "chat_template.jinja").write_text(template)
    _settings(folder, bos_token=None)
    assert _load(folder).special.chat_template == template
    assert not sprung.exists()


@pytest.mark.parametrize(("space_prefix_key", "written"), [(True, True), (False, None)])
def test_the_space_prefix_is_the_llama_familys_key(tmp_path, space_prefix_key, written):
    folder = _settings(_bpe(tmp_path, {"a": 0}), add_prefix_space=True)
    assert _load(folder, space_prefix_key=space_prefix_key).add_space_prefix is written
    _settings(folder, add_prefix_space="yes")
    assert _load(folder, space_prefix_key=True).add_space_prefix is None


# --- byte-fallback BPE, which replaces SentencePiece


def _fallback(folder: Path, vocab: dict[str, int], *added: dict[str, Any]) -> Path:
    return _bpe(folder, vocab, added=added, model={"byte_fallback": True}, pre_tokenizer=None)


def test_a_byte_fallback_bpe_is_written_as_sentencepiece(tmp_path):
    vocab = {"<unk>": 0, "<s>": 1, "<0x0A>": 2, "\u2581a": 3, "<0xZZ>": 4, "<pad>": 5}
    folder = _fallback(tmp_path, vocab, _added(1, "<s>"), _added(6, "<end>"), _added(7, "<tool>", special=False))
    _settings(folder, unk_token="<unk>", pad_token={"content": "<pad>"})
    vocabulary = _load(folder, 8)
    assert (vocabulary.model, vocabulary.pre) == ("llama", "default")
    assert _listed(vocabulary) == [
        ("<unk>", CONTROL),
        ("<s>", CONTROL),
        ("<0x0A>", BYTE),
        ("\u2581a", NORMAL),
        ("<0xZZ>", NORMAL),
        ("<pad>", CONTROL),
        ("<end>", CONTROL),
        ("<tool>", USER_DEFINED),
    ]
    assert vocabulary.tokens.scores == [-1e6] * 8


def test_a_byte_fallback_bpe_is_padded_and_an_added_token_keeps_its_id(tmp_path):
    folder = _fallback(tmp_path, {"a": 0, "b": 1}, _added(3, "<s>"))
    expected = [("a", NORMAL), ("b", NORMAL), ("[PAD2]", UNUSED), ("<s>", CONTROL), ("[PAD4]", UNUSED)]
    assert _listed(_load(folder, 5)) == expected
    assert _listed(_load(folder)) == expected[:4]
    assert len(_load(folder, 5).tokens.scores) == 5
    assert "the files do not belong together" in _refusal(lambda: _load(folder, 1))


@pytest.mark.parametrize("vocab", [{"a": 1}, {"a": 0, "b": 2}, {"a": 0, "b": 1 << 20}])
def test_a_byte_fallback_bpe_with_gaps_is_refused(tmp_path, vocab):
    assert "have gaps" in _refusal(lambda: _load(_fallback(tmp_path, vocab)))


# --- SentencePiece


def _piece(text: str, score: float = 0.0, kind: int | None = None) -> bytes:
    body = message(1, text.encode()) + b"\x15" + struct.pack("<f", score)
    return message(1, body + (b"\x18" + varint(kind) if kind is not None else b""))


def _spm(folder: Path, content: bytes) -> Path:
    (folder / "tokenizer.model").write_bytes(content)
    return folder


def test_pieces_have_their_texts_scores_and_types(tmp_path):
    pieces = [
        _piece("<unk>", 0, 2),
        _piece("<s>", 0, 3),
        _piece("<0x0A>", 0, 6),
        _piece("\u2581Ω", -1.5),  # normal, by default
        _piece("b", -2.25, 1),
        _piece("user", -3, 4),  # llama.cpp's converter takes it for a normal one
        _piece("gone", 0, 5),
        message(1, message(1, b"no score")),
    ]
    vocabulary = _load(_spm(tmp_path, b"".join(pieces)))
    assert (vocabulary.model, vocabulary.pre) == ("llama", "default")
    assert _listed(vocabulary) == [
        ("<unk>", UNKNOWN),
        ("<s>", CONTROL),
        ("<0x0A>", BYTE),
        ("\u2581Ω", NORMAL),
        ("b", NORMAL),
        ("user", NORMAL),
        ("gone", UNUSED),
        ("no score", NORMAL),
    ]
    assert vocabulary.tokens.scores == [0, 0, 0, -1.5, -2.25, -3, 0, 0]


def test_fields_that_are_not_pieces_are_passed_over(tmp_path):
    content = (
        message(2, b"\x18\x02")  # trainer_spec
        + _piece("a")
        + varint(9 << 3 | 0) + varint(1 << 63)  # a number
        + varint(10 << 3 | 1) + bytes(8)  # 64 bits
        + varint(11 << 3 | 5) + bytes(4)  # 32 bits
        + message(1000, b"\xff" * 200)
        + _piece("b")
    )  # fmt: skip
    assert [text for text, _ in _listed(_load(_spm(tmp_path, content)))] == ["a", "b"]


def test_tokenizer_model_goes_before_tokenizer_json(tmp_path):
    folder = _spm(_fallback(tmp_path, {"x": 0}), _piece("a"))
    assert [text for text, _ in _listed(_load(folder))] == ["a"]


@pytest.mark.parametrize("content", [b"GGUF\x03\x00\x00\x00", b"", b"\xff" * 40])
def test_a_tokenizer_model_that_is_none_is_passed_over_beside_a_whole_tokenizer_json(tmp_path, content):
    folder = _spm(_fallback(tmp_path, {"x": 0}), content)
    assert [text for text, _ in _listed(_load(folder))] == ["x"]


def test_the_pre_tokenizer_decides_not_what_else_a_file_has(tmp_path):
    folder = _bpe(tmp_path, {"x": 0, "y": 1, "xy": 2}, model={"byte_fallback": True, "merges": ["x y"]})
    assert _load(_spm(folder, _piece("a"))).model == "gpt2"
    assert not is_sentencepiece(folder)


@pytest.mark.parametrize(
    ("trainer", "normalizer", "reason"),
    [
        (b"\x18\x01", b"\x20\x00", "is not a BPE model"),
        (b"\x20\x64", b"\x20\x00", "is not a BPE model"),  # what is not written is unigram
        (b"\x18\x02", b"\x12\x04\x01\x02\x03\x04\x20\x00", "normalizes text"),
        (b"\x18\x02", b"\x18\x01", "removes extra spaces"),
        (b"\x18\x02", b"\x20\x00\x28\x00", "does not escape spaces"),
        (b"\x18\x02\xc0\x01\x01", b"\x20\x00", "has spaces after words"),
    ],
)
def test_a_sentencepiece_model_that_llama_cpp_does_not_compute_is_refused(tmp_path, trainer, normalizer, reason):
    folder = _spm(tmp_path, _piece("a") + message(2, trainer) + message(3, normalizer))
    assert reason in _refusal(lambda: _load(folder))


@pytest.mark.parametrize(
    ("normalizer", "key"), [(b"\x20\x00", None), (b"\x18\x01\x20\x00", None), (b"\x18\x00\x20\x00", False)]
)
def test_a_model_without_a_dummy_prefix_says_so(tmp_path, normalizer, key):
    folder = _spm(tmp_path, _piece("a") + message(2, b"\x18\x02") + message(3, normalizer))
    assert _load(folder).add_space_prefix is key


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"pre_tokenizer": {"type": "Metaspace", "prepend_scheme": "first"}}, None),
        ({"pre_tokenizer": {"type": "Metaspace", "prepend_scheme": "always"}}, None),
        ({"pre_tokenizer": {"type": "Metaspace", "prepend_scheme": "never"}}, False),
        ({"pre_tokenizer": {"type": "Metaspace", "add_prefix_space": False}}, False),
        ({"normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u2581"}]}}, None),
        ({"normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}}, False),
    ],
)
def test_a_byte_fallback_bpe_has_the_space_that_its_steps_put_first(tmp_path, changes, key):
    folder = _fallback(tmp_path, {"x": 0})
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"pre_tokenizer": None} | changes))
    assert _load(folder).add_space_prefix is key


@pytest.mark.parametrize("merges", [["a b", "ab c", "b c", "a bc"], [["a", "b"], ["ab", "c"], ["b", "c"], ["a", "bc"]]])
def test_a_byte_fallback_bpe_s_scores_are_the_ranks_of_the_first_merges(tmp_path, merges):
    folder = _fallback(tmp_path, {"a": 0, "b": 1, "c": 2, "ab": 3, "abc": 4, "bc": 5})
    path = folder / "tokenizer.json"
    data = json.loads(path.read_text())
    data["model"]["merges"] = merges
    path.write_text(json.dumps(data))
    assert _load(folder).tokens.scores == [-1e6, -1e6, -1e6, 0, -1, -2]


def test_the_second_of_two_ids_with_one_text_is_unused(tmp_path):
    folder = _bpe(tmp_path, {"a": 0, "[PAD2]": 1}, added=(_added(2, "a"), _added(3, "<e>"), _added(4, "<e>")))
    listed = _listed(_load(folder, 6))
    assert [text for text, _ in listed] == ["a", "[PAD2]", "[PAD2]]", "<e>", "[PAD4]", "[PAD5]"]
    assert [kind for _, kind in listed][2] == [kind for _, kind in listed][4] == UNUSED


_CLS = {
    "type": "RobertaProcessing",
    "sep": ["<e>", 2],
    "cls": ["<b>", 1],
    "trim_offsets": True,
    "add_prefix_space": False,
}


def _template(*parts: str) -> dict[str, Any]:
    ids = {"<b>": 1, "<e>": 2}
    single = [{"Sequence": {"id": "A"}} if part == "$" else {"SpecialToken": {"id": part}} for part in parts]
    known = {part: {"id": part, "ids": [ids[part]], "tokens": [part]} for part in parts if part != "$"}
    return {"type": "TemplateProcessing", "single": single, "pair": [], "special_tokens": known}


@pytest.mark.parametrize(
    ("processor", "settings", "ids", "flags"),
    [
        ({"type": "ByteLevel"}, {"bos_token": "<b>", "add_bos_token": True}, {"bos": 1}, {"bos": False}),
        (_template("<b>", "$"), {}, {"bos": 1}, {"bos": True}),
        (_template("<b>", "$"), {"add_bos_token": False}, {"bos": 1}, {"bos": True}),
        (_template("$", "<e>"), {"eos_token": "<e>"}, {"eos": 2}, {"eos": True}),
        (_template("<b>", "$", "<e>"), {}, {"bos": 1, "eos": 2}, {"bos": True, "eos": True}),
        (
            {"type": "Sequence", "processors": [{"type": "ByteLevel"}, _template("<b>", "$")]},
            {},
            {"bos": 1},
            {"bos": True},
        ),
        (_CLS, {}, {"bos": 1, "eos": 2}, {"bos": True, "eos": True}),
        (None, {"bos_token": "<b>", "add_bos_token": True}, {"bos": 1}, {"bos": True}),
        (None, {"bos_token": "<b>"}, {"bos": 1}, {}),
        (None, {"eos_token": {"content": "a"}, "add_eos_token": True}, {"eos": 0}, {"eos": True}),
    ],
)
def test_bos_and_eos_are_what_the_post_processor_adds(tmp_path, processor, settings, ids, flags):
    added = (_added(1, "<b>"), _added(2, "<e>"))
    folder = _settings(_bpe(tmp_path, {"a": 0}, added=added, post_processor=processor), **settings)
    special = _load(folder).special
    assert {name: special.special_token_ids.get(name) for name in ids} == ids
    assert {name: special.add_special_token.get(name, False) for name in ("bos", "eos")} == {
        "bos": False,
        "eos": False,
    } | flags


def test_a_sentencepiece_vocabulary_is_padded_to_the_size(tmp_path):
    folder = _spm(tmp_path, _piece("a") + _piece("b"))
    vocabulary = _load(folder, 4)
    assert _listed(vocabulary) == [("a", NORMAL), ("b", NORMAL), ("[PAD2]", UNUSED), ("[PAD3]", UNUSED)]
    assert vocabulary.tokens.scores == [0, 0, -10000, -10000]


@pytest.mark.parametrize("kind", [1, 2, 6])  # normal, unknown, byte
def test_more_pieces_of_text_than_the_embedding_has_rows_are_refused(tmp_path, kind):
    folder = _spm(tmp_path, _piece("a") + _piece("<u>", 0, 3) + _piece("b", 0, kind))
    assert f"{folder / 'tokenizer.model'} has 3 pieces, but vocab_size in config.json is 2" in _refusal(
        lambda: _load(folder, 2)
    )
    assert _load(folder, 3).n_tokens == 3


@pytest.mark.parametrize("kind", [3, 4, 5])  # control, user-defined, unused
def test_other_pieces_beyond_the_embedding_are_dropped_and_so_is_what_is_added_there(tmp_path, kind):
    folder = _spm(tmp_path, _piece("a") + _piece("<u>", 0, kind))
    (folder / "added_tokens.json").write_text(json.dumps({"[PAD]": 2}))
    _settings(folder, added_tokens_decoder={"3": {"content": "<x>"}})
    assert _listed(_load(folder, 1)) == [("a", NORMAL)]


def test_other_files_add_tokens_to_a_sentencepiece_vocabulary(tmp_path):
    folder = _spm(tmp_path, b"".join(_piece(text, -1) for text in "abcdef"))
    (folder / "added_tokens.json").write_text(
        json.dumps({"<new>": 6, "<over>": 1, "<far>": 99, "<neg>": -1, "<bool>": True, "<text>": "2"})
    )
    decoder = {
        "2": {"content": "<s>", "special": True},
        "3": {"content": "<|x|>", "special": False},
        "4": {"content": "\u2581\u2581"},
        "99": {"content": "<far>"},
    }
    _settings(folder, added_tokens_decoder=decoder)
    vocabulary = _load(folder, 8)
    assert _listed(vocabulary) == [
        ("a", NORMAL),
        ("<over>", USER_DEFINED),
        ("<s>", CONTROL),
        ("<|x|>", CONTROL),
        ("  ", USER_DEFINED),
        ("f", NORMAL),
        ("<new>", USER_DEFINED),
        ("[PAD7]", UNUSED),
    ]
    assert vocabulary.tokens.scores == [-1, -1000, -1000, -1000, -1000, -1, -1000, -10000]


@pytest.mark.parametrize("key", ["x", "-1", "1.0", "", "²", "9" * 5000])
def test_a_broken_list_of_added_tokens_is_one_line(tmp_path, key):
    folder = _settings(_spm(tmp_path, _piece("a")), added_tokens_decoder={key: {"content": "x"}})
    assert f"added_tokens_decoder in {folder / 'tokenizer_config.json'} is broken at '{key[:20]}'" in _refusal(
        lambda: _load(folder)
    )


def test_half_a_letter_is_no_token(tmp_path):
    folder = _settings(_spm(tmp_path, _piece("a")), added_tokens_decoder={"0": {"content": "\ud800"}})
    assert f"{folder / 'tokenizer_config.json'} has a token that is no text" in _refusal(lambda: _load(folder))
    _settings(folder)
    (folder / "added_tokens.json").write_text('{"\\udfff": 0}')
    assert f"{folder / 'added_tokens.json'} has a token that is no text" in _refusal(lambda: _load(folder))


_GOOD = _piece("a", -1.0, 1)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "holds 0 pieces"),
        (message(2, b""), "holds 0 pieces"),
        (_GOOD[:-1], "a field is longer than the file"),
        (_GOOD + b"\x0a", "it ends within a number"),
        (_GOOD + b"\x0a\x80", "it ends within a number"),
        (_GOOD + b"\x0a" + varint(1 << 62), "a field is longer than the file"),
        (_GOOD + b"\x80" * 11, "a number is longer than 64 bits"),
        (b"\xff" * 10 + b"\x01" + _GOOD, "a number is longer than 64 bits"),
        (_GOOD + b"\x0b", "field of the unknown wire type 3"),
        (_GOOD + b"\x0f", "field of the unknown wire type 7"),
        (_GOOD + b"\x0d\0\0", "a field is longer than the file"),
        (_piece("a", 0, 7), "piece of the unknown type 7"),
        (_piece("a", 0, 0), "piece of the unknown type 0"),
        (_piece("a", 0, 1 << 40), "piece of the unknown type 1099511627776"),
        (message(1, message(1, b"\xff\xfe")), "can't decode"),
        (message(1, b"\x0a\x05ab"), "a field is longer than the file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is no SentencePiece model"),
        (b"\x80\x04\x95 a pickle", "is no SentencePiece model"),
        (b"IQ== 0\nIg== 1\n", "is no SentencePiece model"),  # Llama 3's own format
    ],
)
def test_a_broken_sentencepiece_model_is_one_line(tmp_path, content, words):
    folder = _spm(tmp_path, content)
    said = _refusal(lambda: _load(folder))
    assert said.startswith(str(folder / "tokenizer.model"))
    assert said.endswith("download it again")
    assert words in said


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), min_size=1, max_size=4),
    cut=st.one_of(st.none(), st.integers(0, 200)),
)
def test_any_changed_bytes_of_a_sentencepiece_model_yield_tokens_or_one_line(tmp_path, changes, cut):
    broken = bytearray(b"".join(_piece(text, -1.0, 1) for text in ("a", "bc", "\u2581def", "<0x0A>")) * 3)
    for place, value in changes:
        broken[place % len(broken)] = value
    folder = _spm(tmp_path, bytes(broken[:cut]))
    try:
        tokens = _load(folder).tokens
    except UserError as error:
        said = str(error)
    else:
        assert len(tokens.texts) == len(tokens.types) == len(tokens.scores or ())
        said = "".join(text.decode() and "" for text in tokens.texts)
    assert said == "" or said.isprintable()


def test_a_hand_made_model_of_full_size_is_read(tmp_path):
    n_pieces = write_sentencepiece_tokenizer(tmp_path, vocab_size=400)
    vocabulary = _load(tmp_path, 400)
    assert vocabulary.n_tokens == n_pieces == 400
    assert _listed(vocabulary)[:4] == [("<unk>", CONTROL), ("<s>", CONTROL), ("</s>", CONTROL), ("<0x00>", BYTE)]
    assert vocabulary.tokens.types.count(BYTE) == 256
    assert vocabulary.special.special_token_ids == {}  # without a config.json or a tokenizer.json there is none
    assert vocabulary.special.add_special_token == {"bos": True, "eos": False}


# --- hostile files

JSON_FILES = ("tokenizer.json", "tokenizer_config.json")


@pytest.mark.parametrize("name", JSON_FILES)
@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "3", '"x"', "\x00", "[" * 200_000, '{"a":' * 200_000, '{"a": ' + "9" * 5000 + "}"],
    ids=_short,
)
def test_a_file_that_is_no_object_is_one_line(tmp_path, name, text):
    folder = _settings(_bpe(tmp_path, {"a": 0}))
    (folder / name).write_text(text)
    said = _refusal(lambda: _load(folder))
    assert said.startswith(str(folder / name))
    assert "JSON" in said


@pytest.mark.parametrize("name", JSON_FILES)
def test_a_file_that_is_no_text_is_one_line(tmp_path, name):
    folder = _settings(_bpe(tmp_path, {"a": 0}))
    (folder / name).write_bytes(b'{"a": "\xff\xfe"}')
    assert f"{folder / name} is no JSON" in _refusal(lambda: _load(folder))


@pytest.mark.parametrize(
    "name",
    [*JSON_FILES, "tokenizer.model", "merges.txt", "chat_template.jinja", "chat_template.json",
     "additional_chat_templates/x.jinja"],
)  # fmt: skip
def test_a_huge_file_is_not_read(tmp_path, name):
    folder = _settings(_bpe(tmp_path, {"a": 0}))
    if name == "tokenizer.model":
        (folder / "tokenizer.json").unlink()  # beside a whole one it is passed over
    (folder / name).parent.mkdir(exist_ok=True)
    with (folder / name).open("ab") as file:
        file.truncate(128 * MIB + 1)  # sparse
    said = _refusal(lambda: _load(folder))
    assert said == f"{folder / name} is larger than any such file known; is it the right one?"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("chat_template.json", "[" * 200_000),
        ("chat_template.json", "{"),
        ("chat_template.json", "[]"),
    ],
    ids=_short,
)
def test_a_template_that_cannot_be_read_is_one_line(tmp_path, name, text):
    folder = _settings(_bpe(tmp_path, {"a": 0}), bos_token=None)
    (folder / name).write_text(text)
    said = _refusal(lambda: _load(folder))
    assert said.startswith(f"the special tokens of {folder} cannot be read (")


@pytest.mark.parametrize(
    "changes",
    [
        {"post_processor": [1]},
        {"post_processor": {"type": "TemplateProcessing", "single": [1, 2]}},
        {"added_tokens": 3},
        {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [["a", "b"], 3]}},
        {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [3]}},
    ],
)
def test_special_tokens_that_cannot_be_read_are_one_line(tmp_path, changes):
    folder = _settings(_bpe(tmp_path, {"a": 0}, **{"added_tokens": [], **changes}), bos_token="a")
    assert f"the special tokens of {folder} cannot be read (" in _refusal(lambda: _load(folder))


@pytest.mark.parametrize("token_id", [-1, -(1 << 70)])
def test_a_negative_special_id_is_none(tmp_path, token_id):
    folder = _bpe(tmp_path, {"a": 0, "b": 1})
    (folder / "config.json").write_text(json.dumps({"pad_token_id": token_id, "eos_token_id": 1, "bos_token_id": 7}))
    assert _load(folder, 2).special.special_token_ids == {"eos": 1}


def test_a_directory_without_a_tokenizer_names_what_to_download(tmp_path):
    assert _refusal(lambda: _load(tmp_path)) == (
        f"{tmp_path} has neither tokenizer.json nor tokenizer.model; download the tokenizer's files too"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_is_one_line(tmp_path):
    folder = _bpe(tmp_path, {"a": 0})
    (folder / "tokenizer.json").chmod(0)
    assert "cannot read" in _refusal(lambda: _load(folder))


_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 12), st.text("abé\u2581<>\ud800", max_size=3)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["id", "content", "special", "type", "a"]), inner, max_size=3),
    ),
    max_leaves=6,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    added=_JSON,
    vocab=st.one_of(st.dictionaries(st.text("abc", max_size=2), st.integers(-1, 9), max_size=3), _JSON),
    merges=_JSON,
    fallback=st.booleans(),
    decoder=st.one_of(st.dictionaries(st.sampled_from(["0", "3", "x"]), _JSON, max_size=2), _JSON),
    processor=_JSON,
)
def test_any_json_yields_a_vocabulary_or_one_line(tmp_path, added, vocab, merges, fallback, decoder, processor):
    model = {"merges": merges, "byte_fallback": fallback}
    folder = _bpe(tmp_path, vocab, added=added, model=model, post_processor=processor)
    _settings(folder, added_tokens_decoder=decoder, bos_token="a")
    said = ""
    try:
        vocabulary = _load(folder, 10)
    except UserError as error:
        said = str(error)
    else:
        assert vocabulary.n_tokens == len(vocabulary.tokens.types) == 10
    assert said == "" or said.isprintable()
