"""Glm4ForCausalLM: GLM-4-0414. GLM with norms behind the attention and the feed-forward part too.

Source: Glm4Model in conversion/glm.py of the pinned llama.cpp.
"""

from collections.abc import Iterator

import gguf

from quant.convert.families import chatglm
from quant.convert.families.base import Config, Family
from quant.convert.families.keys import write_common_keys
from quant.convert.families.planned import Planned


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors."""
    return chatglm.tensors(config, "post_self_attn_layernorm", "post_mlp_layernorm")


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add the common keys and the rotary dimensions."""
    write_common_keys(writer, config, file_type)
    writer.add_rope_dimension_count(chatglm.rotated_dims(config))


FAMILY = Family(
    architectures=("Glm4ForCausalLM",),
    model_types=("glm4",),
    arch="glm4",
    computed=chatglm.COMPUTED,
    defaults=chatglm.DEFAULTS,
    sizes=chatglm.SIZES,
    tensors=tensors,
    write_keys=write_keys,
    vocabulary=chatglm.vocabulary_with_bos,
)
