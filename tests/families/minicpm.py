"""MiniCPM: its three scales, tied and not, rope factors for a context that was stretched and that was not."""

from typing import Any

from tests.families import Variant
from tests.families.phi3 import factors
from tests.support.checkpoints import as_transformers5, decoder_config
from tests.support.equivalents import minicpm_as_llama

_SCALES = {"scale_emb": 12, "scale_depth": 1.4, "dim_model_base": 16}


def config(**shape: Any) -> dict[str, Any]:
    """Return the config.json of a small MiniCPM."""
    return decoder_config("MiniCPMForCausalLM", "minicpm", tokenizer="spm", **shape) | _SCALES


def variant(made: dict[str, Any], **more: Any) -> Variant:
    """Return a variant that transformers computes as a Llama."""
    return Variant(made, tokenizer="spm", equivalent=minicpm_as_llama, **more)


_LONG = {"rope_scaling": factors(8)}

VARIANTS = {
    "minicpm-tied-bf16": variant(config(hidden=96, heads=6, kv_heads=6) | {"num_key_value_heads": None}),
    "minicpm-untied-f32": variant(config(hidden=96, heads=3, kv_heads=1, tie=False, layers=3), dtype="float32"),
    "minicpm-f16-sharded": variant(config(rope_theta=50000.0), dtype="float16", shards=2),
    "minicpm-factors": variant(config() | _LONG | {"original_max_position_embeddings": 512}),
    "minicpm-stretched": variant(
        config() | _LONG | {"original_max_position_embeddings": 32},
        own_keys=("minicpm.rope.scaling.original_context_length", "minicpm.rope.scaling.attn_factor"),
    ),
    "minicpm-transformers5": variant(
        as_transformers5(
            config(rope_theta=20000.0)
            | {"rope_scaling": {**factors(8), "rope_type": "longrope", "original_max_position_embeddings": 512}}
        ),
        oracle_config={
            "rope_parameters": None,
            "rope_theta": 20000.0,
            "rope_scaling": factors(8),
            "original_max_position_embeddings": 512,
        },
    ),
}
