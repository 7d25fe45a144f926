"""IQuest-Coder: settings that change nothing, biases, tied and not, each type; its code is no part of transformers."""

from typing import Any

from tests.families import Variant
from tests.support.checkpoints import as_transformers5, decoder_config
from tests.support.equivalents import iquest_as_llama


def config(**shape: Any) -> dict[str, Any]:
    """Return the config.json of a small IQuest-Coder."""
    made = decoder_config("IQuestCoderForCausalLM", "iquestcoder", **{"tie": False, "head_dim": 16, **shape})
    return made | {"clip_qkv": None, "use_sliding_window": False, "sliding_window": None, "max_window_layers": 0}


def variant(made: dict[str, Any], **more: Any) -> Variant:
    """Return a variant that transformers computes as a Llama."""
    return Variant(made, equivalent=iquest_as_llama, **more)


VARIANTS = {
    "iquest-bf16": variant(config(rope_theta=500000.0)),
    "iquest-biases-f32": variant(config() | {"attention_bias": True, "mlp_bias": True}, dtype="float32", shards=2),
    "iquest-tied-f16": variant(config(tie=True, kv_heads=4, head_dim=32), dtype="float16"),
    "iquest-transformers5": variant(as_transformers5(config())),
}
