"""MiniCPM3: low-rank queries, keys and values; rope factors; wider values than llama.cpp's converter writes."""

from typing import Any

from tests.families import Variant
from tests.families.phi3 import factors
from tests.support.checkpoints import as_transformers5, decoder_config
from tests.support.equivalents import minicpm3_as_deepseek2

_OWN = {
    "scale_emb": 12,
    "scale_depth": 1.4,
    "dim_model_base": 256,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8,
    "q_lora_rank": 32,
    "kv_lora_rank": 24,
}


def config(heads: int = 4, **shape: Any) -> dict[str, Any]:
    """Return the config.json of a small MiniCPM3. The low-rank norms' epsilon is always 1e-6."""
    made = decoder_config(
        "MiniCPM3ForCausalLM", "minicpm3", heads=heads, kv_heads=heads, epsilon=1e-6, tokenizer="spm", **shape
    )
    return made | _OWN


def variant(made: dict[str, Any], **more: Any) -> Variant:
    """Return a variant that transformers computes as a DeepSeek V2."""
    return Variant(made, tokenizer="spm", equivalent=minicpm3_as_deepseek2, **more)


_LONG = {"rope_scaling": factors(4)}

VARIANTS = {
    "minicpm3-tied-bf16": variant(config()),
    "minicpm3-untied-f32": variant(config(heads=3, hidden=96, tie=False), dtype="float32", shards=2),
    "minicpm3-factors-f16": variant(config() | _LONG | {"original_max_position_embeddings": 512}, dtype="float16"),
    "minicpm3-unusual": variant(
        config(rope_theta=50000.0) | _LONG | {"original_max_position_embeddings": 32, "v_head_dim": 24},
        own_keys=(
            "minicpm3.attention.value_length",
            "minicpm3.rope.freq_base",
            "minicpm3.rope.scaling.original_context_length",
            "minicpm3.rope.scaling.attn_factor",
        ),
    ),
    "minicpm3-transformers5": variant(
        as_transformers5(
            config()
            | {"rope_scaling": {**factors(4), "rope_type": "longrope", "original_max_position_embeddings": 512}}
        ),
        oracle_config={
            "rope_parameters": None,
            "rope_theta": 10000.0,
            "rope_scaling": factors(4),
            "original_max_position_embeddings": 512,
        },
    ),
}
