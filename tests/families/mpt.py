"""MPT: ALiBi and learned positions, clipped queries, fewer keys than queries, biases."""

from typing import Any

from tests.families import Variant


def config(attention: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """Return the config.json of a small MPT."""
    made: dict[str, Any] = {
        "architectures": ["MPTForCausalLM"],
        "model_type": "mpt",
        "vocab_size": 512,
        "d_model": 64,
        "n_heads": 4,
        "n_layers": 3,
        "expansion_ratio": 4,
        "max_seq_len": 128,
        "learned_pos_emb": True,
        "no_bias": True,
        "logit_scale": None,
        "norm_type": "low_precision_layernorm",
        "attn_config": {
            "alibi": True,
            "alibi_bias_max": 8,
            "attn_type": "multihead_attention",
            "clip_qkv": None,
            "prefix_lm": False,
            "qk_ln": False,
            "softmax_scale": None,
        }
        | (attention or {}),
    }
    return made | changes


_FOUNDRY = "only its repositories' own code computes it"

VARIANTS = {
    "mpt-7b-bf16": Variant(config()),
    # As transformers saves it, under the name of its own class.
    "mpt-clipped-f32": Variant(
        config({"clip_qkv": 6}, d_model=48, n_heads=3, architectures=["MptForCausalLM"]),
        dtype="float32",
        shards=3,
        oracle_config={"architectures": ["MPTForCausalLM"]},
    ),
    "mpt-six-heads-f16": Variant(config({"clip_qkv": 0.01}, d_model=96, n_heads=6, n_layers=2), dtype="float16"),
    "mpt-groups": Variant(
        config({"attn_type": "grouped_query_attention", "kv_n_heads": 2}, tie_word_embeddings=False), no_logits=_FOUNDRY
    ),
    "mpt-positions": Variant(config({"alibi": False}, no_bias=False), no_logits=_FOUNDRY),
    "mpt-multiquery": Variant(
        config({"attn_type": "multiquery_attention"}, expansion_ratio=3),
        own_keys=("mpt.attention.head_count_kv", "mpt.feed_forward_length"),
        no_logits=_FOUNDRY,
    ),
}
