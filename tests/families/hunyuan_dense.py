"""Hunyuan: a base that alpha raises and none, ends by its configs, tied and not, each type, shards.

llama.cpp's converter reads eod_token_id from the class of transformers, and that of 4.57 drops it.
"""

from typing import Any

from tests.families import Variant
from tests.support.checkpoints import as_transformers5, decoder_config


def config(**shape: Any) -> dict[str, Any]:
    """Return the config.json of a small Hunyuan, whose heads are wider than the model."""
    made = decoder_config("HunYuanDenseV1ForCausalLM", "hunyuan_v1_dense", **{"head_dim": 32, **shape})
    return made | {"attention_bias": False, "use_qk_norm": True}


ALPHA = {"type": "dynamic", "factor": 1.0, "alpha": 1000.0, "beta_fast": 32, "beta_slow": 1, "mscale": 1.0}

VARIANTS = {
    "hunyuan-dense-tied-bf16": Variant(
        config(rope_scaling=ALPHA, context=32768) | {"eod_token_id": 510},
        tokenizer="write_ending_tokenizer",
        own_keys=("tokenizer.ggml.eos_token_id",),
    ),
    "hunyuan-dense-untied-f32": Variant(config(tie=False, heads=3, kv_heads=1), dtype="float32", shards=2),
    "hunyuan-dense-f16": Variant(
        config(kv_heads=4, head_dim=16, rope_scaling=ALPHA, context=262144) | {"pad_token_id": -1},
        dtype="float16",
    ),
    "hunyuan-dense-transformers5": Variant(as_transformers5(config())),
}
