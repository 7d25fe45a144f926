"""What a family is, and what nearly all families share.

A family says which tensors a config asks for, how each is named and changed in GGUF, and which keys the config becomes.
Source: set_gguf_parameters in conversion/base.py of the pinned llama.cpp, for the keys and their order.
"""

from collections.abc import Callable, Iterator
from typing import Any

import gguf
import msgspec
import numpy as np
from numpy.typing import NDArray

from quant.errors import UserError

Config = dict[str, Any]
Rows = NDArray[Any]
_MAX_LAYERS = 512  # llama.cpp's own limit. Source: LLAMA_MAX_LAYERS in src/llama-hparams.h
_MAX_FLOAT = 3.4e38  # GGUF keeps these numbers as float32


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """One tensor that a config asks for."""

    name: str  # in the checkpoint
    target: str  # in GGUF
    shape: tuple[int, ...]
    optional: bool = False  # a tied output matrix need not be there
    # Rotary heads whose halves are to be interleaved, rows of one head at a time; None: as it is.
    permute_heads: int | None = None


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """How checkpoints of one family become GGUF."""

    arch: str  # GGUF's general.architecture
    complete: Callable[[Config], Config]  # fills in what a config may leave to the class's defaults
    tensors: Callable[[Config], Iterator[Planned]]
    write_keys: Callable[[gguf.GGUFWriter, Config, int], None]  # writer, config, file type
    extra_tensors: Callable[[Config], dict[str, NDArray[np.float32]]]  # made from the config alone
    vocabulary_keys: Callable[[gguf.GGUFWriter, Config], None]  # after the vocabulary's own
    space_prefix_key: bool


def need(config: Config, key: str, default: int | None = None) -> int:
    """Give a count from a config.

    Raises:
        UserError: it is missing or no positive number.
    """
    value = config.get(key, default)
    if type(value) is not int or not 0 < value < 1 << 31:
        raise UserError(f"config.json has {key} = {value!r}, which must be a positive number")
    return value


def head_dim(config: Config) -> int:
    """Give the size of one attention head, explicit or by division.

    Raises:
        UserError: it is odd, so that rotary positions have no two halves.
    """
    if config.get("head_dim") is not None:
        size = need(config, "head_dim")
    else:
        size = need(config, "hidden_size") // need(config, "num_attention_heads")
    if size % 2:
        raise UserError(f"config.json asks for attention heads of {size} values, which must be an even number")
    return size


def n_head_kv(config: Config) -> int:
    """Give the number of key and value heads; without the key, as many as heads."""
    return need(config, "num_key_value_heads", need(config, "num_attention_heads"))


def is_tied(config: Config) -> bool:
    """Tell whether the output matrix is the embedding."""
    return bool(config.get("tie_word_embeddings", False))


def rope_parameters(config: Config) -> dict[str, Any]:
    """Give the rope settings in one form: transformers 4 keeps them apart, transformers 5 in rope_parameters."""
    found = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(found, dict):
        raise UserError(f"config.json has rope settings that are no object: {found!r}")
    found = dict(found)
    if "rope_theta" not in found and config.get("rope_theta") is not None:
        found["rope_theta"] = config["rope_theta"]
    if "rope_type" not in found and found.get("type") is not None:
        found["rope_type"] = found["type"]
    if "original_max_position_embeddings" not in found and config.get("original_max_position_embeddings") is not None:
        found["original_max_position_embeddings"] = config["original_max_position_embeddings"]
    return found


def write_common_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add the keys that every decoder has, in llama.cpp's order."""
    writer.add_block_count(need(config, "num_hidden_layers"))
    if config.get("max_position_embeddings") is not None:
        writer.add_context_length(need(config, "max_position_embeddings"))
    writer.add_embedding_length(need(config, "hidden_size"))
    writer.add_feed_forward_length(need(config, "intermediate_size"))
    writer.add_head_count(need(config, "num_attention_heads"))
    if config.get("num_key_value_heads") is not None:
        writer.add_head_count_kv(need(config, "num_key_value_heads"))
    _write_rope_keys(writer, config)
    if (epsilon := config.get("rms_norm_eps")) is not None:
        writer.add_layer_norm_rms_eps(number(epsilon, "rms_norm_eps"))
    if config.get("head_dim") is not None:
        writer.add_key_length(need(config, "head_dim"))
        writer.add_value_length(need(config, "head_dim"))
    writer.add_file_type(file_type)


def _write_rope_keys(writer: gguf.GGUFWriter, config: Config) -> None:
    rope = rope_parameters(config)
    kind, factor = rope.get("rope_type"), rope.get("factor")
    if kind == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(number(factor, "factor"))
    elif kind == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(number(factor, "factor"))
        writer.add_rope_scaling_orig_ctx_len(need(rope, "original_max_position_embeddings"))
        optional = (
            ("extrapolation_factor", writer.add_rope_scaling_yarn_ext_factor),
            ("attention_factor", writer.add_rope_scaling_yarn_attn_factor),
            ("beta_fast", writer.add_rope_scaling_yarn_beta_fast),
            ("beta_slow", writer.add_rope_scaling_yarn_beta_slow),
        )
        for key, add in optional:
            value = rope.get(key, rope.get("attn_factor") if key == "attention_factor" else None)
            if value is not None:
                add(number(value, key))
    elif kind not in (None, "default", "llama3", "dynamic"):
        # A scaling that is left out would give wrong text without a word.
        raise UserError(f"config.json asks for the rope scaling '{kind}', which is not supported for this family")
    if (theta := rope.get("rope_theta")) is not None:
        writer.add_rope_freq_base(number(theta, "rope_theta"))


def number(value: Any, key: str) -> float:
    """Give a setting that is a number.

    Raises:
        UserError: it is none, or none that float32 holds.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _MAX_FLOAT:
        raise UserError(f"config.json has {key} = {str(value)[:100]}, which must be a number")
    return value


def decoder_tensors(
    config: Config, *, qkv_bias: bool, output_bias: bool, mlp_bias: bool, permute: bool
) -> Iterator[Planned]:
    """Give the tensors of a llama-like decoder, in the order of its layers."""
    n_embd, n_ff, n_vocab = need(config, "hidden_size"), need(config, "intermediate_size"), need(config, "vocab_size")
    size = head_dim(config)
    heads, heads_kv = need(config, "num_attention_heads"), n_head_kv(config)
    yield Planned(name="model.embed_tokens.weight", target="token_embd.weight", shape=(n_vocab, n_embd))
    n_layers = need(config, "num_hidden_layers")
    if n_layers > _MAX_LAYERS:
        raise UserError(f"config.json has num_hidden_layers = {n_layers}; llama.cpp takes {_MAX_LAYERS} at most")
    for layer in range(n_layers):
        source, target = f"model.layers.{layer}", f"blk.{layer}"
        matrices: list[tuple[str, str, int, int, bool, int | None]] = [
            ("self_attn.q_proj", "attn_q", heads * size, n_embd, qkv_bias, heads if permute else None),
            ("self_attn.k_proj", "attn_k", heads_kv * size, n_embd, qkv_bias, heads_kv if permute else None),
            ("self_attn.v_proj", "attn_v", heads_kv * size, n_embd, qkv_bias, None),
            ("self_attn.o_proj", "attn_output", n_embd, heads * size, output_bias, None),
            ("mlp.gate_proj", "ffn_gate", n_ff, n_embd, mlp_bias, None),
            ("mlp.up_proj", "ffn_up", n_ff, n_embd, mlp_bias, None),
            ("mlp.down_proj", "ffn_down", n_embd, n_ff, mlp_bias, None),
        ]
        for name, new, rows, columns, bias, permuted in matrices:
            yield Planned(
                name=f"{source}.{name}.weight",
                target=f"{target}.{new}.weight",
                shape=(rows, columns),
                permute_heads=permuted,
            )
            if bias:
                yield Planned(
                    name=f"{source}.{name}.bias", target=f"{target}.{new}.bias", shape=(rows,), permute_heads=permuted
                )
        for name, new in (("input_layernorm", "attn_norm"), ("post_attention_layernorm", "ffn_norm")):
            yield Planned(name=f"{source}.{name}.weight", target=f"{target}.{new}.weight", shape=(n_embd,))
    yield Planned(name="model.norm.weight", target="output_norm.weight", shape=(n_embd,))
    yield Planned(name="lm_head.weight", target="output.weight", shape=(n_vocab, n_embd), optional=is_tied(config))


def interleave_halves(rows: Rows, n_heads: int) -> Rows:
    """Reorder the rows of `n_heads` whole heads from rotate-half order to ggml's pairs.

    A checkpoint keeps the two halves of a head's rotary dimensions one after the other, ggml's llama layout pairs
    neighbours. Source: LlamaModel.permute in conversion/llama.py of the pinned llama.cpp.
    """
    half = rows.shape[0] // n_heads // 2
    return rows.reshape(n_heads, 2, half, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def with_defaults(config: Config, **defaults: Any) -> Config:
    """Fill in keys that are missing or null, as transformers' config class does when it reads the file."""
    given = {key: value for key, value in config.items() if value is not None}
    return {**config, **{key: value for key, value in defaults.items() if key not in given}}


def no_extra_tensors(config: Config) -> dict[str, NDArray[np.float32]]:
    """Make none."""
    return {}


def no_vocabulary_keys(writer: gguf.GGUFWriter, config: Config) -> None:
    """Add none."""
