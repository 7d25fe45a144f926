"""InternLM3: biases of queries, keys and values, and all of them; a chat model's vocabulary."""

from typing import Any

from tests.families import Variant
from tests.support.checkpoints import as_transformers5, decoder_config
from tests.support.dense_equivalents import as_llama


def config(**shape: Any) -> dict[str, Any]:
    """Return the config.json of a small InternLM3."""
    return decoder_config("InternLM3ForCausalLM", "internlm3", tokenizer="spm", tie=False, **shape)


def variant(made: dict[str, Any], *, tokenizer: str = "write_internlm3_tokenizer", **more: Any) -> Variant:
    """Return a variant that transformers computes as a Llama."""
    return Variant(made, tokenizer=tokenizer, equivalent=as_llama, **more)


VARIANTS = {
    "internlm3-bf16": variant(config() | {"bias": False, "qkv_bias": False}, tokenizer="spm"),
    "internlm3-biases-f32": variant(
        config(heads=3, kv_heads=1, hidden=48) | {"bias": True, "qkv_bias": True}, dtype="float32"
    ),
    "internlm3-f16-sharded": variant(config(heads=4, head_dim=24, layers=3, rope_theta=5e7), dtype="float16", shards=3),
    "internlm3-transformers5": variant(as_transformers5(config())),
}
