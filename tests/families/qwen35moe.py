"""Qwen3.5 with experts: a matrix per expert and those of all in one, alone and inside a larger model, each type."""

from typing import Any

from tests.families import Variant
from tests.families.qwen35 import NEXT, SEEING, inside
from tests.families.qwen35 import config as dense_config

EXPERTS = {
    "moe_intermediate_size": 48,
    "shared_expert_intermediate_size": 40,
    "num_experts": 5,
    "num_experts_per_tok": 2,
}


def config(**shape: Any) -> dict[str, Any]:
    """Return the config.json of a small Qwen3.5 with experts that reads text alone."""
    made = dense_config(**shape)
    del made["intermediate_size"]
    return made | EXPERTS | {"architectures": ["Qwen3_5MoeForCausalLM"], "model_type": "qwen3_5_moe_text"}


_TEXT = {"pre": "qwen35", "transformers": 5, "tolerance": 3e-3}

VARIANTS = {
    "qwen35moe-bf16": Variant(config(tie=False), more_tensors=NEXT, **_TEXT),
    "qwen35moe-merged-f32": Variant(config(kv_heads=1), dtype="float32", shards=2, merged=True, **_TEXT),
    "qwen35moe-f16": Variant(
        config(tie=False, layers=5) | {"linear_num_value_heads": 2}, dtype="float16", merged=True, **_TEXT
    ),
    "qwen35moe-inside": Variant(
        inside(config(), "Qwen3_5MoeForConditionalGeneration", "qwen3_5_moe"),
        prefix="model.language_model.",
        bare=True,
        more_tensors=SEEING | NEXT,
        merged=True,
        **_TEXT,
    ),
}
