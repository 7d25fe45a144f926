"""ARWKV: with a gate and without, values mixed in the first layer or not stored, each type."""

from typing import Any

from tests.families import Variant
from tests.families.rwkv6 import NO_CLASS
from tests.support.checkpoints import decoder_config


def config(**changes: Any) -> dict[str, Any]:
    """Return the config.json of a small ARWKV."""
    made = decoder_config("RwkvHybridForCausalLM", "rwkv_hybrid", tie=False, hidden=128, layers=3)
    return made | {"head_size": 64, "wkv_version": 7, "wkv_has_gate": True, "wkv_has_group_norm": False} | changes


UNUSED: dict[str, tuple[int, ...]] = {
    "model.layers.0.self_attn.time_mixer.v0": (1, 1, 128),
    "model.layers.0.self_attn.time_mixer.v1": (128, 32),
    "model.layers.0.self_attn.time_mixer.v2": (32, 128),
}

VARIANTS = {
    "arwkv7-bf16": Variant(config(), pre="qwen2", no_logits=NO_CLASS, more_tensors=UNUSED),
    "arwkv7-f32-no-gate": Variant(
        config(wkv_has_gate=False, wkv_layers="full"), dtype="float32", shards=2, pre="qwen2", no_logits=NO_CLASS
    ),
    "arwkv7-f16": Variant(config(head_size=32), dtype="float16", pre="qwen2", no_logits=NO_CLASS),
}
