"""Maincoder: norms behind the rotation, heads of another width, tied and not, each type, shards."""

from typing import Any

from tests.families import Variant
from tests.support.checkpoints import decoder_config
from tests.support.equivalents import maincoder_as_hunyuan


def config(**shape: Any) -> dict[str, Any]:
    """Return the config.json of a small Maincoder."""
    fixed = {"head_dim": 32, "rope_theta": 1000000.0}
    made = decoder_config("MaincoderForCausalLM", "maincoder", **{**fixed, **shape})
    return made | {"intermediate_size_mlp": made["intermediate_size"], "use_qk_norm": True, "rope_scaling": None}


def variant(made: dict[str, Any], **more: Any) -> Variant:
    """Return a variant that transformers computes as a Hunyuan."""
    return Variant(made, equivalent=maincoder_as_hunyuan, pre="qwen2", **more)


VARIANTS = {
    "maincoder-tied-bf16": variant(config()),
    "maincoder-untied-f32": variant(config(tie=False, hidden=96, heads=6, kv_heads=3), dtype="float32", shards=2),
    "maincoder-f16": variant(config(kv_heads=4, head_dim=16), dtype="float16"),
}
