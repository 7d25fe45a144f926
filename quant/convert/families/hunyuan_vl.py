"""HunYuanVLForConditionalGeneration: the text model of HunyuanOCR, a dense Hunyuan. The vision part is omitted.

Sections of the rotary embedding follow a token's place in the text and in an image; llama.cpp raises the base by alpha
itself. The last section, of the lowest frequencies, does not turn in text: set_input of llm_graph_input_pos in its
src/llama-graph.cpp. Source: HunyuanVLTextModel in conversion/hunyuan.py of the pinned llama.cpp.
"""

from typing import Any

import gguf
import msgspec

from quant.base.errors import UserError
from quant.convert.families.base import Config, need, number, rope_parameters
from quant.convert.families.hunyuan_dense import FAMILY as HUNYUAN
from quant.convert.families.keys import rope_sections, write_common_keys


def _sections(config: Config) -> Any:
    rope = rope_parameters(config)
    return rope.get("xdrope_section", rope.get("mrope_section"))


def _check(config: Config) -> None:
    if _sections(config) is None:
        raise UserError("config.json lacks xdrope_section in its rope settings, which llama.cpp needs for this family")


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add the common keys but that of the one expert, alpha and the sections."""
    write_common_keys(writer, {key: value for key, value in config.items() if key != "num_experts"}, file_type)
    rope = rope_parameters(config)
    writer.add_rope_scaling_type(gguf.RopeScalingType.NONE)
    writer.add_rope_scaling_factor(number(rope, "factor", 1.0))
    writer.add_rope_scaling_alpha(number(rope, "alpha"))
    writer.add_rope_scaling_orig_ctx_len(need(config, "max_position_embeddings"))
    writer.add_rope_dimension_sections(rope_sections(_sections(config)))


FAMILY = msgspec.structs.replace(
    HUNYUAN,
    architectures=("HunYuanVLForConditionalGeneration",),
    model_types=("hunyuan_vl", "hunyuan_vl_text"),
    arch="hunyuan_vl",
    computed={**HUNYUAN.computed, "num_experts": (None, 1)},
    # Else those of transformers' HunYuanVLTextConfig (5.24) are the dense model's.
    defaults={**HUNYUAN.defaults, "tie_word_embeddings": True},
    check=_check,
    write_keys=write_keys,
    omitted=("vit.", "model.vit."),
)
