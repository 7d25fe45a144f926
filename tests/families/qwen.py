"""The first Qwen: its tiktoken vocabulary with and without special ids in the config, shards, each type.

llama.cpp's converter calls the norms' epsilon by another name than llama.cpp reads, so its file does not load.
"""

from typing import Any

from tests.families import Variant
from tests.support.equivalents import qwen_as_qwen2


def config(hidden: int = 64, heads: int = 4, vocab: int = 512, base: float = 10000, **more: Any) -> dict[str, Any]:
    """Return the config.json of a small Qwen."""
    return {
        "architectures": ["QWenLMHeadModel"],
        "model_type": "qwen",
        "hidden_size": hidden,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": heads,
        "kv_channels": hidden // heads,
        "vocab_size": vocab,
        "max_position_embeddings": 512,
        "seq_length": 512,
        "layer_norm_epsilon": 1e-5,
        "rotary_emb_base": base,
        "rotary_pct": 1.0,
        "no_bias": True,
        "use_dynamic_ntk": True,
        "use_logn_attn": True,
        "scale_attn_weights": True,
        "tie_word_embeddings": False,
        "tokenizer_class": "QWenTokenizer",
        **more,
    }


def variant(made: dict[str, Any], **more: Any) -> Variant:
    """Return a variant that transformers computes as a Qwen2."""
    own_keys = ("qwen.attention.layer_norm_epsilon", "qwen.attention.layer_norm_rms_epsilon")
    return Variant(
        made,
        tokenizer="write_qwen_tokenizer",
        pre="qwen2",
        equivalent=qwen_as_qwen2,
        own_keys=own_keys,
        **more,
    )


VARIANTS = {
    "qwen-bf16": variant(config()),
    "qwen-odd-f32": variant(config(hidden=96, heads=3, vocab=1200, base=50000), dtype="float32", shards=2),
    "qwen-f16-special": variant(config(eos_token_id=300, pad_token_id=301), dtype="float16"),
}
