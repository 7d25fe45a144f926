"""Apertus: the activation's values of each layer, llama3's factors, biases, each type, shards."""

from typing import Any

from tests.families import Variant
from tests.families.llama import ROPE
from tests.support.checkpoints import as_transformers5, decoder_config

_LAYERS = 2
VALUES = {
    f"model.layers.{layer}.mlp.act_fn.{name}": shape
    for layer in range(_LAYERS)
    for name, shape in (("alpha_n", (1,)), ("alpha_p", (1,)), ("beta", ()), ("eps", ()))
}


def config(**shape: Any) -> dict[str, Any]:
    """Return the config.json of a small Apertus."""
    fixed = {"tie": False, "layers": _LAYERS, "rope_theta": 12000000.0, "rope_scaling": ROPE}
    return decoder_config("ApertusForCausalLM", "apertus", **{**fixed, **shape}) | {"hidden_act": "xielu"}


_ROUNDED = "transformers holds the activation's values in bfloat16"

VARIANTS = {
    "apertus-bf16": Variant(config(), more_tensors=VALUES),
    "apertus-biases": Variant(config(kv_heads=4) | {"attention_bias": True}, more_tensors=VALUES),
    "apertus-f32": Variant(
        config(hidden=48, heads=6, kv_heads=2), dtype="float32", shards=2, more_tensors=VALUES, no_logits=_ROUNDED
    ),
    "apertus-f16": Variant(config(head_dim=32), dtype="float16", more_tensors=VALUES, no_logits=_ROUNDED),
    "apertus-transformers5": Variant(as_transformers5(config()), more_tensors=VALUES, transformers=5),
}
