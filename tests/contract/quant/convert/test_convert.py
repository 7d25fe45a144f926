"""Converted files against the checkpoint that they come from, gguf's reader, tokenizers, and llama.cpp itself."""

import dataclasses
import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import gguf
import numpy as np
import pytest
import safetensors
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from quant.base import files
from quant.base.errors import UserError
from quant.base.progress import watch
from quant.convert import to_gguf as module
from quant.convert.provenance import Origin
from quant.convert.to_gguf import ConvertReport, convert
from quant.convert.tokenizer.pre import KNOWN
from quant.gguf_io.artifact import describe
from quant.gguf_io.header import open_gguf_header
from tests.support.checkpoints import make_checkpoint
from tests.support.llamacpp import Question, ask
from tests.support.paths import ROOT
from tests.support.vocabularies import write_bpe_tokenizer

MIB = 1 << 20
CLASSES = {"llama": "LlamaForCausalLM", "mistral": "MistralForCausalLM", "qwen2": "Qwen2ForCausalLM"}
DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
OUTTYPES = {"f32": "F32", "f16": "F16", "bf16": "BF16"}
N_LAYER, N_HEAD, N_HEAD_KV = 2, 4, 2  # of make_checkpoint
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SLMPROF_CACHE", str(tmp_path / "cache"))


def _refusal(call: Any) -> str:
    with pytest.raises(UserError) as error:
        call()
    said = str(error.value)
    assert said.isprintable()
    return said


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- what a checkpoint holds, read with other libraries


def _weights(folder: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Return name -> (type, shape, bytes) as the safetensors library reads them."""
    found = {}
    for path in folder.glob("*.safetensors"):
        for name, tensor in safetensors.deserialize(path.read_bytes()):
            found[name] = (tensor["dtype"], tuple(tensor["shape"]), bytes(tensor["data"]))
    return found


def _as_f32(kind: str, data: bytes) -> np.ndarray:
    if kind == "BF16":
        return gguf.quants.dequantize(np.frombuffer(data, np.uint8), gguf.GGMLQuantizationType.BF16)
    return np.frombuffer(data, {"F32": np.float32, "F16": np.float16}[kind]).astype(np.float32)


def _as_bytes(values: np.ndarray, kind: str) -> bytes:
    if kind == "BF16":
        return gguf.quants.quantize(values, gguf.GGMLQuantizationType.BF16).tobytes()
    return values.astype({"F32": np.float32, "F16": np.float16}[kind]).tobytes()


def _in_gguf(name: str) -> str:
    """Return a tensor's name in GGUF."""
    whole = {
        "model.embed_tokens": "token_embd",
        "model.norm": "output_norm",
        "lm_head": "output",
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
    }
    stem, _, ending = name.rpartition(".")
    if not stem.startswith("model.layers."):
        return f"{whole[stem]}.{ending}"
    _, _, layer, part = stem.split(".", 3)
    return f"blk.{layer}.{whole[part]}.{ending}"


def _paired(values: np.ndarray, n_heads: int) -> np.ndarray:
    """Pair each head's halves row by row: row 2i + s of ggml is row s * half + i of the checkpoint."""
    moved = np.empty_like(values)
    size = len(values) // n_heads
    half = size // 2
    for head, pair, side in itertools.product(range(n_heads), range(half), range(2)):
        moved[head * size + 2 * pair + side] = values[head * size + side * half + pair]
    return moved


def _expected(folder: Path, arch: str, outtype: str) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Return what the file is to hold: name -> (type, shape, bytes)."""
    expected = {}
    for name, (kind, shape, data) in _weights(folder).items():
        values = _as_f32(kind, data).reshape(shape)
        if arch == "llama" and ".q_proj." in name:
            values = _paired(values, N_HEAD)
        elif arch == "llama" and ".k_proj." in name:
            values = _paired(values, N_HEAD_KV)
        target_type = "F32" if len(shape) == 1 else outtype
        expected[_in_gguf(name)] = (target_type, shape, _as_bytes(np.ascontiguousarray(values), target_type))
    return expected


def _held(path: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    return {
        tensor.name: (tensor.tensor_type.name, tuple(int(n) for n in tensor.shape[::-1]), tensor.data.tobytes())
        for tensor in gguf.GGUFReader(path).tensors
    }


def _keys(path: Path) -> dict[str, Any]:
    fields = gguf.GGUFReader(path).fields
    return {key: field.contents() for key, field in fields.items() if not key.startswith("GGUF.")}


# --- every family, tied and untied, in one file and in several, to every type


class Made(NamedTuple):
    family: str
    tied: bool
    shards: int
    outtype: str
    folder: Path
    path: Path
    report: ConvertReport


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> list[Made]:
    root = tmp_path_factory.mktemp("made")
    found = []
    for family, tied, shards in itertools.product(CLASSES, (True, False), (1, 3)):
        folder = make_checkpoint(
            root / f"{family}-{tied}-{shards}",
            architecture=CLASSES[family],
            tie=tied,
            shards=shards,
            style="qwen2" if family == "qwen2" else "gpt-2",
        )
        for outtype in OUTTYPES:
            path = folder / f"{outtype}.gguf"
            found.append(Made(family, tied, shards, outtype, folder, path, convert(folder, path, outtype=outtype)))
    return found


def _n_params(family: str, tied: bool) -> int:
    """Count by hand: 512 tokens of width 64; a layer has q and o, k and v, three of 128 x 64, and two norms."""
    layer = 2 * 64 * 64 + 2 * 32 * 64 + 3 * 128 * 64 + 2 * 64 + (64 + 32 + 32 if family == "qwen2" else 0)
    return 512 * 64 * (1 if tied else 2) + N_LAYER * layer + 64


def test_every_tensor_has_the_checkpoints_values(made):
    for each in made:
        arch = "qwen2" if each.family == "qwen2" else "llama"
        assert _held(each.path) == _expected(each.folder, arch, OUTTYPES[each.outtype]), each.path


def test_llama_cpp_loads_and_decodes_every_file(made):
    answers = ask([Question(path=str(each.path)) for each in made])
    for each, answer in zip(made, answers, strict=True):
        assert answer.loads, (each.path, answer.log)
        assert answer.decodes, each.path
        assert (answer.n_vocab, answer.n_params) == (512, _n_params(each.family, each.tied)), each.path


def test_the_report_and_the_artifact_agree(made):
    for each in made:
        artifact = describe(each.path)
        n_layer_tensors = 12 if each.family == "qwen2" else 9
        n_tensors = 2 + (not each.tied) + N_LAYER * n_layer_tensors
        assert each.report == ConvertReport(
            path=each.path,
            outtype=OUTTYPES[each.outtype],
            n_tensors=n_tensors,
            n_params=_n_params(each.family, each.tied),
            n_overflowed=0,
            tokens=each.report.tokens,
        )
        assert each.report.tokens.n_lines > 600
        assert (artifact.level, artifact.n_params) == (OUTTYPES[each.outtype], each.report.n_params)
        assert artifact.weights == "real"
        assert sum(artifact.tensor_types.values()) == n_tensors


def test_shards_become_the_same_tensors_as_one_file(made):
    in_one, in_three = ([each for each in made if each.shards == shards] for shards in (1, 3))
    for one, several in zip(in_one, in_three, strict=True):
        assert (one.family, one.tied, one.outtype) == (several.family, several.tied, several.outtype)
        assert _held(one.path) == _held(several.path)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_every_type_becomes_every_type(tmp_path, dtype, family):
    folder = make_checkpoint(tmp_path / "c", architecture=CLASSES[family], dtype=dtype, tie=False, head_dim=16)
    for outtype, kind in OUTTYPES.items():
        convert(folder, tmp_path / "m.gguf", outtype=outtype, pre="gpt-2")
        assert _held(tmp_path / "m.gguf") == _expected(folder, family, kind)


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_every_tensor_begins_at_a_multiple_of_32_bytes(tmp_path, family):
    # None of these sizes gives a whole number of 32 bytes.
    folder = make_checkpoint(
        tmp_path / "c", architecture=CLASSES[family], hidden=40, ffn=21, vocab=301, dtype="float32"
    )
    convert(folder, tmp_path / "m.gguf", outtype="f16", pre="gpt-2")
    assert _held(tmp_path / "m.gguf") == _expected(folder, family, "F16")
    assert all(int(tensor.data_offset) % 32 == 0 for tensor in gguf.GGUFReader(tmp_path / "m.gguf").tensors)
    (answer,) = ask([Question(path=str(tmp_path / "m.gguf"))])
    assert answer.decodes, answer.log


@pytest.mark.parametrize(("dtype", "kind"), [("float32", "F16"), ("float16", "F16"), ("bfloat16", "BF16")])
def test_auto_keeps_a_16_bit_checkpoints_own_type(tmp_path, dtype, kind):
    folder = make_checkpoint(tmp_path / "c", dtype=dtype)
    report = convert(folder, tmp_path / "m.gguf")
    assert report.outtype == kind
    assert _held(tmp_path / "m.gguf") == _expected(folder, "llama", kind)
    assert describe(tmp_path / "m.gguf").level == kind


def test_a_wide_head_and_biases_are_paired_too(tmp_path):
    folder = make_checkpoint(tmp_path / "c", dtype="float32", head_dim=32)
    # LlamaForCausalLM with attention_bias: the family asks for biases, whose rows move like their matrix's.
    config = json.loads((folder / "config.json").read_text()) | {"attention_bias": True}
    (folder / "config.json").write_text(json.dumps(config))
    _add_tensors(
        folder,
        {
            f"model.layers.{layer}.self_attn.{name}.bias": np.arange(rows, dtype=np.float32)
            for layer in range(N_LAYER)
            for name, rows in (("q_proj", 128), ("k_proj", 64), ("v_proj", 64), ("o_proj", 64))
        },
    )
    convert(folder, tmp_path / "m.gguf", outtype="f32")
    held = _held(tmp_path / "m.gguf")
    assert held == _expected(folder, "llama", "F32")
    first = np.frombuffer(held["blk.0.attn_q.bias"][2], np.float32)[:6]
    assert first.tolist() == [0, 16, 1, 17, 2, 18]
    (answer,) = ask([Question(path=str(tmp_path / "m.gguf"))])
    assert answer.decodes


def test_llama_3s_rope_factors_are_a_tensor_that_llama_cpp_takes(tmp_path):
    folder = make_checkpoint(tmp_path / "c", head_dim=8, rope_scaling=LLAMA3_ROPE, rope_theta=500000.0)
    report = convert(folder, tmp_path / "m.gguf")
    kind, shape, data = _held(tmp_path / "m.gguf")["rope_freqs.weight"]
    assert (kind, shape) == ("F32", (4,))
    # Wavelengths 6.28, 167.1, ... at an original length of 64: the first is under 16, all others above 64.
    assert np.frombuffer(data, np.float32).tolist() == [1.0, 32.0, 32.0, 32.0]
    assert report.n_tensors == 21
    (answer,) = ask([Question(path=str(tmp_path / "m.gguf"))])
    assert answer.decodes


def test_a_tied_checkpoint_that_holds_its_output_matrix_keeps_it(tmp_path):
    folder = make_checkpoint(tmp_path / "c", tie=False, dtype="float32")
    config = json.loads((folder / "config.json").read_text()) | {"tie_word_embeddings": True}
    (folder / "config.json").write_text(json.dumps(config))
    convert(folder, tmp_path / "m.gguf", outtype="f32")
    assert _held(tmp_path / "m.gguf") == _expected(folder, "llama", "F32")


def test_a_head_larger_than_a_piece_and_many_pieces_to_a_tensor_change_nothing(tmp_path, monkeypatch):
    folder = make_checkpoint(tmp_path / "c", dtype="float32", tie=False)
    for elements in (1, 100, 16 * 64, 3 * 16 * 64):  # less than a row, than a head, one head, three
        monkeypatch.setattr(module, "_CHUNK_ELEMENTS", elements)
        convert(folder, tmp_path / "m.gguf", outtype="f16")
        assert _held(tmp_path / "m.gguf") == _expected(folder, "llama", "F16")


def test_progress_counts_every_value_once(tmp_path):
    seen: list[tuple[str, int, int]] = []
    with watch(progress=lambda *event: seen.append(event)):
        report = convert(make_checkpoint(tmp_path / "c"), tmp_path / "m.gguf")
    assert {(stage, total) for stage, _, total in seen} == {("convert", report.n_params)}
    assert [done for _, done, _ in seen] == sorted({done for _, done, _ in seen})
    assert seen[-1][1] == report.n_params


def test_the_same_checkpoint_becomes_the_same_bytes(tmp_path):
    folder = make_checkpoint(tmp_path / "c")
    convert(folder, tmp_path / "a.gguf")
    convert(folder, tmp_path / "b.gguf")
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()


def _add_tensors(folder: Path, tensors: dict[str, np.ndarray]) -> None:
    """Write float32 tensors into a shard of their own beside the others."""
    specs = {}
    for name, values in tensors.items():
        specs[name] = safetensors.TensorSpec(
            dtype="float32", shape=list(values.shape), data_ptr=values.ctypes.data, data_len=values.nbytes
        )
    safetensors.serialize_file(specs, str(folder / "added.safetensors"), {"format": "pt"})
    weight_map = {
        name: path.name
        for path in folder.glob("*.safetensors")
        for name, _ in safetensors.deserialize(path.read_bytes())
    }
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


# --- keys


def _general(arch: str, n_params: str) -> dict[str, Any]:
    return {
        "general.architecture": arch,
        "general.type": "model",
        "general.name": "Tiny",
        "general.size_label": n_params,
        "general.file_type": 1,
        "general.quantization_version": 2,
    }


def _shape(arch: str) -> dict[str, Any]:
    return {
        f"{arch}.block_count": 2,
        f"{arch}.context_length": 512,
        f"{arch}.embedding_length": 64,
        f"{arch}.feed_forward_length": 128,
        f"{arch}.attention.head_count": 4,
        f"{arch}.attention.head_count_kv": 2,
        f"{arch}.attention.layer_norm_rms_epsilon": pytest.approx(1e-5),
        f"{arch}.rope.freq_base": 10000.0,
    }


def _tokenizer(pre: str) -> dict[str, Any]:
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.bos_token_id": 508,
        "tokenizer.ggml.eos_token_id": 509,
        "tokenizer.ggml.padding_token_id": 510,
        "tokenizer.chat_template": "{% for message in messages %}{{ message['content'] }}{% endfor %}",
    }


LISTS = {"tokenizer.ggml.tokens": 512, "tokenizer.ggml.token_type": 512, "tokenizer.ggml.merges": 252}
LLAMA_ONLY = {"llama.vocab_size": 512, "llama.rope.dimension_count": 16}
LLAMA_HEADS = {"llama.attention.key_length": 16, "llama.attention.value_length": 16}


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("llama", _general("llama", "107K") | _shape("llama") | LLAMA_ONLY | LLAMA_HEADS | _tokenizer("gpt-2")),
        # MistralConfig has no default for head_dim, and the file then lacks it.
        ("mistral", _general("llama", "107K") | _shape("llama") | LLAMA_ONLY | _tokenizer("gpt-2")),
        ("qwen2", _general("qwen2", "107K") | _shape("qwen2") | _tokenizer("qwen2")),
    ],
)
def test_the_keys_are_these_and_no_others(tmp_path, family, expected):
    style = "qwen2" if family == "qwen2" else "gpt-2"
    folder = make_checkpoint(tmp_path / "checkpoint", architecture=CLASSES[family], style=style)
    convert(folder, tmp_path / "m.gguf", outtype="f16", origin=Origin(model="Tiny"))
    keys = _keys(tmp_path / "m.gguf")
    # Qwen's tokenizer normalizes to NFC, which llama.cpp does not.
    assert (keys.pop("slmprof.tokens.nfc", None) is not None) == (family == "qwen2")
    assert {key: len(value) for key, value in keys.items() if isinstance(value, list)} == LISTS
    assert {key: value for key, value in keys.items() if not isinstance(value, list)} == expected


def test_a_sentencepiece_tokenizer_has_keys_of_its_own(tmp_path):
    convert(make_checkpoint(tmp_path / "checkpoint", tokenizer="spm"), tmp_path / "m.gguf", origin=Origin(model="Tiny"))
    keys = {key: value for key, value in _keys(tmp_path / "m.gguf").items() if key.startswith("tokenizer.")}
    lists = {key: len(keys.pop(key)) for key in list(keys) if isinstance(keys[key], list)}
    assert lists == {f"tokenizer.ggml.{name}": 512 for name in ("tokens", "scores", "token_type")}
    assert keys == {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.add_eos_token": False,
    }


def test_where_a_file_comes_from_is_kept_in_it(tmp_path):
    folder = make_checkpoint(tmp_path / "c")
    convert(
        folder, tmp_path / "m.gguf", origin=Origin(source="org/name", revision="c0ffee" + "0" * 34, model="My Model")
    )
    artifact = describe(tmp_path / "m.gguf")
    assert (artifact.source, artifact.revision) == ("org/name", "c0ffee" + "0" * 34)
    assert (artifact.model, artifact.general_name, artifact.standin_for) == ("m", "My Model", None)
    convert(folder, tmp_path / "n.gguf")
    assert (describe(tmp_path / "n.gguf").source, describe(tmp_path / "n.gguf").revision) == (None, None)


def test_a_files_name_is_the_cards_else_the_folders(tmp_path):
    folder = make_checkpoint(tmp_path / "some-folder")
    convert(folder, tmp_path / "m.gguf")
    assert _keys(tmp_path / "m.gguf")["general.name"] == "Some Folder"
    (folder / "README.md").write_text("---\nmodel_name: The Card's Name\nlicense: mit\ntags: [a, b]\n---\n# Text\n")
    convert(folder, tmp_path / "m.gguf")
    keys = _keys(tmp_path / "m.gguf")
    assert keys["general.name"] == "The Card's Name"
    assert keys["general.license"] == "mit"
    assert keys["general.tags"] == ["a", "b"]


# --- untrusted model cards and settings


@pytest.mark.parametrize(
    ("card", "kept"),
    [
        ("version: 1.0", {"general.version": "1.0"}),
        ("model_name: 7", {"general.name": "7"}),
        ("license_name: 2024-01-01", {"general.license.name": "2024-01-01"}),
        ("language: [no, en]", {"general.languages": ["en"]}),  # YAML reads Norwegian as false
        ("tags: [a, 1, null]", {"general.tags": ["a"]}),
        ("tags: [1]", {"general.tags": None}),
        ("license: [mit, 1]", {"general.license": "mit"}),
        ("license: {a: b}", {"general.license": None}),
        ("author: [1]", {"general.author": None}),
        ('model_name: "\\uD800"', {"general.name": "c"}),
        ("base_model: [1, 2]", {"general.base_model.count": None}),
        ("datasets: {a: b}", {"general.dataset.count": None}),
        ("a: b: c", {"general.name": "c"}),
        ("[" * 1_000, {"general.name": "c"}),
        ("model_name: x\nurl: " + "[" * 3_000, {"general.name": "c"}),  # would take the YAML reader ten seconds
        # Printed, this would be twice nine to the power of eight characters, at which gguf fills the memory.
        (
            "a0: &a0 [x, x]\n"
            + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9))
            + "base_model: *a8",
            {"general.name": "c", "general.base_model.count": None},
        ),
        ("model_name: R&D *x*", {"general.name": "R&D *x*"}),
    ],
    ids=lambda value: repr(value)[:30] if isinstance(value, str) else "",
)
def test_a_card_that_gguf_cannot_hold_does_not_stop_a_conversion(tmp_path, capfd, card, kept):
    folder = make_checkpoint(tmp_path / "c")
    (folder / "README.md").write_text(f"---\n{card}\n---\n# Text\n")
    convert(folder, tmp_path / "m.gguf")
    keys = _keys(tmp_path / "m.gguf")
    assert {key: keys.get(key) for key in kept} == kept
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("settings", "key", "kept"),
    [
        ({"temperature": 0.5, "top_k": 20}, "temp", 0.5),
        ({"temperature": 1}, "temp", 1.0),
        ({"temperature": "hot"}, "temp", None),
        ({"temperature": [1]}, "temp", None),
        ({"temperature": 1e300}, "temp", None),
        ({"temperature": True}, "temp", None),
        ({"top_k": 20}, "top_k", 20),
        ({"top_k": 1.5}, "top_k", None),
        ({"top_k": 1 << 40}, "top_k", None),
        ({"top_k": None}, "top_k", None),
        ({"sequence": 3}, "temp", None),
        ({"sequence": "\ud800"}, "sequence", None),
    ],
)
def test_sampling_settings_are_kept_where_gguf_can_hold_them(tmp_path, settings, key, kept):
    folder = make_checkpoint(tmp_path / "c")
    (folder / "generation_config.json").write_text(json.dumps(settings))
    convert(folder, tmp_path / "m.gguf")
    assert _keys(tmp_path / "m.gguf").get(f"general.sampling.{key}") == kept


@pytest.mark.parametrize("name", ["README.md", "generation_config.json"])
def test_a_huge_card_is_not_read(tmp_path, name):
    folder = make_checkpoint(tmp_path / "c")
    with (folder / name).open("wb") as file:
        file.truncate(1 << 40)  # sparse
    convert(folder, tmp_path / "m.gguf")
    assert _keys(tmp_path / "m.gguf")["general.name"] == "c"


@pytest.mark.parametrize(
    "settings",
    [
        {"chat_template": "\ud800"},
        {"chat_template": [1]},
        {"chat_template": [{"name": "default", "template": 3}]},
        {"chat_template": [{"name": 1, "template": "x"}]},
    ],
)
def test_settings_that_gguf_cannot_hold_are_one_line_and_leave_nothing(tmp_path, settings):
    folder = make_checkpoint(tmp_path / "c")
    content = json.loads((folder / "tokenizer_config.json").read_text()) | settings
    (folder / "tokenizer_config.json").write_text(json.dumps(content))
    said = _refusal(lambda: convert(folder, tmp_path / "out" / "m.gguf"))
    assert said.startswith(f"the keys of {folder} cannot be written (")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("name", "key"), [("bos_token_id", "bos"), ("unk_token_id", "unknown")])
def test_a_special_id_beyond_the_vocabulary_is_not_written(tmp_path, name, key):
    folder = make_checkpoint(tmp_path / "c")
    config = json.loads((folder / "config.json").read_text()) | {name: 1 << 40}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer_config.json").unlink()
    convert(folder, tmp_path / "m.gguf")
    metadata = open_gguf_header(tmp_path / "m.gguf").metadata
    assert metadata.get(f"tokenizer.ggml.{key}_token_id", 0) < config["vocab_size"]


# --- tokenization

TEXTS = (
    "",
    "a",
    "The quick brown fox jumps over the lazy dog.",
    " ",
    "   leading, trailing   ",
    "a  b   c",
    "\n",
    "\n\n",
    " \n",
    "\n \n\n\t\n",
    "a\nb\r\nc\r\rd",
    "tabs\t\tand\tmore ",
    " " * 33 + "x",
    "\n" * 20,
    "it's we'll I'VE they'Re 'tis 'S ''s",
    "0",
    "12",
    "1234567890",
    "3.14 1,000,000 2\u00b2 \u2167\u00bd",
    "x1y22z333",
    "\uff11\uff12\uff13 \u0663\u0664\u0665",  # digits that are not ASCII
    "na\u00efve caf\u00e9 \u00c5ngstr\u00f6m",
    "Привет, мир!",
    "你好，世界。",  # noqa: RUF001
    "日本語のテキスト",
    "한국어",
    "العربية",
    "हिन्दी",
    "\U0001f680\U0001f9d1\u200d\U0001f680\U0001f44d\U0001f3fd",  # emoji joined and coloured
    "a\u00a0b\u2003c\u3000d\u200b",  # other spaces
    "\x00\x01\x7f",
    "\U00010348\U0001d49c",
    "\u2581 word",
    "<|begin|>hello<|end|>",
    "<|begin|> hello <|end|>\n<|pad|>",
    "a<tool>b <tool> c",
    "<|begin",
    "<|begin|><|begin|>",
    "don't<|end|>'s",
    "def f(x):\n    return x**2  # ok\n",
    "https://a.b/c?d=e&f=%20",
    "!!!???...---",
    "foo_bar-baz/qux\\n",
    "a" * 100,
)


@pytest.mark.parametrize("n_vocab", [512, 2000])
@pytest.mark.parametrize("style", ["gpt-2", "smollm", "llama-bpe", "qwen2"])
def test_llama_cpp_tokenizes_as_the_tokenizers_library_does(tmp_path, style, n_vocab):
    folder = make_checkpoint(tmp_path / "c", style=style, vocab=n_vocab)
    convert(folder, tmp_path / "m.gguf")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    (answer,) = ask([Question(path=str(tmp_path / "m.gguf"), texts=list(TEXTS), vocab_only=True)])
    for text, ids, back in zip(TEXTS, answer.ids, answer.back, strict=True):
        assert ids == tokenizer.encode(text, add_special_tokens=False).ids, text
        assert back == text


@pytest.mark.parametrize("style", ["gpt-2", "smollm", "llama-bpe", "qwen2"])
def test_llama_cpp_begins_a_text_as_the_tokenizer_does(tmp_path, style):
    folder = make_checkpoint(tmp_path / "c", style=style)
    write_bpe_tokenizer(folder, style=style, bos=True)
    convert(folder, tmp_path / "m.gguf")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    texts = ["", "hello", " x"]
    (answer,) = ask([Question(path=str(tmp_path / "m.gguf"), texts=texts, add_special=True, vocab_only=True)])
    for text, ids in zip(texts, answer.ids, strict=True):
        assert ids == tokenizer.encode(text).ids, text
        assert ids[0] == tokenizer.token_to_id("<|begin|>")


def test_a_padded_vocabulary_loads_and_tokenizes_as_before(tmp_path):
    folder = make_checkpoint(tmp_path / "c", vocab=640)
    write_bpe_tokenizer(folder, vocab_size=512)
    convert(folder, tmp_path / "m.gguf")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    (answer,) = ask([Question(path=str(tmp_path / "m.gguf"), texts=list(TEXTS))])
    assert (answer.n_vocab, answer.decodes) == (640, True)
    assert _keys(tmp_path / "m.gguf")["tokenizer.ggml.tokens"][512:514] == ["[PAD512]", "[PAD513]"]
    assert answer.ids == [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS]


def test_a_sentencepiece_files_tokens_are_the_text_again(tmp_path):
    folder = make_checkpoint(tmp_path / "c", tokenizer="spm", vocab=800)
    convert(folder, tmp_path / "m.gguf")
    texts = [text for text in TEXTS if text and "\u2581" not in text and "<" not in text and "\x00" not in text]
    (answer,) = ask([Question(path=str(tmp_path / "m.gguf"), texts=texts, add_special=True)])
    assert answer.decodes
    for text, ids, back in zip(texts, answer.ids, answer.back, strict=True):
        assert ids[0] == 1
        assert back == f"<s> {text}"  # SentencePiece puts a space before the first word
    words = dict(zip(texts, answer.ids, strict=True))
    assert words["a"] == [1, _keys(tmp_path / "m.gguf")["tokenizer.ggml.tokens"].index("\u2581a")]


def test_a_byte_fallback_bpe_loads_padded_and_decodes_to_the_text(tmp_path):
    folder = make_checkpoint(tmp_path / "c", vocab=512)
    _write_byte_fallback(folder)
    convert(folder, tmp_path / "m.gguf")
    texts = ["hello hello", "naïve 12\n", "日本"]
    (answer,) = ask([Question(path=str(tmp_path / "m.gguf"), texts=texts, add_special=True)])
    assert answer.loads, answer.log
    assert (answer.n_vocab, answer.decodes) == (512, True)
    assert answer.back == [f"<s> {text}" for text in texts]


def _write_byte_fallback(folder: Path) -> None:
    """Write a tokenizer.json as the Llama 2 kind has it, of 300 tokens, in the place of the other."""
    words = ["\u2581", "h", "e", "l", "o", "he", "ll", "hell", "hello", "\u2581hello"]
    vocab = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *words]
    merges = [("h", "e"), ("l", "l"), ("he", "ll"), ("hell", "o"), ("\u2581", "hello")]
    ids = {text: index for index, text in enumerate(vocab)}
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=merges, byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "add_bos_token": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def test_every_pre_tokenizers_name_is_one_that_llama_cpp_knows(tmp_path):
    questions = []
    for name in [*KNOWN, "no-such-name"]:
        writer = gguf.GGUFWriter(tmp_path / f"{name}.gguf", "llama")
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(name)
        writer.add_token_list([*"ab\u010a", "ab", "<e>"])
        writer.add_token_types([1, 1, 1, 1, 3])
        writer.add_token_merges(["a b"])
        writer.add_bos_token_id(4)
        writer.add_eos_token_id(4)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.close()
        questions.append(Question(path=str(tmp_path / f"{name}.gguf"), vocab_only=True))
    answers = ask(questions)
    unknown = [
        Path(question.path).stem
        for question, answer in zip(questions, answers, strict=True)
        if "unknown pre-tokenizer type" in answer.log
    ]
    assert unknown == ["no-such-name"]


# --- templates


def test_a_template_is_data_and_is_not_run(tmp_path):
    folder = make_checkpoint(tmp_path / "c")
    sprung = tmp_path / "sprung"
    template = "{{ cycler.__init__.__globals__.os.system('touch " + str(sprung) + "') }}{% for x in range(10**9) %}"
    content = json.loads((folder / "tokenizer_config.json").read_text()) | {"chat_template": template}
    (folder / "tokenizer_config.json").write_text(json.dumps(content))
    convert(folder, tmp_path / "m.gguf")
    (answer,) = ask([Question(path=str(tmp_path / "m.gguf"))])
    assert answer.template == template
    assert answer.decodes
    assert not sprung.exists()


def test_code_beside_a_checkpoint_is_not_run(tmp_path):
    folder = make_checkpoint(tmp_path / "c")
    trap = f"from pathlib import Path\nPath({str(tmp_path / 'sprung')!r}).touch()\n"
    for name in ("modeling_custom.py", "tokenization_custom.py", "__init__.py", "setup.py"):
        (folder / name).write_text(trap)
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "modeling_custom.Model"}
    (folder / "config.json").write_text(json.dumps(config))
    convert(folder, tmp_path / "m.gguf")
    assert not (tmp_path / "sprung").exists()


# --- what does not fit


def _without(folder: Path, name: str) -> None:
    """Write a checkpoint's one file again without a tensor."""
    path = folder / "model.safetensors"
    kept = {each: tensor for each, tensor in safetensors.deserialize(path.read_bytes()) if each != name}
    buffers = {each: np.frombuffer(bytes(tensor["data"]), np.uint8) for each, tensor in kept.items()}
    specs = {
        each: safetensors.TensorSpec(
            dtype="bfloat16",
            shape=list(tensor["shape"]),
            data_ptr=buffers[each].ctypes.data,
            data_len=buffers[each].nbytes,
        )
        for each, tensor in kept.items()
    }
    safetensors.serialize_file(specs, str(path), {"format": "pt"})


def test_values_beyond_float16_are_counted(tmp_path):
    folder = make_checkpoint(tmp_path / "c", dtype="float32")
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    header_bytes = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + header_bytes])
    begin, _ = header["model.layers.0.mlp.up_proj.weight"]["data_offsets"]
    values = np.array([1e5, -1e30, 65520.0, 65504.0], "<f4").tobytes()
    content[8 + header_bytes + begin : 8 + header_bytes + begin + len(values)] = values
    norm, _ = header["model.norm.weight"]["data_offsets"]
    content[8 + header_bytes + norm : 8 + header_bytes + norm + 4] = np.array([1e9], "<f4").tobytes()
    path.write_bytes(content)

    assert convert(folder, tmp_path / "m.gguf", outtype="f16").n_overflowed == 3  # vectors stay float32
    held = np.frombuffer(_held(tmp_path / "m.gguf")["blk.0.ffn_up.weight"][2], np.float16)[:4]
    assert held.tolist() == [np.inf, -np.inf, np.inf, 65504.0]
    for outtype in ("bf16", "f32"):
        assert convert(folder, tmp_path / "m.gguf", outtype=outtype).n_overflowed == 0


def test_weights_that_are_not_the_configs_are_refused(tmp_path):
    folder = make_checkpoint(tmp_path / "c")
    config = json.loads((folder / "config.json").read_text())
    target = tmp_path / "out" / "m.gguf"

    def said(**changes: Any) -> str:
        (folder / "config.json").write_text(json.dumps(config | changes))
        return _refusal(lambda: convert(folder, target))

    assert "lacks 9 tensors that its config asks for, such as model.layers.2.self_attn.q_proj.weight" in said(
        num_hidden_layers=3
    )
    assert "has the tensor model.layers.1." in said(num_hidden_layers=1)
    assert "which LlamaForCausalLM does not have" in said(num_hidden_layers=1)
    wider = said(intermediate_size=256)
    assert any(
        f"is {is_} where the config asks for {expected}; config.json and the weights do not belong together" in wider
        for is_, expected in (("[128, 64]", "[256, 64]"), ("[64, 128]", "[64, 256]"))  # whichever stands first
    )
    assert "the architecture GPT9ForCausalLM is not supported yet" in said(architectures=["GPT9ForCausalLM"])
    assert "vocab_size" in said(vocab_size=None)
    assert "even number" in said(head_dim=15)
    assert not target.parent.exists()


def test_a_missing_tensor_is_named_before_anything_is_written(tmp_path):
    folder = make_checkpoint(tmp_path / "c")
    _without(folder, "model.layers.1.mlp.up_proj.weight")
    said = _refusal(lambda: convert(folder, tmp_path / "out" / "m.gguf"))
    assert said == (
        f"{folder} lacks 1 tensors that its config asks for, such as model.layers.1.mlp.up_proj.weight; "
        "it has model.layers.0.mlp.up_proj.weight, for example; download the checkpoint again"
    )
    assert not (tmp_path / "out").exists()


def test_buffers_that_old_checkpoints_carry_are_left_out(tmp_path):
    folder = make_checkpoint(tmp_path / "c", dtype="float32")
    _add_tensors(folder, {"model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(8, np.float32)})
    assert convert(folder, tmp_path / "m.gguf").n_tensors == 20


def test_a_type_that_is_not_converted_is_one_line_and_leaves_nothing(tmp_path):
    folder = make_checkpoint(tmp_path / "c", dtype="float32")
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes().replace(b'"F32"', b'"I32"'))
    assert "is I32, so its weights are quantized already" in _refusal(
        lambda: convert(folder, tmp_path / "out" / "m.gguf")
    )
    assert not (tmp_path / "out").exists()


def test_an_unknown_outtype_lists_those_that_are(tmp_path):
    assert _refusal(lambda: convert(tmp_path, tmp_path / "m.gguf", outtype="q8_0")) == (
        "unknown outtype 'q8_0'; choose from auto, f32, f16, bf16"
    )


# --- whole or not at all


@pytest.mark.parametrize(
    ("error", "raised"),
    [(OSError(28, "No space left on device"), UserError), (KeyboardInterrupt(), KeyboardInterrupt)],
)
def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch, error, raised):
    folder = make_checkpoint(tmp_path / "c")
    real = module._write_tensors

    def fail(file: Any, layout: Any, *rest: Any) -> int:
        real(file, dataclasses.replace(layout, jobs=layout.jobs[:10]), *rest)
        raise error

    monkeypatch.setattr(module, "_write_tensors", fail)
    with pytest.raises(raised) as caught:
        convert(folder, tmp_path / "out" / "m.gguf")
    if raised is UserError:
        assert str(caught.value) == (
            f"cannot write {tmp_path / 'out' / 'm.gguf'}: No space left on device; free space or choose another -o"
        )
    assert _names(tmp_path / "out") == []


def test_a_file_that_ends_while_it_is_read_leaves_the_old_file(tmp_path, monkeypatch):
    folder = make_checkpoint(tmp_path / "c")
    (tmp_path / "m.gguf").write_text("the old file")
    weights = folder / "model.safetensors"
    real = module._write_tensors

    def cut(*arguments: Any) -> int:
        weights.write_bytes(weights.read_bytes()[:-1000])
        return real(*arguments)

    monkeypatch.setattr(module, "_write_tensors", cut)
    said = _refusal(lambda: convert(folder, tmp_path / "m.gguf"))
    assert f"{weights} ended while tensor " in said
    assert (tmp_path / "m.gguf").read_text() == "the old file"
    assert _names(tmp_path) == ["c", "m.gguf"]


def test_an_existing_file_is_replaced(tmp_path):
    (tmp_path / "m.gguf").write_text("the old file")
    convert(make_checkpoint(tmp_path / "c"), tmp_path / "m.gguf")
    assert describe(tmp_path / "m.gguf").arch == "llama"
    assert _names(tmp_path) == ["c", "cache", "m.gguf"]


def test_too_little_room_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    folder = make_checkpoint(tmp_path / "c")
    full = shutil.disk_usage(tmp_path)._replace(free=10 * MIB)
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _path: full)
    said = _refusal(lambda: convert(folder, tmp_path / "out" / "m.gguf"))
    assert said.startswith("the converted file needs 64.2 MiB in ")  # 106,816 values in 16 bits, and a margin
    assert "only 10.0 MiB are free" in said
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_not_there_is_made(tmp_path):
    target = tmp_path / "not" / "yet" / "there" / "m.gguf"
    assert convert(make_checkpoint(tmp_path / "c"), target).path == target
    assert _names(target.parent) == ["m.gguf"]


# --- memory

_MEASURED = """
import sys
from pathlib import Path
from quant.convert.to_gguf import convert

def peak_kib(name):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1])

before = peak_kib("VmHWM")
convert(Path(sys.argv[1]), Path(sys.argv[2]), outtype="f16")
print(peak_kib("VmHWM") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no peak memory in /proc")
def test_weights_stream_through_in_pieces(tmp_path):
    folder = make_checkpoint(tmp_path / "c", hidden=64, ffn=64)
    _write_zeros(folder, hidden=1024, ffn=32768)  # three matrices of 64 MiB
    weights = folder / "model.safetensors"
    assert 200e6 < weights.stat().st_size < 220e6
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED, str(folder), str(tmp_path / "m.gguf")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    grown_mib = int(done.stdout) / 1024
    assert grown_mib < 100, "less than half of the model"
    assert (tmp_path / "m.gguf").stat().st_size > weights.stat().st_size


def _write_zeros(folder: Path, *, hidden: int, ffn: int) -> None:
    """Return a checkpoint of one layer other widths, and weights that take no room on the disk: a sparse file."""
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_size": hidden, "intermediate_size": ffn, "num_hidden_layers": 1}
    (folder / "config.json").write_text(json.dumps(config))
    kv = hidden // N_HEAD * N_HEAD_KV
    layer = "model.layers.0"
    shapes = {
        "model.embed_tokens.weight": [512, hidden],
        f"{layer}.self_attn.q_proj.weight": [hidden, hidden],
        f"{layer}.self_attn.k_proj.weight": [kv, hidden],
        f"{layer}.self_attn.v_proj.weight": [kv, hidden],
        f"{layer}.self_attn.o_proj.weight": [hidden, hidden],
        f"{layer}.mlp.gate_proj.weight": [ffn, hidden],
        f"{layer}.mlp.up_proj.weight": [ffn, hidden],
        f"{layer}.mlp.down_proj.weight": [hidden, ffn],
        f"{layer}.input_layernorm.weight": [hidden],
        f"{layer}.post_attention_layernorm.weight": [hidden],
        "model.norm.weight": [hidden],
    }
    header, place = {}, 0
    for name, shape in shapes.items():
        n_bytes = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [place, place + n_bytes]}
        place += n_bytes
    text = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + place)


def test_a_rope_scaling_whose_factors_a_family_does_not_write_is_refused(tmp_path):
    scaling = {"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 64}
    folder = make_checkpoint(tmp_path / "c", architecture="Qwen2ForCausalLM", rope_scaling=scaling)
    with pytest.raises(UserError, match="asks for llama3's rope scaling, which is not supported for qwen2"):
        convert(folder, tmp_path / "m.gguf")
    assert _names(tmp_path) == ["c"]
