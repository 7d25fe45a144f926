"""Baichuan: both numbers of layers, which decide about the positions, both spellings of the class, Baichuan 2.

In the pinned llama.cpp the converter calls its own modify_tensors without end. Where that of its parent is called, all
files equal ours but for the output matrix of Baichuan 2, of which that converter does not divide the rows.
"""

from typing import Any

from tests.families import Variant
from tests.support.checkpoints import decoder_config
from tests.support.dense_equivalents import baichuan2_as_llama, baichuan_as_llama


def config(architecture: str, layers: int, hidden: int = 32, heads: int = 2) -> dict[str, Any]:
    """Return the config.json of a narrow Baichuan."""
    made = decoder_config(
        architecture, "baichuan", tokenizer="spm", tie=False, layers=layers, ffn=64, hidden=hidden, heads=heads
    )
    return {key: value for key, value in made.items() if key not in ("num_key_value_heads", "rope_theta")}


def variant(config: dict[str, Any], **more: Any) -> Variant:
    """Return a variant that llama.cpp's converter cannot convert."""
    return Variant(config, tokenizer="spm", oracle_fails=True, **more)


VARIANTS = {
    "baichuan-7b-bf16": variant(config("BaiChuanForCausalLM", 32), equivalent=baichuan_as_llama),
    "baichuan-7b-f32-sharded": variant(
        config("BaichuanForCausalLM", 32, hidden=48, heads=3), dtype="float32", shards=3, equivalent=baichuan_as_llama
    ),
    "baichuan-2": variant(config("BaichuanForCausalLM", 32) | {"z_loss_weight": 0}, equivalent=baichuan2_as_llama),
    "baichuan-13b-f16": variant(
        config("BaichuanForCausalLM", 40) | {"max_position_embeddings": None, "model_max_length": 4096},
        dtype="float16",
        no_logits="transformers has no RMS norms with ALiBi",
    ),
}
