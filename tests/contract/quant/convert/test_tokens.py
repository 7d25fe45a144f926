"""Tokens are verified: what llama.cpp cannot express is reported, anything else and what it cannot open is refused."""

import json
from pathlib import Path
from typing import Any

import gguf
import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from profiler.measure.launch import run_worker
from profiler.measure.worker import Job
from profiler.records.config import base_config
from quant.base.errors import UserError
from quant.convert.provenance import Origin
from quant.convert.to_gguf import convert
from quant.convert.verify.known import KNOWN
from quant.convert.verify.probe import probe_lines
from quant.quantize.from_checkpoint import checkpoint_writer
from tests.parity.rebuild import rebuild_checkpoint, train_vocabulary
from tests.support.checkpoints import decoder_config, make_checkpoint, write_checkpoint
from tests.support.vocabularies import write_sentencepiece_model

SPACE = "\u2581"
WORDS = ["the", "small", "kettle", "is", "on", "stove", "and", "window", "open", "number", "of", "lines"]
SPECIAL = ("<unk>", "<s>", "</s>", "<|endoftext|>")  # without these llama.cpp opens no file of a model named phi-3


def _edited(folder: Path, **changes: Any) -> Path:
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


def _added(folder: Path, **flags: bool) -> Path:
    """Change the flags of the added tokens."""
    listed = json.loads((folder / "tokenizer.json").read_text())["added_tokens"]
    return _edited(folder, added_tokens=[each | flags for each in listed])


def _byte_fallback(folder: Path, *, metaspace: str | None = None, prepend: bool = False) -> Path:
    """Write a checkpoint with the tokenizer.json that transformers 5 saves for Llama 2's kind, of 400 tokens."""
    make_checkpoint(folder, vocab=400, tokenizer="spm")
    for name in ("tokenizer.model", "tokenizer_config.json"):
        (folder / name).unlink()
    characters = sorted(set("".join(WORDS)) | {SPACE})
    vocab = {text: i for i, text in enumerate([*SPECIAL, *(f"<0x{b:02X}>" for b in range(256)), *characters])}
    merges = []
    for word in WORDS:
        left = word[0]
        for letter in word[1:]:
            if left + letter not in vocab:
                vocab[left + letter] = len(vocab)
                merges.append((left, letter))
            left += letter
        if SPACE + word not in vocab:
            vocab[SPACE + word] = len(vocab)
            merges.append((SPACE, word))
    tokenizer = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    replace = normalizers.Replace(" ", SPACE)
    if metaspace:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=metaspace, split=False)
    else:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), replace]) if prepend else replace
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens([AddedToken(text, normalized=False) for text in SPECIAL])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(names))
    return folder


def _pieces_of(folder: Path) -> None:
    """Write the tokenizer.model of a byte-fallback BPE."""
    content = json.loads((folder / "tokenizer.json").read_text())
    ranks = {"".join(pair): rank for rank, pair in enumerate(content["model"]["merges"])}
    kinds = {"<unk>": 2} | dict.fromkeys(SPECIAL[1:], 3)
    write_sentencepiece_model(
        folder,
        [
            (text, -float(ranks.get(text, 1000)), kinds.get(text, 6 if text.startswith("<0x") else 1))
            for text in sorted(content["model"]["vocab"], key=content["model"]["vocab"].__getitem__)
        ],
    )


def _codes(folder: Path, name: str = "m") -> set[str]:
    report = convert(folder, folder / f"{name}.gguf", origin=Origin(model=name))
    assert report.tokens.reference == "tokenizers"
    keys = gguf.GGUFReader(str(report.path)).fields
    recorded = {key.removeprefix("slmprof.tokens.") for key in keys if key.startswith("slmprof.tokens.")}
    assert recorded == set(report.tokens.differing) == set(report.tokens.examples)
    return recorded


def test_the_probe_has_many_lines_each_once():
    lines = probe_lines(())
    assert len(lines) == len(set(lines)) >= 300
    assert "" in lines
    assert len(probe_lines(["<a>"])) > len(lines)


def test_a_tokenizer_that_llama_cpp_computes_differs_nowhere(tmp_path):
    assert _codes(make_checkpoint(tmp_path / "c")) == set()
    assert _codes(_byte_fallback(tmp_path / "prepend", prepend=True)) == set()
    assert _codes(_byte_fallback(tmp_path / "none")) == set()
    assert _codes(_byte_fallback(tmp_path / "never", metaspace="never")) == set()


def test_decomposed_text_is_not_normalized(tmp_path):
    assert _codes(make_checkpoint(tmp_path / "c", style="qwen2")) == {"nfc"}


@pytest.mark.parametrize("scheme", ["first", "always"])
def test_a_space_is_added_before_every_text(tmp_path, scheme):
    assert _codes(_byte_fallback(tmp_path / "c", metaspace=scheme)) == {"spaces"}


@pytest.mark.parametrize("flag", ["lstrip", "rstrip"])
def test_spaces_around_added_tokens_are_kept(tmp_path, flag):
    assert _codes(_added(make_checkpoint(tmp_path / "c"), **{flag: True})) == {"strip"}


def test_spaces_after_added_tokens_are_removed_in_a_model_named_phi_3(tmp_path):
    assert _codes(_byte_fallback(tmp_path / "c", prepend=True), "Phi-3-tune") == {"phi3-strip"}


@pytest.mark.parametrize(
    "name", ["tekken", "gpt-4o", "falcon", "falcon3", "deepseek-coder", "deepseek-llm", "tiny_aya"]
)
def test_a_pre_tokenizer_that_llama_cpp_approximates_is_reported(tmp_path, name):
    # Whole texts are tokens, so that each border between words shows in the ids.
    stored = train_vocabulary(probe_lines(()))._replace(pre=name)
    assert _codes(rebuild_checkpoint(stored, tmp_path / "c")) == {"split"}


def _beyond(folder: Path, n_tokens: int) -> Path:
    """Fill the vocabulary to the embedding's rows, and add a token behind them."""
    content = json.loads((folder / "tokenizer.json").read_text())
    vocab = content["model"]["vocab"]
    n_known = len(set(vocab) | {each["content"] for each in content["added_tokens"]})
    vocab |= {f"filler{token_id}": token_id for token_id in range(n_known, n_tokens)}
    token = {**content["added_tokens"][-1], "id": n_tokens, "content": "<image_soft_token>"}
    return _edited(folder, model=content["model"], added_tokens=[*content["added_tokens"], token])


@pytest.mark.parametrize("family", ["byte-level", "byte-fallback", "tokenizer.model"])
def test_the_text_of_a_token_without_an_embedding_is_split(tmp_path, family):
    if family == "byte-level":
        folder = _beyond(make_checkpoint(tmp_path / "c", vocab=400), 400)
    else:
        folder = _beyond(_byte_fallback(tmp_path / "c", prepend=True), 400)
    if family == "tokenizer.model":
        _pieces_of(folder)
    assert _codes(folder) == {"beyond"}


@pytest.mark.parametrize("end", ["<image_soft_token>", "<s>"])
def test_a_token_without_an_embedding_is_no_bos(tmp_path, end):
    folder = _beyond(_byte_fallback(tmp_path / "c", prepend=True), 400)
    post_processor = json.loads((folder / "tokenizer.json").read_text())["post_processor"]
    ids = {"<image_soft_token>": 400, "<s>": 1}
    post_processor["single"][0]["SpecialToken"]["id"] = end
    post_processor["special_tokens"] = {end: {"id": end, "ids": [ids[end]], "tokens": [end]}}
    _edited(folder, post_processor=post_processor)
    if end == "<s>":
        assert _codes(folder) == {"beyond"}
    else:
        with pytest.raises(UserError, match="--allow-token-mismatch"):
            convert(folder, tmp_path / "m.gguf")


def test_bos_is_added_as_the_tokenizer_says_though_the_size_is_one_without(tmp_path):
    """llama.cpp's converter disables BOS in all vocabularies of 49152."""
    folder = make_checkpoint(tmp_path / "c")
    config = decoder_config(hidden=32, layers=1, heads=2, kv_heads=1, ffn=32, vocab=49152)
    write_checkpoint(folder, config, tokenizer="none")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    (bos, *_) = tokenizer.get_added_tokens_decoder()
    text = tokenizer.id_to_token(bos)
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{text} $A", special_tokens=[(text, bos)])
    tokenizer.save(str(folder / "tokenizer.json"))
    assert _codes(folder) == set()


def test_padding_and_truncation_in_the_file_are_not_the_models(tmp_path):
    folder = make_checkpoint(tmp_path / "c")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_padding(length=64, pad_id=1)
    tokenizer.enable_truncation(3)
    tokenizer.save(str(folder / "tokenizer.json"))
    assert _codes(folder) == set()


def test_every_known_difference_has_its_test():
    assert {each.code for each in KNOWN} == {"beyond", "nfc", "spaces", "strip", "phi3-strip", "split"}


def test_another_pre_tokenizer_is_refused_unless_it_is_allowed(tmp_path):
    folder = make_checkpoint(tmp_path / "c", style="smollm")
    with pytest.raises(UserError, match=r"tokenizers \[.*\], llama.cpp \[.*--allow-token-mismatch"):
        convert(folder, tmp_path / "m.gguf", pre="gpt-2")
    assert not list(tmp_path.glob("*.gguf*"))
    report = convert(folder, tmp_path / "m.gguf", pre="gpt-2", allow_token_mismatch=True)
    assert set(report.tokens.differing) == {"mismatch"}
    assert "slmprof.tokens.mismatch" in gguf.GGUFReader(str(report.path)).fields


def test_levels_are_refused_as_a_whole_file_is(tmp_path):
    folder = make_checkpoint(tmp_path / "c", style="smollm")
    with checkpoint_writer(folder, pre="gpt-2") as writer, pytest.raises(UserError, match="--allow-token-mismatch"):
        writer.write(["Q8_0"], lambda level: tmp_path / f"{level}.gguf")
    assert [path.name for path in tmp_path.iterdir()] == ["c"]
    with checkpoint_writer(folder, pre="gpt-2", allow_token_mismatch=True) as writer:
        (made,) = writer.write(["Q8_0"], lambda level: tmp_path / f"{level}.gguf")
    assert set(made.tokens.differing) == {"mismatch"}


def test_what_llama_cpp_says_of_a_file_is_the_error(tmp_path):
    folder = make_checkpoint(tmp_path / "c", architecture="Qwen2ForCausalLM", head_dim=32)
    with pytest.raises(UserError, match=r"blk\.0\.attn_q\.weight.*wrong shape"):
        convert(folder, tmp_path / "m.gguf", pre="gpt-2")
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


@pytest.mark.parametrize("missing", ["<0xE2>", "<0x0A>"])
def test_a_sentencepiece_model_without_all_bytes_is_refused_though_nothing_here_reads_it(tmp_path, missing):
    folder = _byte_fallback(tmp_path / "c", prepend=True)
    _pieces_of(folder)
    (folder / "tokenizer.json").unlink()
    path = folder / "tokenizer.model"
    assert convert(folder, tmp_path / "m.gguf").tokens.reference != "tokenizers"
    path.write_bytes(path.read_bytes().replace(missing.encode(), b"[gone]"))
    with pytest.raises(UserError, match=r"unordered_map::at|out_of_range"):
        convert(folder, tmp_path / "n.gguf")
    assert not (tmp_path / "n.gguf").exists()


def test_a_byte_level_tokenizer_without_merges_can_be_opened(tmp_path):
    folder = make_checkpoint(tmp_path / "c")
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    assert _codes(_edited(folder, model=model | {"merges": []})) == set()


def test_a_vocabulary_without_the_sign_of_a_space_has_more_tokens_than_bytes(tmp_path):
    folder = _byte_fallback(tmp_path / "c")
    tree = json.loads((folder / "tokenizer.json").read_text())
    kept = [text for text in tree["model"]["vocab"] if SPACE not in text]
    model = {**tree["model"], "vocab": {text: i for i, text in enumerate(kept)}}
    model["merges"] = [pair for pair in model["merges"] if SPACE not in "".join(pair)]
    _edited(folder, model=model)
    assert _codes(folder) == _codes(_byte_fallback(tmp_path / "whole"))
    config = base_config(mode="request", workload="chat", n_prompt=8, n_gen=1, n_ctx=64)
    answer = run_worker(Job(path=str(folder / "m.gguf"), config=config, reps=1, seed=0), timeout_s=60)
    assert answer.failure is None
