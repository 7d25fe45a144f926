"""Hunyuan's experts: a base that alpha raises and none, its own vocabulary, tied and not, each type, shards."""

from typing import Any

from tests.families import Variant
from tests.support.checkpoints import decoder_config

ALPHA = {"type": "dynamic", "factor": 1.0, "alpha": 1000.0, "beta_fast": 32, "beta_slow": 1, "mscale": 1.0}
TOKENIZER = "write_hunyuan_tokenizer"
BEGIN = ("tokenizer.ggml.bos_token_id",)  # llama.cpp's converter writes that of one model


def config(*, n_experts: int = 6, **shape: Any) -> dict[str, Any]:
    """Return the config.json of a small Hunyuan with experts."""
    made = decoder_config("HunYuanMoEV1ForCausalLM", "hunyuan_v1_moe", **{"vocab": 768, **shape})
    n_layers = made["num_hidden_layers"]
    return made | {
        "head_dim": made["hidden_size"] // made["num_attention_heads"],
        "num_experts": n_experts,
        "moe_topk": [2] * n_layers,
        "moe_intermediate_size": [made["intermediate_size"]] * n_layers,
        "num_shared_expert": [1] * n_layers,
        "use_mixed_mlp_moe": True,
        "attention_bias": False,
    }


VARIANTS = {
    "hunyuan-moe-alpha-bf16": Variant(
        config(hidden=256, heads=2, kv_heads=1, rope_scaling=ALPHA, context=32768),
        tokenizer=TOKENIZER,
        pre="hunyuan",
        own_keys=BEGIN,
    ),
    "hunyuan-moe-untied-f32": Variant(
        config(tie=False, n_experts=4), dtype="float32", tokenizer=TOKENIZER, pre="hunyuan", own_keys=BEGIN
    ),
    "hunyuan-moe-f16-sharded": Variant(
        config(layers=3, kv_heads=4), dtype="float16", shards=2, tokenizer=TOKENIZER, pre="hunyuan", own_keys=BEGIN
    ),
}
