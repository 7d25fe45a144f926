"""GPT-2: names with and without their prefix, an odd number of heads as in Cerebras-GPT, an inner width of its own."""

from typing import Any

from tests.families import Variant


def config(**changes: Any) -> dict[str, Any]:
    """Return the config.json of a small GPT-2, as old transformers write it."""
    made: dict[str, Any] = {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": 512,
        "n_ctx": 96,
        "n_positions": 96,
        "n_embd": 64,
        "n_layer": 3,
        "n_head": 4,
        "layer_norm_epsilon": 1e-5,
        "activation_function": "gelu_new",
        "bos_token_id": 508,
        "eos_token_id": 509,
    }
    return {key: value for key, value in (made | changes).items() if value is not None}


VARIANTS = {
    "gpt2-bare-f32": Variant(config(), dtype="float32", bare=True),
    "gpt2-bf16-sharded": Variant(config(n_inner=256), shards=3),
    "gpt2-odd-heads-f16": Variant(
        config(n_embd=17 * 8, n_head=17, n_ctx=None, n_inner=4 * 17 * 8, activation_function="gelu"),
        dtype="float16",
        oracle_config={"n_ctx": 96},
    ),
    "gpt2-masks": Variant(
        config(n_layer=1),
        more_tensors={"h.0.attn.bias": (1, 1, 96, 96), "h.0.attn.masked_bias": ()},
        bare=True,
        oracle_fails=True,  # it knows the masks and looks for their place all the same
    ),
    "gpt2-untied": Variant(config(tie_word_embeddings=False)),
    "gpt2-inner-width": Variant(config(n_inner=160), own_keys=("gpt2.feed_forward_length",)),
}
