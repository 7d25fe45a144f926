"""LFM2 with experts: some layers dense and none, tied and not, each type."""

from typing import Any

from tests.families import Variant
from tests.families.lfm2 import config as lfm2
from tests.support.checkpoints import as_transformers5


def config(**shape: Any) -> dict[str, Any]:
    """Return the config.json of a small LFM2 with experts."""
    made = lfm2(**shape)
    dense = {key: value for key, value in made.items() if not key.startswith("block_")}
    return dense | {
        "architectures": ["Lfm2MoeForCausalLM"],
        "model_type": "lfm2_moe",
        "moe_intermediate_size": 32,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "num_dense_layers": 1,
        "norm_topk_prob": True,
        "use_expert_bias": True,
        "routed_scaling_factor": 1.0,
    }


VARIANTS = {
    "lfm2moe-tied-bf16": Variant(config(), pre="qwen2", transformers=5),
    "lfm2moe-untied-f32": Variant(
        config(tie=False, kv_heads=1) | {"num_dense_layers": 0, "num_experts": 6},
        dtype="float32",
        shards=2,
        transformers=5,
        oracle_fails=True,  # gguf has no name for its output matrix
    ),
    "lfm2moe-f16": Variant(config(kv_heads=4), dtype="float16", pre="qwen2", transformers=5),
    "lfm2moe-transformers5": Variant(as_transformers5(config()), pre="qwen2", transformers=5),
}
