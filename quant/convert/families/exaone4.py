"""Exaone4ForCausalLM: EXAONE 4. Norms after attention and feed-forward, and of each head's queries and keys.

Where there are windows, only the layers that have one rotate. llama.cpp takes the 32B with its 64 layers for the model
with windows and every other for one without: load_arch_hparams in src/models/exaone4.cpp.
Source: Exaone4Model in conversion/exaone.py of the pinned llama.cpp.
"""

import gguf

from quant.base.errors import UserError
from quant.convert.families.base import SILU, Config, Family, need, require_full_width
from quant.convert.families.decoder import Decoder
from quant.convert.families.keys import window_layers, write_common_keys
from quant.convert.families.llama import extra_tensors

_LAYERS_WITH_WINDOWS = 64
_PATTERN = 4


def _check(config: Config) -> None:
    n_layers, window = need(config, "num_hidden_layers"), config.get("sliding_window")
    if (window is not None) != (n_layers == _LAYERS_WITH_WINDOWS):
        raise UserError(
            f"config.json has {n_layers} layers and sliding_window = {str(window)[:80]}; llama.cpp's exaone4 computes "
            f"windows with {_LAYERS_WITH_WINDOWS} layers, and with no other number; choose another model"
        )
    require_full_width(config)


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add the common keys, the vocabulary's size and which layers have a window."""
    write_common_keys(writer, config, file_type)
    writer.add_vocab_size(need(config, "vocab_size"))
    if config.get("sliding_window") is not None:
        writer.add_sliding_window(need(config, "sliding_window"))
        writer.add_sliding_window_pattern(window_layers(config, _PATTERN))


FAMILY = Family(
    architectures=("Exaone4ForCausalLM",),
    model_types=("exaone4",),
    arch="exaone4",
    adapt=lambda config: {"sliding_window": 4096, **config},  # null means that there is none
    computed={"hidden_act": SILU},
    defaults={  # transformers' Exaone4Config (4.57)
        "num_key_value_heads": 32,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
    },
    sizes={
        "vocab_size": 102400,
        "hidden_size": 4096,
        "intermediate_size": 16384,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
    },
    check=_check,
    tensors=Decoder(norms=("post_attention_layernorm", "post_feedforward_layernorm"), qk_norms="head").tensors,
    write_keys=write_keys,
    extra_tensors=extra_tensors,
)
