"""Small GGUF files, written on the spot, that llama.cpp loads, decodes and quantizes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np

_FILE_TYPES = {"F32": 0, "F16": 1, "BF16": 32}  # enum llama_ftype
_BIASED = {"qwen2"}  # attention biases on q, k and v
_SPECIAL = ("<|begin|>", "<|end|>")


@dataclass(frozen=True)
class TinyModel:
    """The shape and metadata of a "llama" or "qwen2" model.

    Attributes:
        ftype: "F32", "F16" or "BF16" for the matrices; vectors are F32, as converters write them.
        tokenizer: "none" has ids only; "bpe" tokenizes any text, in pairs of letters at best.
        tensors_per_shard: above 0, the file is split.
    """

    arch: str = "llama"
    n_embd: int = 256
    n_layer: int = 2
    n_head: int = 4
    n_head_kv: int = 2
    n_ff: int = 512
    n_vocab: int = 512
    n_ctx_train: int = 2048
    tied: bool = True
    ftype: str = "F16"
    tokenizer: str = "none"
    seed: int = 0
    synthetic: bool = True
    standin_for: str | None = None
    name: str = "tiny"
    tensors_per_shard: int = 0


def tiny_gguf(path: Path, **changes: Any) -> Path:
    """Write a model with random weights and return the path of its (first) file; `changes` are of `TinyModel`.

    A split file's shards are named after the stem of `path`.
    """
    model = TinyModel(**changes)
    writer = gguf.GGUFWriter(path, model.arch, split_max_tensors=model.tensors_per_shard)
    _add_keys(writer, model)
    _add_tensors(writer, model)
    _write(writer)
    return sorted(path.parent.glob(f"{path.stem}-00001-of-*.gguf"))[0] if model.tensors_per_shard else path


def _add_keys(writer: gguf.GGUFWriter, model: TinyModel) -> None:
    writer.add_name(model.name)
    writer.add_context_length(model.n_ctx_train)
    writer.add_embedding_length(model.n_embd)
    writer.add_block_count(model.n_layer)
    writer.add_feed_forward_length(model.n_ff)
    writer.add_head_count(model.n_head)
    writer.add_head_count_kv(model.n_head_kv)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(model.n_embd // model.n_head)
    writer.add_vocab_size(model.n_vocab)
    writer.add_file_type(_FILE_TYPES[model.ftype])
    if model.synthetic:
        writer.add_string("slmprof.weights", "synthetic")
    if model.standin_for:
        writer.add_string("slmprof.standin_for", model.standin_for)
    if model.tokenizer == "bpe":
        _add_bpe(writer, model.n_vocab)
    else:
        writer.add_tokenizer_model("none")


def _add_tensors(writer: gguf.GGUFWriter, model: TinyModel) -> None:
    random = np.random.default_rng(model.seed)
    n_embd, n_ff, n_kv = model.n_embd, model.n_ff, model.n_embd // model.n_head * model.n_head_kv

    def matrix(tensor: str, n_out: int, n_in: int) -> None:
        values = random.standard_normal((n_out, n_in), dtype=np.float32) * 0.02
        if model.ftype == "BF16":
            kind = gguf.GGMLQuantizationType.BF16
            writer.add_tensor(tensor, gguf.quants.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(tensor, values.astype(np.float16) if model.ftype == "F16" else values)

    def vector(tensor: str, n: int, value: float) -> None:
        writer.add_tensor(tensor, np.full(n, value, dtype=np.float32))

    matrix("token_embd.weight", model.n_vocab, n_embd)
    vector("output_norm.weight", n_embd, 1.0)
    if not model.tied:
        matrix("output.weight", model.n_vocab, n_embd)
    for layer in range(model.n_layer):
        block = f"blk.{layer}"
        vector(f"{block}.attn_norm.weight", n_embd, 1.0)
        matrix(f"{block}.attn_q.weight", n_embd, n_embd)
        matrix(f"{block}.attn_k.weight", n_kv, n_embd)
        matrix(f"{block}.attn_v.weight", n_kv, n_embd)
        if model.arch in _BIASED:
            vector(f"{block}.attn_q.bias", n_embd, 0.01)
            vector(f"{block}.attn_k.bias", n_kv, 0.01)
            vector(f"{block}.attn_v.bias", n_kv, 0.01)
        matrix(f"{block}.attn_output.weight", n_embd, n_embd)
        vector(f"{block}.ffn_norm.weight", n_embd, 1.0)
        matrix(f"{block}.ffn_gate.weight", n_ff, n_embd)
        matrix(f"{block}.ffn_up.weight", n_ff, n_embd)
        matrix(f"{block}.ffn_down.weight", n_embd, n_ff)


def _write(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def tiny_imatrix(
    path: Path, sizes: dict[str, int], *, n_experts: int = 1, seed: int = 0, dataset: str = "words.txt"
) -> Path:
    """Write an importance matrix in the GGUF form of llama-imatrix: tensor name -> length of its rows.

    Tensors of experts have a row for each of them.
    """
    writer = gguf.GGUFWriter(path, "imatrix")
    writer.add_string("general.type", "imatrix")
    writer.add_array("imatrix.datasets", [dataset])
    writer.add_uint32("imatrix.chunk_count", 4)
    writer.add_uint32("imatrix.chunk_size", 512)
    random = np.random.default_rng(seed)
    for name, size in sizes.items():
        rows = n_experts if "_exps." in name else 1
        writer.add_tensor(f"{name}.in_sum2", random.random((rows, size), dtype=np.float32) + 0.1)
        writer.add_tensor(f"{name}.counts", np.full((rows, 1), 2048.0, dtype=np.float32))
    _write(writer)
    return path


def _add_bpe(writer: gguf.GGUFWriter, n_vocab: int) -> None:
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    tokens = [*byte_characters(), *_SPECIAL]
    merges = [(a, b) for a in letters for b in letters][: max(0, n_vocab - len(tokens))]
    assert merges, "a vocabulary of bytes needs at least 259 entries"
    tokens += [a + b for a, b in merges]
    n_used = len(tokens)
    tokens += [f"<|unused {i}|>" for i in range(n_vocab - n_used)]
    types = [gguf.TokenType.NORMAL] * n_used + [gguf.TokenType.UNUSED] * (n_vocab - n_used)
    for i in (256, 257):
        types[i] = gguf.TokenType.CONTROL
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([f"{a} {b}" for a, b in merges])
    writer.add_bos_token_id(256)
    writer.add_eos_token_id(257)
    writer.add_add_bos_token(False)


def byte_characters() -> list[str]:
    """Return the printable character for each byte in byte-level BPE. Source: GPT-2's encoder.py."""
    plain = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    hidden = [byte for byte in range(256) if byte not in plain]
    return [chr(byte) if byte in plain else chr(256 + hidden.index(byte)) for byte in range(256)]
