"""Olmo3ForCausalLM: OLMo 3. OLMo 2 with a sliding window in three of four layers, which rotate without YaRN's scaling.

Source: Olmo2Model in conversion/olmo.py of the pinned llama.cpp, whose src/models/olmo2.cpp computes both.
"""

import gguf
import msgspec

from quant.convert.families.base import SILU, Config, n_heads, need
from quant.convert.families.keys import window_layers, write_common_keys
from quant.convert.families.olmo2 import FAMILY as OLMO2

_PATTERN = 4


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add the common keys and which layers have a window."""
    write_common_keys(writer, config, file_type)
    writer.add_sliding_window(need(config, "sliding_window"))
    writer.add_sliding_window_pattern(window_layers(config, _PATTERN))


FAMILY = msgspec.structs.replace(
    OLMO2,
    architectures=("Olmo3ForCausalLM",),
    model_types=("olmo3",),
    computed={"hidden_act": SILU, "attention_bias": (None, False)},
    defaults={  # transformers' Olmo3Config (4.57)
        "num_key_value_heads": n_heads,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "sliding_window": 4096,
    },
    write_keys=write_keys,
)
