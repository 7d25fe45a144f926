"""Granite 4: states and attention, attention alone, experts, tied and not, biases, each type."""

from typing import Any

from tests.families import Variant
from tests.families.granite import SCALES
from tests.support.checkpoints import as_transformers5, decoder_config

KINDS = ["mamba", "attention", "mamba"]


def config(**shape: Any) -> dict[str, Any]:
    """Return the config.json of a small Granite 4."""
    made = decoder_config("GraniteMoeHybridForCausalLM", "granitemoehybrid", **{"layers": 3, **shape})
    return made | {
        "layer_types": KINDS,
        "shared_intermediate_size": made["intermediate_size"],
        "num_local_experts": 0,
        "num_experts_per_tok": 0,
        "position_embedding_type": "nope",
        "mamba_n_heads": 8,
        "mamba_d_head": 16,
        "mamba_n_groups": 1,
        "mamba_d_state": 16,
        "mamba_d_conv": 4,
        "mamba_expand": 2,
        "mamba_chunk_size": 32,
        "mamba_conv_bias": True,
        "mamba_proj_bias": False,
        **SCALES,
    }


ATTENTION = {"layer_types": ["attention"] * 3, "position_embedding_type": "rope"}
EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2, "intermediate_size": 32, "shared_intermediate_size": 64}


VARIANTS = {
    "granitehybrid-tied-bf16": Variant(config(), pre="refact", tolerance=3e-3),
    "granitehybrid-untied-f32": Variant(
        config(tie=False, kv_heads=1) | {"attention_bias": True},
        dtype="float32",
        shards=2,
        pre="refact",
        tolerance=3e-3,
    ),
    "granitehybrid-f16": Variant(config(kv_heads=4), dtype="float16", pre="refact", tolerance=3e-3),
    "granitehybrid-attention": Variant(config(tie=False) | ATTENTION, pre="refact"),
    "granitehybrid-transformers5": Variant(as_transformers5(config()), pre="refact", tolerance=3e-3),
    "granitehybrid-experts": Variant(config() | EXPERTS, pre="refact", tolerance=3e-3),
    "granitehybrid-experts-attention": Variant(config(tie=False) | EXPERTS | ATTENTION, pre="refact"),
}
