"""Jamba: experts in some layers and none, attention at two places, tied and not, each type."""

from typing import Any

from tests.families import Variant
from tests.support.checkpoints import decoder_config


def config(**shape: Any) -> dict[str, Any]:
    """Return the config.json of a small Jamba."""
    made = decoder_config("JambaForCausalLM", "jamba", **{"layers": 3, **shape})
    del made["rope_theta"]
    return made | {
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "expert_layer_period": 2,
        "expert_layer_offset": 1,
        "num_experts": 1,
        "num_experts_per_tok": 1,
        "mamba_d_state": 8,
        "mamba_d_conv": 4,
        "mamba_expand": 2,
        "mamba_dt_rank": 4,
        "mamba_conv_bias": True,
        "mamba_proj_bias": False,
        "use_mamba_kernels": False,
    }


VARIANTS = {
    "jamba-untied-bf16": Variant(config(tie=False, tokenizer="spm"), tokenizer="spm", tolerance=3e-3),
    "jamba-tied-f32": Variant(
        config(kv_heads=1, tokenizer="spm") | {"mamba_d_conv": 3, "mamba_dt_rank": 6},
        dtype="float32",
        shards=2,
        tokenizer="spm",
        tolerance=3e-3,
    ),
    "jamba-f16": Variant(
        config(kv_heads=4, tokenizer="spm") | {"attn_layer_offset": 0}, dtype="float16", tokenizer="spm", tolerance=3e-3
    ),
    "jamba-experts": Variant(
        config(tie=False, tokenizer="spm") | {"num_experts": 4, "num_experts_per_tok": 2},
        tokenizer="spm",
        tolerance=3e-3,
    ),
}
