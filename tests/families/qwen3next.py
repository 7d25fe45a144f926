"""Qwen3-Next: groups of several heads and of one, a matrix per expert and those of all in one, each type."""

from typing import Any

from tests.families import Variant
from tests.families.qwen35 import LINEAR
from tests.families.qwen35moe import EXPERTS
from tests.support.checkpoints import as_transformers5, decoder_config


def config(layers: int = 4, **shape: Any) -> dict[str, Any]:
    """Return the config.json of a small Qwen3-Next."""
    fixed = {"head_dim": 32, "epsilon": 1e-6, "rope_theta": 10000000.0, "tie": False}
    made = decoder_config("Qwen3NextForCausalLM", "qwen3_next", layers=layers, **{**fixed, **shape})
    own = {"partial_rotary_factor": 0.25, "full_attention_interval": 4, "norm_topk_prob": True, "mlp_only_layers": []}
    return made | LINEAR | EXPERTS | own | {"decoder_sparse_step": 1}


_TEXT = {"pre": "qwen2", "tolerance": 3e-3}

VARIANTS = {
    "qwen3next-bf16": Variant(config(), more_tensors={"mtp.fc.weight": (64, 128)}, **_TEXT),
    "qwen3next-f32": Variant(
        config(8, heads=3, kv_heads=1) | {"linear_num_value_heads": 2}, dtype="float32", shards=2, **_TEXT
    ),
    "qwen3next-f16": Variant(config(tie=True, kv_heads=4), dtype="float16", **_TEXT),
    "qwen3next-transformers5": Variant(
        as_transformers5(config() | {"rope_scaling": {"partial_rotary_factor": 0.5}}),
        merged=True,
        transformers=5,
        **_TEXT,
    ),
}
