"""Llama: tied and not, each type, shards, rope scaling, explicit head size, SentencePiece."""

from typing import Any

from tests.families import Variant
from tests.support.checkpoints import decoder_config

ROPE: dict[str, Any] = {
    "rope_type": "llama3",
    "factor": 32.0,
    "high_freq_factor": 4.0,
    "low_freq_factor": 1.0,
    "original_max_position_embeddings": 64,
}

VARIANTS = {
    "llama-tied-bf16": Variant(decoder_config()),
    "llama-untied-f32": Variant(decoder_config(tie=False), dtype="float32"),
    "llama-f16": Variant(decoder_config(), dtype="float16"),
    "llama-sharded": Variant(decoder_config(), shards=3),
    "llama-rope-scaling": Variant(decoder_config(rope_scaling=ROPE)),
    "llama-head-dim": Variant(decoder_config(head_dim=32)),
    "llama-biases": Variant(decoder_config() | {"attention_bias": True, "mlp_bias": True}),
    "llama-spm": Variant(decoder_config(tie=False, tokenizer="spm"), tokenizer="spm"),
}
