"""A file's facts, against the library that wrote the file and the one that loads it; and files from nobody's friend."""

import ctypes
import hashlib
import os
import random
import re
import struct
from contextlib import suppress

import gguf
import llama_cpp
import numpy as np
import pytest

from quant.base import hashes
from quant.base.errors import UserError
from quant.base.text import decoded, encoded
from quant.gguf_io.artifact import Artifact, describe
from quant.gguf_io.header import LongArray, open_gguf_header
from quant.sources.prepare import checkpoint_of
from quant.sources.resolve import resolve
from tests.support.ggufs import tiny_gguf


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SLMPROF_CACHE", str(tmp_path / "cache"))


def _refusal(path) -> str:
    with pytest.raises(UserError) as error:
        describe(path)
    said = str(error.value)
    assert "\n" not in said
    assert path.name in said or path.name.rpartition("-of-")[0][:-5] in said
    return said


# --- facts


def test_the_header_agrees_with_ggufs_own_reader(tmp_path):
    path = tiny_gguf(tmp_path / "m.gguf", arch="qwen2", tied=False, tokenizer="bpe", n_vocab=5000)
    ours, theirs = open_gguf_header(path), gguf.GGUFReader(path)
    for tensor, other in zip(ours.tensors, theirs.tensors, strict=True):
        assert tensor.name == other.name
        assert tensor.dims == tuple(int(dim) for dim in other.shape)
        assert tensor.type.number == other.tensor_type
        assert (tensor.offset, tensor.nbytes) == (other.data_offset, other.n_bytes)
    keys = {key for key in theirs.fields if not key.startswith("GGUF.")}
    assert ours.metadata.keys() == keys
    for key in keys:
        value = theirs.fields[key].contents()
        if isinstance(value, list):
            assert ours.length(key) == len(value)
            kept = ours.metadata[key]
            assert isinstance(kept, LongArray) if len(value) > 4096 else list(kept) == value
        else:
            assert ours.metadata[key] == pytest.approx(value)
    assert ours.file_bytes == path.stat().st_size


@pytest.mark.parametrize(
    "settings", [{}, {"tied": False}, {"arch": "qwen2", "n_embd": 192, "n_head": 3, "n_head_kv": 1}]
)
def test_parameters_are_those_that_llama_cpp_counts(tmp_path, settings):
    path = tiny_gguf(tmp_path / "m.gguf", **settings)
    callback = llama_cpp.llama_log_callback(lambda level, text, data: None)
    llama_cpp.llama_log_set(callback, ctypes.c_void_p(0))
    model = llama_cpp.llama_model_load_from_file(os.fsencode(path), llama_cpp.llama_model_default_params())
    artifact = describe(path)
    assert artifact.n_params == llama_cpp.llama_model_n_params(model)
    assert artifact.tensor_bytes == llama_cpp.llama_model_size(model)
    llama_cpp.llama_model_free(model)
    llama_cpp.llama_log_set(ctypes.cast(None, llama_cpp.llama_log_callback), ctypes.c_void_p(0))


def test_facts_of_a_plain_file(tmp_path):
    path = tiny_gguf(tmp_path / "m-F16.gguf", name="Tiny 1M", standin_for="smollm2-135m", tokenizer="bpe")
    artifact = describe(path)
    assert artifact.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (artifact.file_name, artifact.file_bytes) == ("m-F16.gguf", path.stat().st_size)
    assert (artifact.model, artifact.arch, artifact.level) == ("m", "llama", "F16")
    assert artifact.general_name == "Tiny 1M"
    assert artifact.tensor_types == {"f16": 15, "f32": 5}
    assert (artifact.weights, artifact.standin_for) == ("synthetic", "smollm2-135m")
    assert 16 < artifact.bpw < 16.1
    shape = artifact.shape
    assert (shape.n_layer, shape.n_embd, shape.n_vocab, shape.n_ctx_train, shape.n_head) == (2, 256, 512, 2048, 4)
    assert (shape.n_head_kv, shape.n_ff, shape.head_dim_k) == ((2, 2), (512, 512), 64)
    assert describe(tiny_gguf(tmp_path / "real.gguf", synthetic=False)).weights == "real"


def _file(path, fill, *, arch="llama", tensors=None):
    """Write a file with whatever metadata `fill` adds; llama.cpp need not load it."""
    writer = gguf.GGUFWriter(path, arch)
    fill(writer)
    for name, data in (tensors or {"token_embd.weight": np.zeros((4, 32), np.float16)}).items():
        writer.add_tensor(name, data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_heads_and_widths_that_differ_by_layer(tmp_path):
    def fill(writer):
        writer.add_block_count(3)
        writer.add_embedding_length(32)
        writer.add_context_length(128)
        writer.add_vocab_size(4)
        writer.add_head_count([4, 4, 2])
        writer.add_head_count_kv([2, 1, 2])
        writer.add_feed_forward_length([64, 128, 64])
        writer.add_key_length(16)
        writer.add_sliding_window(64)

    shape = describe(_file(tmp_path / "m.gguf", fill)).shape
    assert (shape.n_head, shape.n_head_kv, shape.n_ff) == (4, (2, 1, 2), (64, 128, 64))
    assert (shape.head_dim_k, shape.head_dim_v, shape.sliding_window) == (16, 8, 64)


@pytest.mark.parametrize("key", ["attention.head_count_kv", "attention.value_length", "feed_forward_length"])
def test_a_number_beyond_those_of_records_is_none(tmp_path, key):
    def fill(writer):
        for name, value in (("block_count", 1), ("embedding_length", 32), ("context_length", 128), ("vocab_size", 4)):
            writer.add_uint32(f"llama.{name}", value)
        writer.add_uint64(f"llama.{key}", 1 << 63)

    artifact = describe(_file(tmp_path / "m.gguf", fill))
    assert artifact.shape is not None
    assert decoded(encoded(artifact), Artifact) == artifact


@pytest.mark.parametrize(("loops", "n_caches"), [(1, 3), (3, 9), (1 << 20, 3)])
def test_each_loop_over_the_layers_has_its_own_cache(tmp_path, loops, n_caches):
    def fill(writer):
        writer.add_block_count(3)
        writer.add_embedding_length(32)
        writer.add_context_length(128)
        writer.add_vocab_size(4)
        writer.add_head_count(4)
        writer.add_head_count_kv(2)
        writer.add_uint32("nanbeige.num_loops", loops)

    shape = describe(_file(tmp_path / "m.gguf", fill, arch="nanbeige")).shape
    assert (shape.n_layer, shape.n_head_kv) == (3, (2,) * n_caches)


def test_a_record_never_holds_a_path_or_control_characters(tmp_path):
    def fill(writer):
        writer.add_name("/home/anna/models/My\tModel\x1b[31m\n")
        writer.add_string("slmprof.source", "/home/anna/models")
        writer.add_string("slmprof.revision", "../../x")
        writer.add_string("general.source.huggingface.repository", "org/My-Model")

    artifact = describe(_file(tmp_path / "m.gguf", fill))
    assert (artifact.model, artifact.general_name) == ("m", "My Model [31m")
    assert (artifact.source, artifact.revision) == ("org/My-Model", None)
    url = _file(tmp_path / "u.gguf", lambda w: w.add_string("general.repo_url", "https://huggingface.co/org/name"))
    assert describe(url).source == "org/name"


@pytest.mark.parametrize(
    ("file_type", "kind", "level"),
    [
        (None, gguf.GGMLQuantizationType.Q8_0, "Q8_0"),
        (None, gguf.GGMLQuantizationType.Q4_0, "Q4_0"),
        (None, None, "F16"),
        (15, None, "F16"),  # is called Q4_K_M, has no quantized tensor
        (1, gguf.GGMLQuantizationType.Q8_0, "Q8_0"),  # is called F16, has quantized ones
        (1024 + 7, gguf.GGMLQuantizationType.Q8_0, "Q8_0"),
        (999, gguf.GGMLQuantizationType.Q5_1, "Q5_1"),
        (15, gguf.GGMLQuantizationType.Q5_0, "Q4_K_M"),  # a narrow model falls back wholly
    ],
)
def test_the_level_is_what_tensors_can_be(tmp_path, file_type, kind, level):
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    if file_type is not None:
        writer.add_uint32("general.file_type", file_type)
    weights = np.ones((4, 32), np.float32)
    data = gguf.quants.quantize(weights, kind) if kind else weights.astype(np.float16)
    writer.add_tensor("token_embd.weight", data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert describe(tmp_path / "m.gguf").level == level


# --- shards


def test_shards_are_one_artifact(tmp_path):
    whole = describe(tiny_gguf(tmp_path / "m.gguf"))
    first = tiny_gguf(tmp_path / "s.gguf", tensors_per_shard=8)
    shards = sorted(tmp_path.glob("s-*.gguf"))
    assert len(shards) == 3
    artifact = describe(first)
    assert (artifact.n_params, artifact.tensor_bytes) == (whole.n_params, whole.tensor_bytes)
    assert artifact.tensor_types == whole.tensor_types
    assert artifact.file_bytes == sum(shard.stat().st_size for shard in shards)
    digests = "".join(hashlib.sha256(shard.read_bytes()).hexdigest() for shard in shards)
    assert artifact.sha256 == hashlib.sha256(digests.encode()).hexdigest()
    for other in shards[1:]:
        assert "not the first of its shards; pass s-00001-of-00003.gguf" in _refusal(other)


def test_a_missing_or_foreign_shard_is_named(tmp_path):
    first = tiny_gguf(tmp_path / "s.gguf", tensors_per_shard=8)
    second = tmp_path / "s-00002-of-00003.gguf"
    kept = second.read_bytes()
    second.unlink()
    assert "s-00002-of-00003.gguf is missing" in _refusal(first)
    second.write_bytes(first.read_bytes())
    assert "there twice" in _refusal(first)
    second.write_bytes(kept)
    first.rename(tmp_path / "alone.gguf")
    assert "one of 3 shards" in _refusal(tmp_path / "alone.gguf")
    second.rename(tmp_path / "lonely.gguf")
    assert "not the first of its shards" in _refusal(tmp_path / "lonely.gguf")
    tiny_gguf(tmp_path / "t-00001-of-00001.gguf")
    assert describe(tmp_path / "t-00001-of-00001.gguf").level == "F16"


# --- damaged and hostile files


def _head(n_tensors: int = 0, n_entries: int = 0, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, n_tensors, n_entries)


def _entry(key: bytes, kind: int, value: bytes) -> bytes:
    return struct.pack("<Q", len(key)) + key + struct.pack("<I", kind) + value


_ARCH = _entry(b"general.architecture", 8, struct.pack("<Q", 5) + b"llama")


def _tensor(dims=(32, 4), kind=1, offset=0, name=b"token_embd.weight") -> bytes:
    head = struct.pack("<Q", len(name)) + name + struct.pack("<I", len(dims))
    return head + struct.pack(f"<{len(dims)}Q", *dims) + struct.pack("<IQ", kind, offset)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is not a GGUF file"),
        (b"GG", "is not a GGUF file"),
        (b"\x80\x04 a pickle", "is not a GGUF file"),
        (b"GGUF", "truncated"),
        (_head(version=1), "version is 1"),
        (_head(version=99), "version is 99"),
        (b"GGUF" + struct.pack(">IQQ", 3, 1, 1), "big-endian"),
        (_head(n_entries=1 << 60), "claims"),
        (_head(n_tensors=1 << 60), "claims"),
        (_head(n_entries=1) + struct.pack("<Q", 1 << 62), "claims"),
        (_head(n_entries=1) + struct.pack("<Q", 100) + b"abc", "truncated"),
        (_head(n_entries=1) + _entry(b"k", 8, struct.pack("<Q", 1 << 62)), "claims"),
        (_head(n_entries=1) + _entry(b"k", 77, b""), "unknown type 77"),
        (_head(n_entries=1) + _entry(b"k", 9, struct.pack("<IQ", 9, 1)), "unknown type 9"),
        (_head(n_entries=1) + _entry(b"k", 9, struct.pack("<IQ", 4, 1 << 61)), "truncated"),
        (_head(n_entries=1) + _entry(b"k", 9, struct.pack("<IQ", 8, 1 << 61)), "claims"),
        (_head(n_entries=2) + _ARCH + _ARCH, "there twice"),
        (_head(n_entries=1) + _ARCH, "no weights"),
        (_head(1, 1) + _ARCH + _tensor(dims=(32, 1 << 40)) + bytes(512), "truncated"),
        (_head(1, 1) + _ARCH + _tensor(dims=(1 << 62, 1 << 62)) + bytes(512), "truncated"),
        (_head(1, 1) + _ARCH + _tensor(dims=(0, 4)) + bytes(512), "has the shape"),
        (_head(1, 1) + _ARCH + _tensor(dims=(1, 1, 1, 1, 1)) + bytes(512), "5 dimensions"),
        (_head(1, 1) + _ARCH + _tensor(kind=4) + bytes(512), "does not know"),
        (_head(1, 1) + _ARCH + _tensor(kind=12) + bytes(512), "rows of 32"),
        (_head(1, 1) + _ARCH + _tensor(offset=64) + bytes(512), "starts at 64"),
        (_head(2, 1) + _ARCH + _tensor() + _tensor(offset=256) + bytes(1024), "there twice"),
        (_head(1, 1) + _ARCH + _tensor(name=b"a\nb") + bytes(512), "not a valid tensor name"),
        (_head(1, 1) + _ARCH + _tensor(name=b"n" * 64) + bytes(512), "claims 64 bytes"),
        (_head(1, 2) + _ARCH + _entry(b"general.alignment", 4, struct.pack("<I", 0)) + _tensor(), "power of two"),
        (_head(1, 2) + _ARCH + _entry(b"general.alignment", 4, struct.pack("<I", 24)) + _tensor(), "power of two"),
        (_head(1, 0) + _tensor() + bytes(512), "holds no model"),
    ],
)
def test_a_damaged_or_hostile_file_is_one_line(tmp_path, content, words):
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)
    assert words in _refusal(path)


@pytest.mark.parametrize("value", [struct.pack("<IQ", 8, 1 << 38), struct.pack("<IQ", 0, 1 << 40)])
def test_a_list_as_long_as_a_huge_sparse_file_is_not_walked(tmp_path, value):
    path = tmp_path / "sparse.gguf"
    path.write_bytes(_head(n_entries=1) + _entry(b"k", 9, value))
    os.truncate(path, 1 << 42)
    said = _refusal(path)
    assert "larger than any model's" in said or "claims" in said


@pytest.mark.parametrize("share", [0.1, 0.5, 0.999])
def test_a_file_cut_anywhere_is_refused(tmp_path, share):
    path = tiny_gguf(tmp_path / "m.gguf", tokenizer="bpe")
    os.truncate(path, int(path.stat().st_size * share))
    assert "truncated" in _refusal(path)


def test_any_flipped_byte_yields_facts_or_one_line(tmp_path):
    path = tiny_gguf(tmp_path / "m.gguf", n_layer=1, n_embd=32, n_head=1, n_head_kv=1, n_ff=32, n_vocab=32)
    whole = path.read_bytes()
    n_header = open_gguf_header(path).header_bytes
    rng = random.Random(0)
    for _ in range(1500):
        broken = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            broken[rng.randrange(n_header)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        path.write_bytes(broken)
        with suppress(UserError):  # nothing else may come out, and no facts that cannot be
            artifact = describe(path)
            assert artifact.tensor_bytes <= len(whole)
            assert artifact.model.isprintable()


@pytest.mark.parametrize(
    ("kind", "words"),
    [("adapter", "an adapter (LoRA)"), ("imatrix", "an importance matrix"), ("mmproj", "a projector")],
)
def test_what_is_no_model_is_named(tmp_path, kind, words):
    path = _file(tmp_path / "m.gguf", lambda writer: writer.add_type(kind))
    assert f"holds {words}" in _refusal(path)


@pytest.mark.parametrize(
    ("arch", "words"),
    [("bert", "an encoder (bert)"), ("t5encoder", "an encoder (t5encoder)"), ("clip", "a projector"),
     ("controlvector", "a control vector")],
)  # fmt: skip
def test_an_architecture_that_generates_no_text_is_named(tmp_path, arch, words):
    path = tmp_path / "m.gguf"
    assert f"holds {words}" in _refusal(_file(path, lambda writer: None, arch=arch))


def test_a_gguf_file_is_no_checkpoint(tmp_path):
    for arch, words in (("llama", "is a GGUF file already; slmprof quantize"), ("bert", "holds an encoder (bert)")):
        path = _file(tmp_path / f"{arch}.gguf", lambda writer: None, arch=arch)
        with pytest.raises(UserError, match=re.escape(words)):
            checkpoint_of(resolve(str(path)))


def test_attention_to_later_tokens_is_an_encoders_but_for_diffusion(tmp_path):
    for arch, refused in (("llama", True), ("dream", False)):
        path = _file(tmp_path / f"{arch}.gguf", lambda writer: writer.add_causal_attention(False), arch=arch)
        if refused:
            assert "an encoder (llama)" in _refusal(path)
        else:
            assert describe(path).arch == "dream"


@pytest.mark.parametrize(
    ("file", "model"),
    [
        ("SmolLM2-135M-Instruct.Q4_1.gguf", "SmolLM2-135M-Instruct"),
        ("tune-UD-Q4_K_XL.GGUF", "tune"),
        ("tune.i1-IQ4_XS.gguf", "tune"),
        ("tune-fp16-Q8_0.gguf", "tune"),
        ("sha256-c0ffee", "sha256-c0ffee"),
        ("Q8_0.gguf", "merged"),  # nothing else names it
    ],
)
def test_a_model_is_named_by_its_file_without_the_level(tmp_path, file, model):
    artifact = describe(_file(tmp_path / file, lambda writer: writer.add_name("merged")))
    assert (artifact.model, artifact.general_name) == (model, "merged")


def test_a_pointer_of_git_lfs_is_named(tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n")
    assert "Git LFS pointer" in _refusal(path)


def test_a_folder_and_nothing_are_refused(tmp_path):
    assert "not there" in _refusal(tmp_path / "none.gguf")
    (tmp_path / "d.gguf").mkdir()
    assert "not a file" in _refusal(tmp_path / "d.gguf")


# --- the remembered hash


def test_an_unchanged_file_is_hashed_once(tmp_path, monkeypatch):
    path = tiny_gguf(tmp_path / "m.gguf")
    first = describe(path)
    monkeypatch.setattr(hashes, "sha256_of", lambda *_: pytest.fail("the file was read again"))
    assert describe(path) == first


def test_a_changed_file_is_hashed_again(tmp_path):
    path = tiny_gguf(tmp_path / "m.gguf")
    first = describe(path)
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(b"\x01\x02\x03\x04")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # the same size and time of change
    assert describe(path).sha256 == hashlib.sha256(path.read_bytes()).hexdigest() != first.sha256


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a": 1}', "\x00"])
def test_a_damaged_memory_of_hashes_is_only_forgotten(tmp_path, content):
    path = tiny_gguf(tmp_path / "m.gguf")
    first = describe(path)
    (tmp_path / "cache" / "hashes.json").write_text(content)
    assert describe(path) == first


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SLMPROF_CACHE", str(tmp_path / "file"))
    path = tiny_gguf(tmp_path / "m.gguf")
    assert describe(path).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
