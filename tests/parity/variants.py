"""The checkpoints that both converters are given: every way in which the families differ."""

from pathlib import Path
from typing import Any

from tests.support.checkpoints import make_checkpoint

_LLAMA3_ROPE = {
    "rope_type": "llama3",
    "factor": 32.0,
    "high_freq_factor": 4.0,
    "low_freq_factor": 1.0,
    "original_max_position_embeddings": 64,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "llama-tied-bf16": {},
    "llama-untied-f32": {"tie": False, "dtype": "float32"},
    "llama-f16": {"dtype": "float16"},
    "llama-sharded": {"shards": 3},
    "llama-rope-scaling": {"rope_scaling": _LLAMA3_ROPE},
    "llama-head-dim": {"head_dim": 32},
    "llama-spm": {"tokenizer": "spm", "tie": False},
    "mistral": {"architecture": "MistralForCausalLM", "tie": False},
    "qwen2-tied": {"architecture": "Qwen2ForCausalLM"},
    "qwen2-untied-sharded": {"architecture": "Qwen2ForCausalLM", "tie": False, "shards": 2},
    "qwen2-f32": {"architecture": "Qwen2ForCausalLM", "dtype": "float32"},
}
PRE = {"Qwen2ForCausalLM": "qwen2"}


def make_variant(name: str, folder: Path) -> tuple[Path, str]:
    """Make a checkpoint and give it with the pre-tokenizer's name for both sides."""
    options = VARIANTS[name]
    checkpoint = folder / name
    if not checkpoint.exists():
        make_checkpoint(checkpoint, **options)
    return checkpoint, PRE.get(options.get("architecture", ""), "gpt-2")
