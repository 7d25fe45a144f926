"""ExaoneForCausalLM: EXAONE 3 and 3.5. Llama's computation under names of its own; its code is no part of transformers.

Source: ExaoneModel in conversion/exaone.py of the pinned llama.cpp, which writes the norms' epsilon under another key
than load_arch_hparams in src/models/exaone.cpp reads.
"""

from collections.abc import Iterator

import gguf

from quant.convert.families.base import SILU, Config, Family, head_dim, is_tied, n_head_kv, n_heads, need, number
from quant.convert.families.keys import write_common_keys
from quant.convert.families.llama import extra_tensors
from quant.convert.families.planned import Planned


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors."""
    n_embd, n_ff, n_vocab = need(config, "hidden_size"), need(config, "intermediate_size"), need(config, "vocab_size")
    n_queries, n_keys = n_heads(config) * head_dim(config), n_head_kv(config) * head_dim(config)
    yield Planned(name="transformer.wte.weight", shape=(n_vocab, n_embd))
    for layer in range(need(config, "num_layers")):
        for name, shape in (
            ("ln_1", (n_embd,)),
            ("attn.attention.q_proj", (n_queries, n_embd)),
            ("attn.attention.k_proj", (n_keys, n_embd)),
            ("attn.attention.v_proj", (n_keys, n_embd)),
            ("attn.attention.out_proj", (n_embd, n_queries)),
            ("ln_2", (n_embd,)),
            ("mlp.c_fc_0", (n_ff, n_embd)),
            ("mlp.c_fc_1", (n_ff, n_embd)),
            ("mlp.c_proj", (n_embd, n_ff)),
        ):
            yield Planned(name=f"transformer.h.{layer}.{name}.weight", shape=shape)
    yield Planned(name="transformer.ln_f.weight", shape=(n_embd,))
    yield Planned(name="lm_head.weight", shape=(n_vocab, n_embd), optional=is_tied(config))


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add the common keys, the epsilon where llama.cpp reads it, and the rotary dimensions."""
    write_common_keys(writer, {**config, "num_hidden_layers": config["num_layers"]}, file_type)
    writer.add_layer_norm_rms_eps(number(config, "layer_norm_epsilon"))
    writer.add_rope_dimension_count(head_dim(config))


FAMILY = Family(
    architectures=("ExaoneForCausalLM",),
    model_types=("exaone",),
    arch="exaone",
    computed={"activation_function": SILU, "partial_rotary_factor": (None, 1, 1.0)},
    defaults={  # configuration_exaone.py of LGAI-EXAONE/EXAONE-3.5-2.4B-Instruct
        "num_layers": 32,
        "num_key_value_heads": n_heads,
        "max_position_embeddings": 2048,
        "layer_norm_epsilon": 1e-5,
        "rope_theta": 10000.0,
    },
    tensors=tensors,
    write_keys=write_keys,
    extra_tensors=extra_tensors,
    layers_key="num_layers",
)
