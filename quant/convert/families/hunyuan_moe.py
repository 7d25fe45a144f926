"""HunYuanMoEV1ForCausalLM: Hunyuan-A13B. Queries and keys are normed after their rotation; experts and a shared one.

A longer context is reached by a larger rotary base: theta * alpha ** (d / (d - 2)) with heads of d values.
Source: HunYuanMoEModel in conversion/hunyuan.py and src/models/hunyuan-moe.cpp of the pinned llama.cpp; the special
tokens are those of the model's own tokenization_hy.py.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf

from quant.base.errors import UserError
from quant.convert.families.base import SILU, Config, Family, n_heads, need
from quant.convert.families.decoder import Decoder
from quant.convert.families.experts import Experts
from quant.convert.families.hunyuan_dense import renamed_norms, write_alpha_keys
from quant.convert.families.keys import write_common_keys
from quant.convert.families.planned import Planned
from quant.convert.tokenizer.tiktoken import ranked_vocabulary
from quant.convert.tokenizer.vocabulary import Vocabulary, load_vocabulary

_RANKS = "hy.tiktoken"
_BEGIN = "<|bos|>"
_SPECIAL = (
    *("<|endoftext|>", "<|startoftext|>", _BEGIN, "<|eos|>", "<|pad|>"),
    *(f"<|extra_{number}|>" for number in range(205)),
)
EXPERTS = Experts(
    n_used="moe_topk",
    n_ff="intermediate_size",
    router="gate.wg",
    shared="mlp.shared_mlp",
    n_ff_shared=lambda config: need(config, "intermediate_size"),
)


def _with_one_number(config: Config) -> Config:
    """Return a config with one number where all layers have the same."""
    return {**config, **{key: _same(config, key) for key in ("moe_topk", "moe_intermediate_size", "num_shared_expert")}}


def _same(config: Config, key: str) -> Any:
    found = config.get(key)
    if not isinstance(found, list) or not found:
        return found
    if any(each != found[0] for each in found):
        raise UserError(f"config.json has {key} = {str(found)[:80]}; llama.cpp takes one number for all layers")
    return found[0]


def _check_width(config: Config) -> None:
    n_ff = need(config, "intermediate_size")
    if config.get("moe_intermediate_size") not in (None, n_ff):
        raise UserError(f"config.json has experts whose width is not intermediate_size = {n_ff}, which is not known")


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors."""
    return renamed_norms(Decoder(qk_norms="head", feed_forward=EXPERTS).tensors(config))


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add the common keys, those of the experts, and the base and the context that alpha makes of them."""
    write_common_keys(writer, config, file_type)
    n_ff = need(config, "intermediate_size")
    writer.add_expert_shared_feed_forward_length(n_ff)
    writer.add_expert_feed_forward_length(n_ff)
    writer.add_expert_used_count(need(config, "moe_topk"))
    writer.add_expert_shared_count(need(config, "num_shared_expert"))
    write_alpha_keys(writer, config, extended=True)  # whatever the config says


def vocabulary(folder: Path, config: Config, pre: str | None) -> Vocabulary:
    """Read the vocabulary: tokens by rank, then the special ones; a synthetic checkpoint has tokenizer.json instead."""
    if not (folder / _RANKS).is_file():
        return load_vocabulary(folder, config, pre=pre)
    found = ranked_vocabulary(folder / _RANKS, _SPECIAL, need(config, "vocab_size"), pre or "hunyuan")
    found.special.special_token_ids["bos"] = found.tokens.texts.index(_BEGIN.encode())
    return found


FAMILY = Family(
    architectures=("HunYuanMoEV1ForCausalLM",),
    model_types=("hunyuan_v1_moe",),
    arch="hunyuan-moe",
    adapt=_with_one_number,
    computed={
        "hidden_act": SILU,
        "attention_bias": (None, False),
        "num_shared_expert": (None, 1),
        "use_mixed_mlp_moe": (None, True),
    },
    defaults={  # transformers' HunYuanMoEV1Config (4.57)
        "num_key_value_heads": n_heads,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "num_experts": 1,
        "moe_topk": 1,
        "num_shared_expert": 1,
    },
    sizes={
        "vocab_size": 290943,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
    },
    check=_check_width,
    tensors=tensors,
    write_keys=write_keys,
    vocabulary=vocabulary,
)
