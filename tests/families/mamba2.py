"""Mamba 2: one group and several, tied and not, each type."""

from typing import Any

from tests.families import Variant


def config(**changes: Any) -> dict[str, Any]:
    """Return the config.json of a small Mamba 2."""
    return {
        "architectures": ["Mamba2ForCausalLM"],
        "model_type": "mamba2",
        "vocab_size": 512,
        "hidden_size": 64,
        "num_heads": 8,
        "head_dim": 16,
        "state_size": 16,
        "num_hidden_layers": 2,
        "layer_norm_epsilon": 1e-5,
        "expand": 2,
        "conv_kernel": 4,
        "n_groups": 1,
        "use_bias": False,
        "use_conv_bias": True,
        "hidden_act": "silu",
        "chunk_size": 64,
        "rms_norm": True,
        "tie_word_embeddings": False,
        "bos_token_id": 508,
        "eos_token_id": 509,
    } | changes


GROUPS = "transformers normalizes all groups together; the model's own code, and llama.cpp, group by group"

VARIANTS = {
    "mamba2-untied-bf16": Variant(config(), pre="olmo", tolerance=3e-3),
    "mamba2-tied-f32": Variant(
        config(tie_word_embeddings=True, num_heads=4, head_dim=32, conv_kernel=3),
        dtype="float32",
        shards=2,
        pre="olmo",
        tolerance=3e-3,
    ),
    "mamba2-f16-groups": Variant(config(n_groups=4), dtype="float16", no_logits=GROUPS),
    "mamba2-spm": Variant(
        config(state_size=32, num_hidden_layers=3, bos_token_id=1, eos_token_id=2), tokenizer="spm", tolerance=3e-3
    ),
}
