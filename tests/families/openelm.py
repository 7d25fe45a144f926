"""OpenELM: other heads and widths in each layer, and the same in all; its code is no part of transformers."""

from typing import Any

from tests.families import Variant
from tests.support.equivalents import openelm_as_qwen3


def config(**changes: Any) -> dict[str, Any]:
    """Return the config.json of a small OpenELM."""
    made: dict[str, Any] = {
        "architectures": ["OpenELMForCausalLM"],
        "model_type": "openelm",
        "activation_fn_name": "swish",
        "ffn_dim_divisor": 32,
        "ffn_multipliers": [0.5, 1.73, 4.0],
        "ffn_with_glu": True,
        "head_dim": 16,
        "max_context_length": 512,
        "model_dim": 80,
        "normalization_layer_name": "rms_norm",
        "normalize_qk_projections": True,
        "num_gqa_groups": 3,
        "num_kv_heads": [1, 2, 3],
        "num_query_heads": [3, 6, 9],
        "num_transformer_layers": 3,
        "qkv_multipliers": [0.5, 1.0],
        "rope_freq_constant": 10000,
        "rope_max_length": 1024,
        "share_input_output_layers": True,
        "vocab_size": 512,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    return made | changes


def variant(config: dict[str, Any], **more: Any) -> Variant:
    """Return a variant with the tokenizer that users put beside it."""
    return Variant(config, tokenizer="spm", equivalent=openelm_as_qwen3, **more)


VARIANTS = {
    "openelm-f32": variant(config(), dtype="float32"),
    "openelm-bf16-sharded": variant(config(rope_freq_constant=500), shards=3),
    "openelm-even-f16": variant(
        config(num_query_heads=[5] * 3, num_kv_heads=[5] * 3, ffn_multipliers=[2.3] * 3, head_dim=32),
        dtype="float16",
    ),
}
