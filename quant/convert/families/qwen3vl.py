"""Qwen3VLForConditionalGeneration: the text model, a Qwen3 whose first layers also take features of images.

The vision part is omitted. Source: Qwen3VLTextModel in conversion/qwen3vl.py of the pinned llama.cpp.
"""

import gguf
import msgspec

from quant.base.errors import UserError
from quant.convert.families.base import Config
from quant.convert.families.keys import write_common_keys
from quant.convert.families.qwen2vl import VISION, require_sections
from quant.convert.families.qwen3 import FAMILY as QWEN3

_DEEPSTACK = [8, 16, 24]  # transformers' Qwen3VLVisionConfig (4.57)


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add the common keys and the number of layers that take features of images."""
    write_common_keys(writer, config, file_type)
    vision = config.get("vision_config") or {}
    layers = vision.get("deepstack_visual_indexes", _DEEPSTACK) if isinstance(vision, dict) else None
    if not isinstance(layers, list):
        raise UserError(f"config.json has a vision_config without a list of layers: {str(vision)[:80]}")
    writer.add_num_deepstack_layers(len(layers))


FAMILY = msgspec.structs.replace(
    QWEN3,
    architectures=("Qwen3VLForConditionalGeneration",),
    model_types=("qwen3_vl", "qwen3_vl_text"),
    arch="qwen3vl",
    defaults={  # transformers' Qwen3VLTextConfig (4.57)
        "num_key_value_heads": 32,
        "head_dim": 128,
        "max_position_embeddings": 128000,
        "rms_norm_eps": 1e-6,
        "rope_theta": 5000000.0,
    },
    sizes={
        "vocab_size": 151936,
        "hidden_size": 4096,
        "intermediate_size": 22016,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
    },
    write_keys=write_keys,
    check=require_sections,
    omitted=VISION,
    base_prefix="model.",
)
