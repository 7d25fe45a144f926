"""StarCoder2: tied and untied, one key per group of queries, a window, and a config that omits what the class knows."""

from typing import Any

from tests.families import Variant
from tests.support.checkpoints import as_transformers5, decoder_config


def config(**shape: Any) -> dict[str, Any]:
    """Return the config.json of a small StarCoder2."""
    made = decoder_config("Starcoder2ForCausalLM", "starcoder2", **shape)
    del made["rms_norm_eps"]
    return made | {"hidden_act": "gelu_pytorch_tanh", "norm_epsilon": 1e-5, "use_bias": True}


VARIANTS = {
    "starcoder2-tied-bf16": Variant(config(tie=True) | {"sliding_window": 4096}),
    "starcoder2-untied-sharded": Variant(config(tie=False, heads=3, hidden=48, kv_heads=1, layers=3), shards=3),
    "starcoder2-f16": Variant(
        config(rope_theta=999999.4420358813, ffn=96) | {"hidden_act": "gelu", "norm_epsilon": 1e-4}, dtype="float16"
    ),
    "starcoder2-linear-f32": Variant(config(tie=True, rope_scaling={"type": "linear", "factor": 2.0}), dtype="float32"),
    "starcoder2-transformers5": Variant(as_transformers5(config(tie=False))),
}
