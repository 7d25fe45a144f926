"""Falcon-H1: all of its factors and none, a norm behind the gate and none, groups, tied and not, each type."""

from typing import Any

from tests.families import Variant
from tests.support.checkpoints import as_transformers5, decoder_config

FACTORS = {
    "embedding_multiplier": 5.65,
    "lm_head_multiplier": 0.039,
    "key_multiplier": 0.39,
    "attention_in_multiplier": 1.1,
    "attention_out_multiplier": 0.93,
    "ssm_in_multiplier": 1.25,
    "ssm_out_multiplier": 0.23,
    "mlp_multipliers": [0.88, 0.17],
    "ssm_multipliers": [0.35, 0.25, 0.17, 0.5, 0.31],
}
ONES: dict[str, Any] = {key: [1.0] * len(each) if isinstance(each, list) else 1.0 for key, each in FACTORS.items()}


def config(**shape: Any) -> dict[str, Any]:
    """Return the config.json of a small Falcon-H1."""
    made = decoder_config("FalconH1ForCausalLM", "falcon_h1", **{"head_dim": 16, "tie": False, **shape})
    return made | {
        "mamba_d_ssm": 96,
        "mamba_n_heads": 6,
        "mamba_d_head": 16,
        "mamba_n_groups": 1,
        "mamba_d_state": 16,
        "mamba_d_conv": 4,
        "mamba_chunk_size": 32,
        "mamba_rms_norm": False,
        "mamba_norm_before_gate": False,
        "attention_bias": False,
        "mlp_bias": False,
        "mamba_conv_bias": True,
        "mamba_proj_bias": False,
        "projectors_bias": False,
        **ONES,
    }


NORM = {"mamba_rms_norm": True, "mamba_n_groups": 2}

VARIANTS = {
    "falcon-h1-bf16-factors": Variant(config() | FACTORS, pre="qwen2", tolerance=3e-3),
    "falcon-h1-f32-norm": Variant(
        config(heads=3, kv_heads=1) | FACTORS | NORM, dtype="float32", shards=2, pre="qwen2", tolerance=3e-3
    ),
    "falcon-h1-f16-factors": Variant(config(kv_heads=4) | FACTORS, dtype="float16", pre="qwen2", tolerance=3e-3),
    "falcon-h1-tied": Variant(config(tie=True) | NORM, tolerance=3e-3),
    "falcon-h1-transformers5": Variant(
        as_transformers5(config(rope_theta=100000.0) | FACTORS), pre="qwen2", tolerance=3e-3
    ),
}
