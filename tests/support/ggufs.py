"""Small GGUF files, made on the spot, that llama.cpp loads, decodes and quantizes."""

from pathlib import Path

import gguf
import numpy as np

_FILE_TYPES = {"F32": 0, "F16": 1, "BF16": 32}  # enum llama_ftype
_BIASED = {"qwen2"}  # attention biases on q, k and v
_SPECIAL = ("<|begin|>", "<|end|>")


def tiny_gguf(
    path: Path,
    *,
    arch: str = "llama",
    n_embd: int = 256,
    n_layer: int = 2,
    n_head: int = 4,
    n_head_kv: int = 2,
    n_ff: int = 512,
    n_vocab: int = 512,
    n_ctx_train: int = 2048,
    tied: bool = True,
    ftype: str = "F16",
    tokenizer: str = "none",
    seed: int = 0,
    synthetic: bool = True,
    standin_for: str | None = None,
    name: str = "tiny",
    tensors_per_shard: int = 0,
) -> Path:
    """Write a "llama" or "qwen2" model with random weights and give the path of its (first) file.

    Args:
        ftype: "F32", "F16" or "BF16" for the matrices; vectors are F32, as converters write them.
        tokenizer: "none" has ids only; "bpe" tokenizes any text, at best letter pairs at a time.
        tensors_per_shard: above 0, the file is split and `path` is the stem's; the first shard's path is given.
    """
    writer = gguf.GGUFWriter(path, arch, split_max_tensors=tensors_per_shard)
    writer.add_name(name)
    writer.add_context_length(n_ctx_train)
    writer.add_embedding_length(n_embd)
    writer.add_block_count(n_layer)
    writer.add_feed_forward_length(n_ff)
    writer.add_head_count(n_head)
    writer.add_head_count_kv(n_head_kv)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(n_embd // n_head)
    writer.add_vocab_size(n_vocab)
    writer.add_file_type(_FILE_TYPES[ftype])
    if synthetic:
        writer.add_string("slmprof.weights", "synthetic")
    if standin_for:
        writer.add_string("slmprof.standin_for", standin_for)
    if tokenizer == "bpe":
        _add_bpe(writer, n_vocab)
    else:
        writer.add_tokenizer_model("none")

    random = np.random.default_rng(seed)
    n_kv = n_embd // n_head * n_head_kv

    def matrix(tensor: str, n_out: int, n_in: int) -> None:
        values = random.standard_normal((n_out, n_in), dtype=np.float32) * 0.02
        if ftype == "BF16":
            kind = gguf.GGMLQuantizationType.BF16
            writer.add_tensor(tensor, gguf.quants.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(tensor, values.astype(np.float16) if ftype == "F16" else values)

    def vector(tensor: str, n: int, value: float) -> None:
        writer.add_tensor(tensor, np.full(n, value, dtype=np.float32))

    matrix("token_embd.weight", n_vocab, n_embd)
    vector("output_norm.weight", n_embd, 1.0)
    if not tied:
        matrix("output.weight", n_vocab, n_embd)
    for layer in range(n_layer):
        block = f"blk.{layer}"
        vector(f"{block}.attn_norm.weight", n_embd, 1.0)
        matrix(f"{block}.attn_q.weight", n_embd, n_embd)
        matrix(f"{block}.attn_k.weight", n_kv, n_embd)
        matrix(f"{block}.attn_v.weight", n_kv, n_embd)
        if arch in _BIASED:
            vector(f"{block}.attn_q.bias", n_embd, 0.01)
            vector(f"{block}.attn_k.bias", n_kv, 0.01)
            vector(f"{block}.attn_v.bias", n_kv, 0.01)
        matrix(f"{block}.attn_output.weight", n_embd, n_embd)
        vector(f"{block}.ffn_norm.weight", n_embd, 1.0)
        matrix(f"{block}.ffn_gate.weight", n_ff, n_embd)
        matrix(f"{block}.ffn_up.weight", n_ff, n_embd)
        matrix(f"{block}.ffn_down.weight", n_embd, n_ff)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return sorted(path.parent.glob(f"{path.stem}-00001-of-*.gguf"))[0] if tensors_per_shard else path


def tiny_imatrix(path: Path, sizes: dict[str, int], *, seed: int = 0, dataset: str = "words.txt") -> Path:
    """Write an importance matrix in the GGUF form of llama-imatrix: tensor name -> length of its rows."""
    writer = gguf.GGUFWriter(path, "imatrix")
    writer.add_string("general.type", "imatrix")
    writer.add_array("imatrix.datasets", [dataset])
    writer.add_uint32("imatrix.chunk_count", 4)
    writer.add_uint32("imatrix.chunk_size", 512)
    random = np.random.default_rng(seed)
    for name, size in sizes.items():
        writer.add_tensor(f"{name}.in_sum2", random.random((1, size), dtype=np.float32) + 0.1)
        writer.add_tensor(f"{name}.counts", np.full((1, 1), 2048.0, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_bpe(writer: gguf.GGUFWriter, n_vocab: int) -> None:
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    tokens = [*_byte_letters(), *_SPECIAL]
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


def _byte_letters() -> list[str]:
    """Give the printable letter that stands for each byte in byte-level BPE. Source: GPT-2's encoder.py."""
    plain = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    hidden = [byte for byte in range(256) if byte not in plain]
    return [chr(byte) if byte in plain else chr(256 + hidden.index(byte)) for byte in range(256)]
