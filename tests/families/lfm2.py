"""LFM2: convolutions before and after attention, both forms of the layers and of the width, tied and not, each type."""

from typing import Any

from tests.families import Variant
from tests.support.checkpoints import as_transformers5, decoder_config

KINDS = ["conv", "full_attention", "conv"]


def config(**shape: Any) -> dict[str, Any]:
    """Return the config.json of a small LFM2."""
    made = decoder_config("Lfm2ForCausalLM", "lfm2", **{"layers": 3, "rope_theta": 1000000.0, **shape})
    del made["rms_norm_eps"]
    return made | {
        "layer_types": KINDS,
        "conv_L_cache": 3,
        "conv_bias": False,
        "norm_eps": 1e-5,
        "block_auto_adjust_ff_dim": False,
        "block_ffn_dim_multiplier": 1.0,
        "block_multiple_of": 32,
    }


ADJUSTED = {"block_auto_adjust_ff_dim": True, "block_ff_dim": 200, "intermediate_size": 100}
EARLIER: dict[str, Any] = {"layer_types": None, "full_attn_idxs": [0, 2], "tie_embedding": False, "block_ff_dim": 160}
EARLIER |= {"intermediate_size": None, "tie_word_embeddings": None}

VARIANTS = {
    "lfm2-tied-bf16": Variant(config(), pre="qwen2"),
    "lfm2-untied-f32": Variant(config(tie=False, kv_heads=1) | {"conv_L_cache": 4}, dtype="float32", shards=2),
    "lfm2-f16-adjusted": Variant(config(kv_heads=4) | ADJUSTED, dtype="float16", pre="qwen2"),
    "lfm2-transformers5": Variant(as_transformers5(config()), pre="qwen2"),
    "lfm2-earlier": Variant(
        {key: value for key, value in (config() | EARLIER).items() if value is not None},
        oracle_config={"layer_types": ["full_attention", "conv", "full_attention"]},
    ),
}
