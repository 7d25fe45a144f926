"""gpt-oss in plain types: its own rotary scaling and none, windows that cut and do not, each type, in shards."""

from typing import Any

from tests.families import Variant
from tests.support.checkpoints import as_transformers5, decoder_config

YARN = {
    "rope_type": "yarn",
    "factor": 32.0,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "truncate": True,  # llama.cpp rounds the bounds, whatever the config says
    "original_max_position_embeddings": 64,
}


def config(**shape: Any) -> dict[str, Any]:
    """Return the config.json of a small gpt-oss."""
    fixed = {"head_dim": 32, "rope_theta": 150000.0, "tie": False, "rope_scaling": YARN, "context": 2048}
    made = decoder_config("GptOssForCausalLM", "gpt_oss", **{**fixed, **shape})
    experts = {"num_local_experts": 6, "num_experts_per_tok": 2, "sliding_window": 20, "swiglu_limit": 7.0}
    return made | experts | {"attention_bias": True}


VARIANTS = {
    "gpt_oss-bf16": Variant(config(), pre="gpt-4o"),
    "gpt_oss-f32": Variant(config(heads=3, kv_heads=1, ffn=96), dtype="float32", pre="gpt-4o"),
    "gpt_oss-f16-sharded": Variant(config(layers=3, hidden=48), dtype="float16", shards=2, pre="gpt-4o"),
    "gpt_oss-own-yarn": Variant(
        config(rope_scaling=YARN | {"truncate": False}),
        pre="gpt-4o",
        no_logits="llama.cpp rounds the bounds of YaRN, which this setting forbids",
    ),
    "gpt_oss-transformers5": Variant(as_transformers5(config()), pre="gpt-4o", transformers=5),
}
