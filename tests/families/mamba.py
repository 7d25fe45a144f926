"""Mamba and Falcon Mamba: tied and not, each type, kernels of two widths, a vocabulary that is padded."""

from typing import Any

from tests.families import Variant


def config(**changes: Any) -> dict[str, Any]:
    """Return the config.json of a small Mamba."""
    return {
        "architectures": ["MambaForCausalLM"],
        "model_type": "mamba",
        "vocab_size": 512,
        "hidden_size": 64,
        "intermediate_size": 128,
        "state_size": 8,
        "num_hidden_layers": 2,
        "layer_norm_epsilon": 1e-5,
        "expand": 2,
        "conv_kernel": 4,
        "use_bias": False,
        "use_conv_bias": True,
        "hidden_act": "silu",
        "time_step_rank": 4,
        "tie_word_embeddings": True,
        "bos_token_id": 508,
        "eos_token_id": 509,
    } | changes


FALCON = {
    "architectures": ["FalconMambaForCausalLM"],
    "model_type": "falcon_mamba",
    "mixer_rms_eps": 1e-5,
    "tie_word_embeddings": False,
}

VARIANTS = {
    "mamba-tied-bf16": Variant(config(), pre="olmo", tolerance=3e-3),
    "mamba-untied-f32": Variant(
        config(tie_word_embeddings=False, conv_kernel=3, time_step_rank=6),
        dtype="float32",
        shards=2,
        pre="olmo",
        tolerance=3e-3,
    ),
    "mamba-f16": Variant(config(state_size=16, num_hidden_layers=3), dtype="float16", pre="olmo", tolerance=3e-3),
    "mamba-falcon": Variant(config(**FALCON), pre="falcon", tolerance=3e-3),
}
