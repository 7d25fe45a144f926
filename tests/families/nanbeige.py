"""Nanbeige: one loop and several, with a norm between them and without, tied and not, each type, shards."""

from typing import Any

from tests.families import Variant
from tests.support.checkpoints import as_transformers5, decoder_config
from tests.support.equivalents import nanbeige_as_llama


def config(**shape: Any) -> dict[str, Any]:
    """Return the config.json of a small Nanbeige, whose heads are wider than the model."""
    fixed = {"tie": False, "head_dim": 32, "rope_theta": 70000000.0}
    return decoder_config("NanbeigeForCausalLM", "nanbeige", **{**fixed, **shape})


def variant(made: dict[str, Any], **more: Any) -> Variant:
    """Return a variant that transformers computes as a Llama with each layer as often as there are loops."""
    return Variant(made, equivalent=nanbeige_as_llama, **more)


LOOPS = {"num_loops": 2, "skip_loop_final_norm": True}

VARIANTS = {
    "nanbeige-loops-bf16": variant(config() | LOOPS),
    "nanbeige-normed-f32": variant(
        config(heads=3, kv_heads=1) | {"num_loops": 2, "skip_loop_final_norm": False},
        dtype="float32",
        shards=2,
        no_logits="no class has a norm between the loops",
    ),
    "nanbeige-tied-f16": variant(config(tie=True, kv_heads=4) | {"num_loops": 1}, dtype="float16"),
    "nanbeige-transformers5": variant(as_transformers5(config()) | LOOPS | {"num_loops": 3}),
}
