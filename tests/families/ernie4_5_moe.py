"""ERNIE's experts: from some layer on, every layer and every other, shared ones and none, tied and not, each type."""

from typing import Any

from tests.families import Variant
from tests.support.checkpoints import as_transformers5, decoder_config

NEXT = {"model.mtp_block.0.mlp.gate_proj.weight": (96, 64), "model.mtp_emb_norm.0.weight": (64,)}


def config(*, first: int = 1, step: int = 1, n_shared: int = 2, **shape: Any) -> dict[str, Any]:
    """Return the config.json of a small ERNIE with experts in every `step`-th layer from the `first` on."""
    experts = {
        "moe_num_experts": 6,
        "moe_num_shared_experts": n_shared,
        "moe_k": 2,
        "moe_intermediate_size": 48,
        "moe_layer_start_index": first,
        "moe_layer_end_index": -1,
        "moe_layer_interval": step,
        "use_bias": False,
    }
    # llama.cpp's converter takes a shared expert to be as wide as this number by that of the key heads.
    shape = {"ffn": 192, "kv_heads": 2, "layers": 3, "rope_theta": 500000.0, "tokenizer": "spm", **shape}
    return decoder_config("Ernie4_5_MoeForCausalLM", "ernie4_5_moe", **shape) | experts


VARIANTS = {
    "ernie4_5_moe-tied-bf16": Variant(config(), tokenizer="spm"),
    "ernie4_5_moe-untied-f32": Variant(
        config(tie=False, n_shared=0, heads=2, kv_heads=1), dtype="float32", shards=2, tokenizer="spm"
    ),
    "ernie4_5_moe-next-f16": Variant(config(first=0), dtype="float16", more_tensors=NEXT, tokenizer="spm"),
    "ernie4_5_moe-transformers5": Variant(
        as_transformers5(config(ffn=160)),
        tokenizer="spm",
        own_keys=("ernie4_5-moe.expert_shared_feed_forward_length",),
    ),
}
