"""DeciLM: other heads in each layer, with and without their common number, tied and not, each type, shards.

llama.cpp's converter gives all tokens of this class one score, and the unknown token the type of a control token.
"""

from typing import Any

from tests.families import Variant
from tests.support.checkpoints import decoder_config
from tests.support.equivalents import deci_as_llama


def config(heads_kv: list[int], **shape: Any) -> dict[str, Any]:
    """Return the config.json of a small DeciLM."""
    fixed = {"tie": False, "layers": len(heads_kv), "tokenizer": "spm"}
    made = decoder_config("DeciLMForCausalLM", "deci", **{**fixed, **shape})
    return made | {"num_key_value_heads_per_layer": heads_kv, "rope_scaling": {"type": "dynamic", "factor": 2.0}}


def variant(made: dict[str, Any], **more: Any) -> Variant:
    """Return a variant that transformers computes as a Llama whose heads are repeated."""
    own_keys = ("tokenizer.ggml.scores", "tokenizer.ggml.token_type")
    return Variant(made, tokenizer="write_whole_sentencepiece", equivalent=deci_as_llama, own_keys=own_keys, **more)


def _without(made: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in made.items() if key not in keys}


VARIANTS = {
    "deci-bf16": variant(config([4, 2, 1])),
    "deci-few-keys-f32": variant(
        _without(config([2, 2, 1, 4]), "num_key_value_heads", "rope_theta"), dtype="float32", shards=2
    ),
    "deci-tied-f16": variant(config([1, 8, 2], tie=True, heads=8), dtype="float16"),
}
