"""Phi's experts: with and without rope factors, numbers of experts, each type, in shards."""

from typing import Any

from tests.families import Variant
from tests.families.phi3 import factors
from tests.support.checkpoints import decoder_config

SPARSEMIXER = "the model weighs its experts by sparsemixer, llama.cpp by their share of the scores"


def config(old: int = 512, *, n_experts: int = 4, **shape: Any) -> dict[str, Any]:
    """Return the config.json of a small Phi with experts; `old` is the context before it was stretched."""
    made = decoder_config("PhiMoEForCausalLM", "phimoe", **{"tie": False, **shape})
    return made | {
        "original_max_position_embeddings": old,
        "sliding_window": 131072,
        "num_local_experts": n_experts,
        "num_experts_per_tok": 2,
        "attention_bias": True,
        "lm_head_bias": True,
    }


VARIANTS = {
    "phimoe-bf16": Variant(config(), tokenizer="write_phi3_tokenizer", no_logits=SPARSEMIXER),
    "phimoe-f32": Variant(
        config(n_experts=6, heads=2, kv_heads=1),
        dtype="float32",
        tokenizer="write_phi3_tokenizer",
        no_logits=SPARSEMIXER,
    ),
    "phimoe-factors-f16": Variant(
        config(256, context=4096) | {"rope_scaling": factors(8) | {"short_mscale": 1.2, "long_mscale": 1.2}},
        dtype="float16",
        shards=2,
        tokenizer="write_phi3_tokenizer",
        own_keys=("phimoe.rope.scaling.attn_factor",),
        no_logits=SPARSEMIXER,
    ),
}
