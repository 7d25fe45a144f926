"""ApertusForCausalLM: Apertus. Llama with norms of each head's queries and keys, and xIELU without a gate.

The activation's four values in each layer are tensors in the checkpoint and keys in GGUF.
Source: ApertusModel in conversion/llama.py of the pinned llama.cpp, and load_arch_tensors in its
src/models/apertus.cpp, which needs an output matrix.
"""

from collections.abc import Iterator

import gguf
import msgspec

from quant.convert.families.base import Config, n_heads, need, require_own_output
from quant.convert.families.decoder import Decoder
from quant.convert.families.llama import FAMILY as LLAMA
from quant.convert.families.planned import Planned

# Of XIELUActivation in transformers' activations.py (4.57): the logarithms of exp(0.8) - 1 and exp(0.3) - 1 there.
_FRESH = {"alpha_n": -1.0501, "alpha_p": 0.2032, "beta": 0.5, "eps": -1e-6}

_ROPE = {
    "rope_type": "llama3",
    "factor": 8.0,
    "original_max_position_embeddings": 8192,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
}


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors."""
    bias = bool(config.get("attention_bias", False))
    norms = ("attention_layernorm", "feedforward_layernorm")
    return Decoder(qkv_bias=bias, output_bias=bias, gated=False, norms=norms, qk_norms="head").tensors(config)


def early_keys(writer: gguf.GGUFWriter, config: Config) -> None:
    """Add the activation's values, which llama.cpp's converter writes before the other keys."""
    n_layers = need(config, "num_hidden_layers")
    for name, value in _FRESH.items():
        getattr(writer, f"add_xielu_{name}")(config.get(f"mlp.act_fn.{name}", [value] * n_layers))


def _with_usual_rope(config: Config) -> Config:
    """Return a config that names a rope scaling: where it has none, that of transformers' ApertusConfig (4.57)."""
    return config if "rope_parameters" in config else {"rope_scaling": _ROPE, **config}


FAMILY = msgspec.structs.replace(
    LLAMA,
    architectures=("ApertusForCausalLM",),
    model_types=("apertus",),
    arch="apertus",
    adapt=_with_usual_rope,
    computed={"hidden_act": (None, "xielu")},
    defaults={  # transformers' ApertusConfig (4.57)
        "num_key_value_heads": n_heads,
        "max_position_embeddings": 65536,
        "rms_norm_eps": 1e-5,
        "rope_theta": 12000000.0,
    },
    sizes={
        "vocab_size": 131072,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
    },
    check=require_own_output,
    tensors=tensors,
    early_keys=early_keys,
    scalars=tuple(f"mlp.act_fn.{name}" for name in _FRESH),
)
