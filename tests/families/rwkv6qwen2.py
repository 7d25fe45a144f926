"""QRWKV 6: with biases and without, few keys, ranks of its own, each type, in shards."""

from typing import Any

from tests.families import Variant
from tests.families.rwkv6 import NO_CLASS
from tests.support.checkpoints import decoder_config


def config(changes: dict[str, Any] | None = None, **shape: Any) -> dict[str, Any]:
    """Return the config.json of a small QRWKV 6."""
    made = decoder_config("RWKV6Qwen2ForCausalLM", "rwkv6qwen2", **{"tie": False, "hidden": 128, **shape})
    return made | {"attention_bias": True, "attention_output_bias": False} | (changes or {})


def variant(made: dict[str, Any], **more: Any) -> Variant:
    """Return a variant."""
    return Variant(made, pre="qwen2", no_logits=NO_CLASS, **more)


VARIANTS = {
    "rwkv6qwen2-bf16": variant(config({"lora_rank_tokenshift": 24, "lora_rank_decay": 40})),
    "rwkv6qwen2-f32": variant(config({"attention_bias": False}, heads=2, kv_heads=2), dtype="float32", shards=2),
    "rwkv6qwen2-f16": variant(config(kv_heads=1, layers=3), dtype="float16"),
}
