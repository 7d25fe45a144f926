"""GraniteSWAForCausalLM: Granite Swash. Granite with a window in most layers, and a sink for each head.

A sink is one more logit of the attention's softmax, which no value belongs to. Some layers do not rotate.
Source: GraniteSWAModel in conversion/granite.py of the pinned llama.cpp; of the setting by which transformers 5 turns
the rotation off it knows nothing, though its src/models/granite-swa.cpp computes it.
"""

from collections.abc import Iterator

import gguf
import msgspec

from quant.base.errors import UserError
from quant.convert.families.base import Config, n_heads, need, number, rope_parameters
from quant.convert.families.granite import FAMILY as GRANITE
from quant.convert.families.granite import write_keys as write_granite_keys
from quant.convert.families.keys import window_layers
from quant.convert.families.llama import tensors as llama_tensors
from quant.convert.families.planned import Planned

_PATTERN = 4


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors."""
    yield from llama_tensors(config)
    for layer in range(need(config, "num_hidden_layers")):
        name, target = f"model.layers.{layer}.self_attn.sinks", f"blk.{layer}.attn_sinks.weight"
        yield Planned(name=name, shape=(n_heads(config),), target=target)


def _layer_types(config: Config) -> list[str]:
    return [
        "sliding_attention" if layer % _PATTERN else "full_attention"
        for layer in range(need(config, "num_hidden_layers"))
    ]


def _rotates(config: Config) -> list[bool]:
    """Return for each layer whether it rotates.

    Raises:
        UserError: the settings are no list with an entry per layer, or layers rotate by different bases.
    """
    n_layers, theta = need(config, "num_hidden_layers"), number(rope_parameters(config), "rope_theta")
    for key, usual in (("layer_rope_theta", theta), ("no_rope_layers", 1)):
        values = config.get(key)
        if not values:
            continue
        if not isinstance(values, list) or len(values) != n_layers or any(each not in (0, usual) for each in values):
            raise UserError(
                f"config.json has {key} = {str(values)[:80]}; llama.cpp computes lists of {n_layers} numbers that are "
                f"0 or {usual}; choose another model"
            )
        return [bool(each) for each in values]
    return [True] * n_layers


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add Granite's keys, which layers have a window, and which rotate if not all do."""
    write_granite_keys(writer, config, file_type)
    writer.add_sliding_window(need(config, "sliding_window"))
    writer.add_sliding_window_pattern(window_layers(config, _PATTERN))
    if not all(rotates := _rotates(config)):
        writer.add_array("granite_swa.attention.rope_pattern", rotates)


FAMILY = msgspec.structs.replace(
    GRANITE,
    architectures=("GraniteSWAForCausalLM",),
    model_types=("granite_swa",),
    arch="granite_swa",
    named_as="granite",
    defaults={  # transformers' GraniteSWAConfig (5.24)
        **GRANITE.defaults,
        "num_key_value_heads": 4,
        "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": True,
        "sliding_window": 128,
        "layer_types": _layer_types,
    },
    sizes={},
    check=_rotates,
    tensors=tensors,
    write_keys=write_keys,
)
