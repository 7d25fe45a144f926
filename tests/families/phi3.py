"""Phi 3 and 4: with and without long context, either set of rope factors in use, both vocabularies, tied and not."""

from typing import Any

from tests.families import Variant
from tests.support.checkpoints import decoder_config


def config(old: int = 512, tie: bool = False, **shape: Any) -> dict[str, Any]:
    """Return the config.json of a small Phi-3; `old` is the context before it was stretched."""
    made = decoder_config("Phi3ForCausalLM", "phi3", tie=tie, **shape)
    return made | {"original_max_position_embeddings": old, "sliding_window": None, "pad_token_id": 0}


def factors(size: int) -> dict[str, Any]:
    """Return rope factors for `size` frequencies."""
    long, short = [1.0 + 0.7 * index for index in range(size)], [1.0 + 0.05 * index for index in range(size)]
    return {"type": "longrope", "long_factor": long, "short_factor": short}


_PART = {"rope_scaling": factors(6), "partial_rotary_factor": 0.75, "sliding_window": 262144}
_NEW = {"rope_type": "longrope", "rope_theta": 20000.0, "partial_rotary_factor": 0.75}

VARIANTS = {
    "phi3-bf16": Variant(config() | {"sliding_window": 200}, tokenizer="write_phi3_tokenizer"),
    "phi3-mha-odd-f32": Variant(
        config(hidden=96, heads=3, kv_heads=3), dtype="float32", tokenizer="write_phi3_tokenizer"
    ),
    "phi3-short-factors": Variant(
        config(256, context=4096) | {"rope_scaling": factors(8)}, shards=2, tokenizer="write_phi3_tokenizer"
    ),
    "phi3-long-factors-f16": Variant(
        config(32, context=4096, hidden=96, heads=6) | {"rope_scaling": factors(8)},
        dtype="float16",
        tokenizer="write_phi3_tokenizer",
    ),
    "phi3-unstretched": Variant(config(512) | {"rope_scaling": factors(8)}, tokenizer="write_phi3_tokenizer"),
    "phi4-mini": Variant(
        config(256, tie=True, context=4096) | _PART, tokenizer="write_gpt2_class_tokenizer", pre="gpt-4o"
    ),
    "phi4-mini-transformers5": Variant(
        {key: value for key, value in config(256, tie=True, context=4096).items() if key != "rope_theta"}
        | {"rope_parameters": _NEW | {key: value for key, value in factors(6).items() if key != "type"}},
        tokenizer="write_gpt2_class_tokenizer",
        pre="gpt-4o",
        oracle_config={
            "rope_parameters": None,
            "rope_theta": 20000.0,
            "partial_rotary_factor": 0.75,
            "rope_scaling": factors(6),
        },
    ),
}
