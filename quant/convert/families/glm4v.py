"""Glm4vForConditionalGeneration: the text model of GLM-4.1V, a GLM-4-0414. The vision part is omitted.

Sections of the rotary embedding follow time, height and width of an image; text has one position in all. llama.cpp
computes them with consecutive halves only. Source: Glm4Model in conversion/glm.py of the pinned llama.cpp.
"""

from collections.abc import Iterator

import msgspec

from quant.convert.families import chatglm, glm4
from quant.convert.families.base import Config, head_dim
from quant.convert.families.planned import Deinterleaved, Planned
from quant.convert.families.qwen2vl import VISION, require_sections

_TURNED = tuple(f".self_attn.{part}_proj.{kind}" for part in "qk" for kind in ("weight", "bias"))


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors."""
    order = Deinterleaved(head_dim(config), chatglm.rotated_dims(config))
    for planned in glm4.tensors(config):
        yield msgspec.structs.replace(planned, order=order) if planned.name.endswith(_TURNED) else planned


FAMILY = msgspec.structs.replace(
    glm4.FAMILY,
    architectures=("Glm4vForConditionalGeneration",),
    model_types=("glm4v", "glm4v_text"),
    defaults={  # transformers' Glm4vTextConfig (4.57), which has none for head_dim
        **{key: value for key, value in chatglm.DEFAULTS.items() if key != "head_dim"},
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-5,
    },
    check=require_sections,
    tensors=tensors,
    omitted=VISION,
    base_prefix="model.",
)
