"""DeepSeek-V2: queries of low rank and, as in the small models, not; YaRN; dense layers; each type, in shards."""

from typing import Any

from tests.families import Variant
from tests.support.checkpoints import as_transformers5, decoder_config

LATENT = {
    "kv_lora_rank": 32,
    "q_lora_rank": 24,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8,
    "v_head_dim": 12,
    "moe_intermediate_size": 48,
}
YARN = {
    "type": "yarn",
    "factor": 40,
    "beta_fast": 32,
    "beta_slow": 1,
    "mscale": 0.707,
    "mscale_all_dim": 0.707,
    "original_max_position_embeddings": 64,
}


def config(*, n_dense: int = 1, n_shared: int = 2, low_rank: bool = True, **shape: Any) -> dict[str, Any]:
    """Return the config.json of a small DeepSeek-V2; `low_rank` of the queries."""
    experts = LATENT | {
        "n_routed_experts": 6,
        "n_shared_experts": n_shared,
        "num_experts_per_tok": 2,
        "first_k_dense_replace": n_dense,
        "norm_topk_prob": False,
        "topk_method": "greedy",
        "scoring_func": "softmax",
        "n_group": 1,
        "topk_group": 1,
        "routed_scaling_factor": 1.5,
    }
    shape = {"tie": False, "kv_heads": 4, **shape}
    made = decoder_config("DeepseekV2ForCausalLM", "deepseek_v2", **shape) | experts
    return made if low_rank else made | {"q_lora_rank": None}


VARIANTS = {
    "deepseek2-lite": Variant(config(low_rank=False, layers=27, hidden=32, ffn=64), pre="deepseek-llm", shards=2),
    "deepseek2-f32": Variant(config(n_shared=1, heads=2, kv_heads=2), dtype="float32", pre="deepseek-llm"),
    "deepseek2-f16-yarn": Variant(
        config(rope_scaling=YARN, context=2560, n_dense=0),
        dtype="float16",
        pre="deepseek-llm",
        no_logits="transformers 4.57 leaves out the factor of the scores",
    ),
    "deepseek2-transformers5": Variant(as_transformers5(config(layers=3)), pre="deepseek-llm"),
}
