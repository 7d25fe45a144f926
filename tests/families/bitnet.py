"""BitNet b1.58: weights that are made of three values, each type, own keys and shared ones."""

from typing import Any

from tests.families import Variant
from tests.support.checkpoints import decoder_config
from tests.support.equivalents import bitnet_as_transformers


def config(heads: int = 4, kv_heads: int = 4, **shape: Any) -> dict[str, Any]:
    """Return the config.json of a small BitNet."""
    return decoder_config("BitnetForCausalLM", "llama", heads=heads, kv_heads=kv_heads, tokenizer="spm", **shape)


_SPM: dict[str, Any] = {"tokenizer": "spm", "equivalent": bitnet_as_transformers}

VARIANTS = {
    "bitnet-bf16": Variant(config(), **_SPM),
    "bitnet-f32": Variant(config(kv_heads=2, rope_theta=500000.0, ffn=200), dtype="float32", shards=2, **_SPM),
    "bitnet-f16": Variant(config(heads=2, kv_heads=1, hidden=96), dtype="float16", **_SPM),
}
