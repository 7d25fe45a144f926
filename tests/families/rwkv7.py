"""RWKV 7: the default ranks and others, values mixed in the first layer too, each type."""

from typing import Any

from tests.families import Variant
from tests.families.rwkv6 import NO_CLASS


def config(**changes: Any) -> dict[str, Any]:
    """Return the config.json of a small RWKV 7."""
    return {
        "architectures": ["RWKV7ForCausalLM"],
        "model_type": "rwkv7",
        "vocab_size": 512,
        "hidden_size": 128,
        "intermediate_size": None,
        "num_hidden_layers": 3,
        "head_dim": 64,
        "norm_eps": 1e-5,
        "hidden_act": "sqrelu",
        "decay_low_rank_dim": 32,
        "a_low_rank_dim": 32,
        "v_low_rank_dim": 16,
        "gate_low_rank_dim": 64,
        "norm_first": True,
        "norm_bias": True,
        "attn": None,
        "tie_word_embeddings": False,
        "bos_token_id": 0,
        "eos_token_id": 0,
    } | changes


DEFAULT = dict.fromkeys(("decay_low_rank_dim", "a_low_rank_dim", "v_low_rank_dim", "gate_low_rank_dim"))
UNUSED: dict[str, tuple[int, ...]] = {
    "model.layers.0.attn.v_lora.lora.0.weight": (16, 128),
    "model.layers.0.attn.v_lora.lora.2.weight": (128, 16),
    "model.layers.0.attn.v_lora.lora.2.bias": (128,),
}

VARIANTS = {
    "rwkv7-bf16": Variant(config(), tokenizer="write_rwkv_tokenizer", no_logits=NO_CLASS),
    "rwkv7-f32": Variant(
        config(intermediate_size=160) | DEFAULT,
        dtype="float32",
        shards=2,
        tokenizer="write_rwkv_tokenizer",
        no_logits=NO_CLASS,
    ),
    "rwkv7-f16": Variant(
        config(head_dim=32),
        dtype="float16",
        tokenizer="write_rwkv_tokenizer",
        no_logits=NO_CLASS,
        more_tensors=UNUSED,
    ),
    "rwkv7-no-template": Variant(
        config(),
        tokenizer="write_rwkv_tokenizer_without_template",
        no_logits=NO_CLASS,
        own_keys=("tokenizer.chat_template",),  # the name of llama.cpp's own template, in place of its text
    ),
}
