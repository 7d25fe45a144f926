"""Youtu: latent attention without experts, tied and not, each type, in shards."""

from typing import Any

from tests.families import Variant
from tests.families.deepseek2 import LATENT
from tests.support.checkpoints import as_transformers5, decoder_config


def config(**shape: Any) -> dict[str, Any]:
    """Return the config.json of a small Youtu."""
    made = decoder_config("YoutuForCausalLM", "youtu", **{"kv_heads": 4, **shape})
    latent = {key: value for key, value in LATENT.items() if key != "moe_intermediate_size"}
    return made | latent | {"rope_interleave": True}


VARIANTS = {
    "youtu-tied-bf16": Variant(config(), transformers=5),
    "youtu-untied-f32": Variant(config(tie=False, heads=2, kv_heads=2), dtype="float32", transformers=5),
    "youtu-f16-sharded": Variant(config(layers=3), dtype="float16", shards=2, transformers=5),
    "youtu-transformers5": Variant(as_transformers5(config()), transformers=5),
}
