"""Gemma: with and without an output matrix (omitted), heads wider than the model, many and few keys, each type."""

from typing import Any

from tests.families import Variant
from tests.support.checkpoints import decoder_config

# llama.cpp's converter adds one to a norm in float16, transformers in float32: what is lost, the logits show. The rest
# of all Gemmas' differences is of llama.cpp's GELU, which looks its values up in float16.
F16_TOLERANCE = 3e-3


def config(**shape: Any) -> dict[str, Any]:
    """Return the config.json of a small Gemma."""
    made = decoder_config("GemmaForCausalLM", "gemma", **{"head_dim": 32, **shape})
    return made | {"hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh"}


VARIANTS = {
    "gemma-spm-bf16": Variant(config(tokenizer="spm", kv_heads=1), tokenizer="spm"),
    "gemma-f16": Variant(
        config(tokenizer="spm", heads=3, kv_heads=3), dtype="float16", tokenizer="spm", tolerance=F16_TOLERANCE
    ),
    "gemma-f32-sharded": Variant(config(tokenizer="spm"), dtype="float32", shards=2, tokenizer="spm"),
    "gemma-rope-base": Variant(
        config(tokenizer="spm", rope_theta=500.0), tokenizer="spm", own_keys=("gemma.rope.freq_base",)
    ),
    "gemma-head-ignored": Variant(
        config(tokenizer="spm"),
        tokenizer="spm",
        no_logits="it loads the head, which Gemma does not have, over the embedding",
        more_tensors={"lm_head.weight": (512, 64)},
    ),
}
