"""Qwen2: tied and not, in shards, in float32, with key and value heads that are null."""

from tests.families import Variant
from tests.support.checkpoints import decoder_config

VARIANTS = {
    "qwen2-tied": Variant(decoder_config("Qwen2ForCausalLM", "qwen2"), pre="qwen2"),
    "qwen2-untied-sharded": Variant(decoder_config("Qwen2ForCausalLM", "qwen2", tie=False), shards=2, pre="qwen2"),
    "qwen2-f32": Variant(decoder_config("Qwen2ForCausalLM", "qwen2"), dtype="float32", pre="qwen2"),
    "qwen2-null-kv-heads": Variant(
        decoder_config("Qwen2ForCausalLM", "qwen2") | {"num_key_value_heads": None}, pre="qwen2"
    ),
}
