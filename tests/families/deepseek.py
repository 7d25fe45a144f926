"""DeepSeekMoE: dense layers first and none, other numbers of shared experts, each type, in shards."""

from typing import Any

from tests.families import Variant
from tests.support.checkpoints import decoder_config

NO_CLASS = "its class comes with the model"


def config(*, n_dense: int = 1, n_shared: int = 2, **shape: Any) -> dict[str, Any]:
    """Return the config.json of a small DeepSeekMoE; `n_dense` layers have no experts."""
    experts = {
        "n_routed_experts": 6,
        "n_shared_experts": n_shared,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 48,
        "first_k_dense_replace": n_dense,
        "moe_layer_freq": 1,
        "norm_topk_prob": False,
        "scoring_func": "softmax",
        "rope_scaling": None,
    }
    return decoder_config("DeepseekForCausalLM", "deepseek", **{"tie": False, "kv_heads": 4, **shape}) | experts


VARIANTS = {
    "deepseek-bf16": Variant(config(), pre="deepseek-llm", no_logits=NO_CLASS),
    "deepseek-f32-no-dense": Variant(
        config(n_dense=0, n_shared=1, heads=2, kv_heads=1), dtype="float32", pre="deepseek-llm", no_logits=NO_CLASS
    ),
    "deepseek-f16-sharded": Variant(
        config(layers=3, n_dense=2, tokenizer="spm"), dtype="float16", shards=3, tokenizer="spm", no_logits=NO_CLASS
    ),
}
