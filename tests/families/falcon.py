"""Falcon: one key for all queries, groups of them, one norm and two, and the names of the first configs."""

from typing import Any

from tests.families import Variant


def config(**changes: Any) -> dict[str, Any]:
    """Return the config.json of a small Falcon 7B."""
    made: dict[str, Any] = {
        "architectures": ["FalconForCausalLM"],
        "model_type": "falcon",
        "vocab_size": 512,
        "hidden_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "layer_norm_epsilon": 1e-5,
        "alibi": False,
        "bias": False,
        "multi_query": True,
        "new_decoder_architecture": False,
        "parallel_attn": True,
        "bos_token_id": 508,
        "eos_token_id": 509,
    }
    return {key: value for key, value in (made | changes).items() if value is not None}


OLD = {
    "architectures": ["RWForCausalLM"],
    "model_type": "RefinedWebModel",
    "num_attention_heads": None,
    "num_hidden_layers": None,
    "n_head": 3,
    "n_layer": 2,
    "hidden_size": 48,
}
GROUPS = {"new_decoder_architecture": True, "num_kv_heads": 2, "num_attention_heads": 8}

VARIANTS = {
    # transformers' class, by which llama.cpp's converter reads the config, counts a key per query.
    "falcon-7b-bf16": Variant(config(), oracle_config={"num_kv_heads": 1}),
    "falcon-saved-again-f32": Variant(
        config(num_kv_heads=4, tie_word_embeddings=False), dtype="float32", oracle_config={"num_kv_heads": 1}
    ),
    "falcon-old-names-f16": Variant(config(**OLD), dtype="float16", no_logits="its class is remote code"),
    "falcon-groups-sharded": Variant(config(**GROUPS), shards=3),
    "falcon-11b": Variant(
        config(
            **GROUPS,
            num_ln_in_parallel_attn=1,
            rope_theta=500042.0,
            max_position_embeddings=8192,
            ffn_hidden_size=192,
        ),
        own_keys=("falcon.context_length", "falcon.feed_forward_length", "falcon.rope.freq_base"),
    ),
}
