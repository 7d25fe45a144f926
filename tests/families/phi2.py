"""Phi 1 to 2: the rotated part of a head in both forms, an odd number of heads, and what llama.cpp omits."""

from typing import Any

from tests.families import Variant
from tests.support.checkpoints import decoder_config


def config(hidden: int = 64, heads: int = 4, rotated: float | None = None, **shape: Any) -> dict[str, Any]:
    """Return the config.json of a small Phi."""
    made = decoder_config("PhiForCausalLM", "phi", hidden=hidden, heads=heads, tie=False, ffn=4 * hidden, **shape)
    made = {key: value for key, value in made.items() if key not in ("rms_norm_eps", "num_key_value_heads")}
    made |= {"layer_norm_eps": 1e-4, "hidden_act": "gelu_new", "num_key_value_heads": None}
    return made if rotated is None else made | {"partial_rotary_factor": rotated}


_NEW = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.75}

VARIANTS = {
    "phi2-bf16": Variant(config(rotated=0.5), pre="phi-2"),
    "phi2-odd-heads-f32": Variant(config(hidden=96, heads=3, rotated=0.75), dtype="float32", pre="phi-2"),
    "phi2-f16-sharded": Variant(config(rotated=0.25, layers=3), dtype="float16", shards=3, pre="phi-2"),
    "phi2-transformers5": Variant(
        {key: value for key, value in config().items() if key != "rope_theta"} | {"rope_parameters": _NEW},
        pre="phi-2",
        oracle_config={"rope_parameters": None, "rope_theta": 10000.0, "partial_rotary_factor": 0.75},
    ),
    "phi2-unusual": Variant(
        config(rotated=0.5, rope_theta=50000.0) | {"intermediate_size": 192, "num_key_value_heads": 2},
        pre="phi-2",
        own_keys=("phi2.rope.freq_base", "phi2.feed_forward_length", "phi2.attention.head_count_kv"),
    ),
}
