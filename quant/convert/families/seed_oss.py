"""SeedOssForCausalLM: Seed-OSS. Biases on query, key and value by default; heads wider than the model.

Source: SeedOssModel in conversion/olmo.py of the pinned llama.cpp; load_arch_tensors in its src/models/seed-oss.cpp
loads no bias of the attention's output, nor any of the feed-forward part.
"""

from collections.abc import Iterator

from quant.convert.families.base import SILU, Config, Family, usual_head_dim
from quant.convert.families.decoder import Decoder
from quant.convert.families.keys import write_common_keys
from quant.convert.families.planned import Planned


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors."""
    return Decoder(qkv_bias=bool(config["attention_bias"])).tensors(config)


FAMILY = Family(
    architectures=("SeedOssForCausalLM",),
    model_types=("seed_oss",),
    arch="seed_oss",
    computed={
        "hidden_act": SILU,
        "attention_out_bias": (None, False),
        "mlp_bias": (None, False),
    },
    defaults={  # transformers' SeedOssConfig (4.57)
        "num_key_value_heads": 8,
        "head_dim": usual_head_dim(128),
        "attention_bias": True,
        "max_position_embeddings": 524288,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
    },
    sizes={
        "vocab_size": 155136,
        "hidden_size": 4096,
        "intermediate_size": 27648,
        "num_hidden_layers": 64,
        "num_attention_heads": 80,
    },
    tensors=tensors,
    write_keys=write_common_keys,
)
