"""Qwen2: tied and not, in shards, in float32, with key and value heads that are null, and inside a dots.ocr."""

from tests.families import Variant
from tests.support.checkpoints import decoder_config
from tests.support.equivalents import text_as_qwen2

VARIANTS = {
    "qwen2-tied": Variant(decoder_config("Qwen2ForCausalLM", "qwen2"), pre="qwen2"),
    "qwen2-untied-sharded": Variant(decoder_config("Qwen2ForCausalLM", "qwen2", tie=False), shards=2, pre="qwen2"),
    "qwen2-f32": Variant(decoder_config("Qwen2ForCausalLM", "qwen2"), dtype="float32", pre="qwen2"),
    "qwen2-null-kv-heads": Variant(
        decoder_config("Qwen2ForCausalLM", "qwen2") | {"num_key_value_heads": None}, pre="qwen2"
    ),
    "qwen2-dots-ocr": Variant(
        decoder_config("DotsOCRForCausalLM", "dots_ocr", tie=False)
        | {"attention_bias": True, "rope_scaling": None, "vision_config": {"hidden_size": 32}},
        pre="qwen2",
        more_tensors={"vision_tower.patch_embed.patchifier.proj.weight": (32, 3, 14, 14)},
        equivalent=text_as_qwen2,
    ),
}
