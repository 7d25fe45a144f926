"""StarCoder: tied and untied, an odd number of heads, another inner width."""

from typing import Any

from tests.families import Variant


def config(**changes: Any) -> dict[str, Any]:
    """Return the config.json of a small StarCoder."""
    made: dict[str, Any] = {
        "architectures": ["GPTBigCodeForCausalLM"],
        "model_type": "gpt_bigcode",
        "vocab_size": 512,
        "n_positions": 128,
        "n_embd": 64,
        "n_layer": 3,
        "n_head": 4,
        "n_inner": 256,
        "layer_norm_epsilon": 1e-5,
        "activation_function": "gelu_pytorch_tanh",
        "multi_query": True,
        "scale_attn_weights": True,
        "bos_token_id": 508,
        "eos_token_id": 509,
    }
    return {key: value for key, value in (made | changes).items() if value is not None}


VARIANTS = {
    "starcoder-tied-bf16": Variant(config()),
    "starcoder-untied-f32": Variant(config(tie_word_embeddings=False, n_layer=2), dtype="float32"),
    "starcoder-odd-heads-f16": Variant(
        config(n_embd=40, n_head=5, n_inner=None, activation_function="gelu"), dtype="float16", shards=3
    ),
    "starcoder-inner-width": Variant(config(n_inner=160), own_keys=("starcoder.feed_forward_length",)),
}
