"""RWKV 6: rescaled layers and none, the default width, each type."""

from typing import Any

from tests.families import Variant

NO_CLASS = "transformers lacks the model"


def config(**changes: Any) -> dict[str, Any]:
    """Return the config.json of a small RWKV 6."""
    return {
        "architectures": ["Rwkv6ForCausalLM"],
        "model_type": "rwkv6",
        "vocab_size": 512,
        "hidden_size": 128,
        "intermediate_size": None,
        "num_hidden_layers": 3,
        "head_size": 64,
        "layer_norm_epsilon": 1e-5,
        "rescale_every": 2,
        "tie_word_embeddings": False,
        "bos_token_id": 0,
        "eos_token_id": 0,
    } | changes


VARIANTS = {
    "rwkv6-bf16": Variant(config(), tokenizer="write_rwkv_tokenizer", no_logits=NO_CLASS),
    "rwkv6-f32": Variant(
        config(rescale_every=0, intermediate_size=160),
        dtype="float32",
        shards=2,
        tokenizer="write_rwkv_tokenizer",
        no_logits=NO_CLASS,
    ),
    "rwkv6-f16": Variant(
        config(rescale_every=1, head_size=32), dtype="float16", tokenizer="write_rwkv_tokenizer", no_logits=NO_CLASS
    ),
}
