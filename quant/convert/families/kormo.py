"""KORMoForCausalLM: KORMo, a Qwen2 without biases, with other names of norms.

Source: Qwen2Model in conversion/qwen.py of the pinned llama.cpp; the model's code is the repository's own.
"""

import msgspec

from quant.convert.families.base import SILU
from quant.convert.families.decoder import Decoder
from quant.convert.families.qwen2 import FAMILY as QWEN2

FAMILY = msgspec.structs.replace(
    QWEN2,
    architectures=("KORMoForCausalLM",),
    model_types=("kormo",),
    computed={
        "hidden_act": SILU,
        "attention_bias": (None, False),
        "mlp_bias": (None, False),
        "rope_scaling": (None,),
        "sliding_window": (None,),
    },
    defaults={},  # the converter's; the repository's config names all
    sizes={},
    tensors=Decoder(norms=("pre_attention_layernorm", "pre_mlp_layernorm")).tensors,
)
