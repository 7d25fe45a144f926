"""GPT-NeoX: halves side by side and one after the other, each share of rotary dimensions, odd numbers of heads."""

from typing import Any

from tests.families import Variant


def config(**changes: Any) -> dict[str, Any]:
    """Return the config.json of a small GPT-NeoX."""
    made: dict[str, Any] = {
        "architectures": ["GPTNeoXForCausalLM"],
        "model_type": "gpt_neox",
        "vocab_size": 512,
        "hidden_size": 64,
        "intermediate_size": 256,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": 512,
        "layer_norm_eps": 1e-5,
        "hidden_act": "gelu",
        "rotary_pct": 0.25,
        "rotary_emb_base": 10000,
        "use_parallel_residual": True,
        "tie_word_embeddings": False,
        "bos_token_id": 508,
        "eos_token_id": 509,
    }
    return {key: value for key, value in (made | changes).items() if value is not None}


ROPE = {"rope_type": "default", "rope_theta": 10000, "partial_rotary_factor": 0.5}

VARIANTS = {
    "gptneox-bf16": Variant(config()),
    "gptneox-sequential-f32": Variant(
        config(use_parallel_residual=False, rotary_pct=1.0, hidden_size=48, num_attention_heads=3), dtype="float32"
    ),
    "gptneox-f16-sharded": Variant(
        config(hidden_size=80, num_attention_heads=5, intermediate_size=192, rotary_pct=0.5),
        dtype="float16",
        shards=3,
    ),
    "gptneox-transformers5": Variant(
        config(rotary_pct=None, rotary_emb_base=None, rope_parameters=ROPE),
        oracle_config={"rope_parameters": None, "rotary_pct": 0.5, "rotary_emb_base": 10000},
    ),
    "gptneox-rope-base": Variant(config(rotary_emb_base=500, rotary_pct=1.0), own_keys=("gptneox.rope.freq_base",)),
}
