"""PLM: keys and values of a few values per token, wider and narrower values than keys, each type, shards."""

from typing import Any

from tests.families import Variant
from tests.support.checkpoints import as_transformers5, decoder_config
from tests.support.equivalents import plm_as_deepseek2

_OWN = {"qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "kv_lora_rank": 24, "v_head_dim": 16, "hidden_act": "relu2"}


def config(heads: int = 4, **shape: Any) -> dict[str, Any]:
    """Return the config.json of a small PLM. The low-rank norms' epsilon is always 1e-6."""
    fixed = {"heads": heads, "kv_heads": heads, "rope_theta": 100000.0, "epsilon": 1e-6}
    return decoder_config("PLMForCausalLM", "plm", **{**fixed, **shape}) | _OWN


def variant(made: dict[str, Any], **more: Any) -> Variant:
    """Return a variant that transformers computes as a DeepSeek V2."""
    return Variant(made, equivalent=plm_as_deepseek2, **more)


VARIANTS = {
    "plm-bf16": variant(config()),
    "plm-wide-f32": variant(config(heads=3, hidden=96) | {"v_head_dim": 32}, dtype="float32", shards=2),
    "plm-f16": variant(config(heads=2), dtype="float16"),
    "plm-transformers5": variant(as_transformers5(config())),
}
