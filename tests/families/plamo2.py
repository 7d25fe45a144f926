"""PLaMo 2: states and attention in turn, attention alone at the end, tied and not, each type."""

from typing import Any

from tests.families import Variant

NO_CLASS = "transformers lacks the model"
OWN = ("plamo2.attention.head_count",)  # llama.cpp never ends where the first layer has no heads


def config(**changes: Any) -> dict[str, Any]:
    """Return the config.json of a small PLaMo 2."""
    return {
        "architectures": ["Plamo2ForCausalLM"],
        "model_type": "plamo2",
        "vocab_size": 512,
        "hidden_size": 64,
        "hidden_size_per_head": 16,
        "intermediate_size": 96,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": True,
        "mamba_d_state": 16,
        "mamba_d_conv": 4,
        "mamba_num_heads": 8,
        "mamba_step": 2,
        "mamba_enabled": True,
    } | changes


VARIANTS = {
    "plamo2-tied-bf16": Variant(config(), tokenizer="write_plamo_tokenizer", no_logits=NO_CLASS, own_keys=OWN),
    "plamo2-untied-f32": Variant(
        config(tie_word_embeddings=False, mamba_step=4, mamba_d_conv=3, rope_theta=5000.0),
        dtype="float32",
        shards=2,
        tokenizer="write_plamo_tokenizer",
        no_logits=NO_CLASS,
        own_keys=OWN,
    ),
    "plamo2-f16": Variant(
        config(num_hidden_layers=2, mamba_step=6, num_key_value_heads=4),
        dtype="float16",
        tokenizer="write_plamo_tokenizer",
        no_logits=NO_CLASS,
        own_keys=OWN,
    ),
}
