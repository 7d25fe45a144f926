"""Nemotron-H: each order of its three kinds of layers, both forms of the list, tied and not, each type."""

from typing import Any

from tests.families import Variant


def config(**changes: Any) -> dict[str, Any]:
    """Return the config.json of a small Nemotron-H."""
    return {
        "architectures": ["NemotronHForCausalLM"],
        "model_type": "nemotron_h",
        "vocab_size": 512,
        "hidden_size": 64,
        "intermediate_size": 128,
        "hybrid_override_pattern": "M-*M",
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 24,
        "max_position_embeddings": 512,
        "layer_norm_epsilon": 1e-5,
        "rms_norm_eps": 1e-5,
        "mlp_hidden_act": "relu2",
        "mamba_num_heads": 8,
        "mamba_head_dim": 16,
        "ssm_state_size": 16,
        "conv_kernel": 4,
        "n_groups": 2,
        "use_bias": False,
        "use_conv_bias": True,
        "mlp_bias": False,
        "attention_bias": False,
        "chunk_size": 32,
        "tie_word_embeddings": False,
        "bos_token_id": 508,
        "eos_token_id": 509,
    } | changes


VARIANTS = {
    "nemotron-h-bf16": Variant(config(), transformers=5),
    "nemotron-h-f32": Variant(
        config(hybrid_override_pattern="*M-", num_hidden_layers=3, n_groups=1),
        dtype="float32",
        shards=2,
        transformers=5,
    ),
    "nemotron-h-tied-f16": Variant(
        config(tie_word_embeddings=True, num_key_value_heads=4),
        dtype="float16",
        no_logits="transformers does not tie the matrices of this class",
    ),
}
