"""OLMo: clipped and not, tied and not, few keys, each type."""

from typing import Any

from tests.families import Variant
from tests.support.checkpoints import as_transformers5, decoder_config


def config(**shape: Any) -> dict[str, Any]:
    """Return the config.json of a small OLMo."""
    made = decoder_config("OlmoForCausalLM", "olmo", **{"kv_heads": 4, **shape})
    del made["rms_norm_eps"]
    return made


VARIANTS = {
    "olmo-clipped-bf16": Variant(config(tie=False) | {"clip_qkv": 0.5}, pre="olmo"),
    "olmo-tied-f32": Variant(config() | {"clip_qkv": None}, dtype="float32", pre="olmo"),
    "olmo-few-keys-f16": Variant(
        config(hidden=48, heads=6, kv_heads=2, tie=False), dtype="float16", shards=2, pre="olmo"
    ),
    "olmo-transformers5": Variant(as_transformers5(config(tie=False)), pre="olmo"),
}
