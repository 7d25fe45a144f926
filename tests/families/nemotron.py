"""Nemotron: with and without biases, each share of rotary dimensions, a factor of the positions."""

from typing import Any

from tests.families import Variant
from tests.support.checkpoints import decoder_config


def config(share: float = 0.5, **shape: Any) -> dict[str, Any]:
    """Return the config.json of a small Nemotron."""
    made = decoder_config("NemotronForCausalLM", "nemotron", tokenizer="spm", tie=False, **shape)
    del made["rms_norm_eps"]
    return made | {"hidden_act": "relu2", "norm_eps": 1e-5, "partial_rotary_factor": share}


ROPE = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}

VARIANTS = {
    "nemotron-bf16": Variant(config(head_dim=16), tokenizer="spm"),
    "nemotron-biases-f32": Variant(
        config(1.0, heads=3, kv_heads=1, hidden=48) | {"attention_bias": True, "mlp_bias": True},
        dtype="float32",
        tokenizer="spm",
    ),
    "nemotron-f16-sharded": Variant(
        config(0.25, layers=3, rope_theta=50000.0), dtype="float16", shards=3, tokenizer="spm"
    ),
    "nemotron-factor": Variant(
        config() | {"factor": 4.0}, tokenizer="spm", no_logits="transformers computes no scaling of its positions"
    ),
    "nemotron-transformers5": Variant(
        {key: value for key, value in config().items() if key not in ("rope_theta", "partial_rotary_factor")}
        | {"rope_parameters": ROPE},
        tokenizer="spm",
    ),
}
