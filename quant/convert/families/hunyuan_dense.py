"""HunYuanDenseV1ForCausalLM: Hunyuan from 0.5B to 7B. Queries and keys are normed after their rotation.

A longer context is reached by a larger rotary base: theta * alpha ** (d / (d - 2)) with heads of d values.
Source: HunYuanModel in conversion/hunyuan.py of the pinned llama.cpp, and its src/models/hunyuan-vl.cpp, whose graph
this family shares and which has no bias of the attention's output.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import gguf
import msgspec

from quant.base.errors import UserError
from quant.convert.families.base import SILU, Config, Family, head_dim, n_heads, need, number, rope_parameters
from quant.convert.families.decoder import Decoder
from quant.convert.families.keys import write_common_keys
from quant.convert.families.planned import Planned
from quant.convert.tokenizer.files import read_json
from quant.convert.tokenizer.vocabulary import Vocabulary, load_vocabulary

_EXTENDED = 256 * 1024  # the context that alpha reaches, whatever the config says
_STATED = (32 * 1024, _EXTENDED)  # what the configs of such models say


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors."""
    return renamed_norms(Decoder(qk_norms="head").tensors(config))


def renamed_norms(tensors: Iterable[Planned]) -> Iterator[Planned]:
    """Yield a decoder's tensors; the norms of queries and keys have names of their own."""
    for planned in tensors:
        for part, name in (("q_norm", "query_layernorm"), ("k_norm", "key_layernorm")):
            if planned.name.endswith(f".{part}.weight"):
                planned = msgspec.structs.replace(planned, name=planned.name.replace(part, name))
        yield planned


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add the common keys, and the base and the context that alpha makes of them."""
    write_common_keys(writer, config, file_type)
    write_alpha_keys(writer, config, extended=need(config, "max_position_embeddings") in _STATED)


def write_alpha_keys(writer: gguf.GGUFWriter, config: Config, *, extended: bool) -> None:
    """Add the rotary base that alpha makes, where the config has one, and the context that it reaches if `extended`.

    Raises:
        UserError: the heads are too narrow for it.
    """
    rope = rope_parameters(config)
    if rope.get("rope_type") != "dynamic":
        return
    size = head_dim(config)
    if size <= 2:
        raise UserError(f"config.json has head_dim = {size}, which must be more than 2 to be scaled by alpha")
    writer.add_rope_freq_base(number(rope, "rope_theta") * number(rope, "alpha") ** (size / (size - 2)))
    writer.add_rope_scaling_type(gguf.RopeScalingType.NONE)
    writer.add_rope_scaling_factor(1)
    if extended:
        writer.add_rope_scaling_orig_ctx_len(_EXTENDED)
        writer.add_context_length(_EXTENDED)


def vocabulary(folder: Path, config: Config, pre: str | None) -> Vocabulary:
    """Read the vocabulary; the end of a turn is the first of the ends that generation_config.json lists."""
    found = load_vocabulary(folder, config, pre=pre)
    if isinstance(pad := config.get("pad_token_id"), int) and pad < 0:
        found.special.special_token_ids.pop("pad", None)
    if config.get("eod_token_id") is not None:
        found.last["eos_token_id"] = need(config, "eod_token_id")
    ends = (read_json(folder / "generation_config.json") or {}).get("eos_token_id")
    if isinstance(ends, list) and len(ends) > 1 and isinstance(ends[0], int):
        found.last["eot_token_id"] = ends[0]
    return found


FAMILY = Family(
    architectures=("HunYuanDenseV1ForCausalLM",),
    model_types=("hunyuan_v1_dense",),
    arch="hunyuan-dense",
    computed={"hidden_act": SILU, "attention_bias": (None, False)},
    defaults={  # transformers' HunYuanDenseV1Config (4.57)
        "num_key_value_heads": n_heads,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
    },
    sizes={
        "vocab_size": 290943,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
    },
    tensors=tensors,
    write_keys=write_keys,
    vocabulary=vocabulary,
)
