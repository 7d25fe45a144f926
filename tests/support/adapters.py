"""LoRA adapters as peft saves them, with random factors."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

PREFIX = "base_model.model."
CONFIG = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"], "bias": "none"}
# The ends of a pair's names.
LINEAR, EMBEDDING = ("lora_A.weight", "lora_B.weight"), ("lora_embedding_A", "lora_embedding_B")

Arrays = dict[str, np.ndarray]


def write_adapter(folder: Path, tensors: Arrays, *, prefix: str = PREFIX, **config: Any) -> Path:
    """Write an adapter's folder and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps(CONFIG | config))
    save_file({f"{prefix}{name}": values for name, values in tensors.items()}, folder / "adapter_model.safetensors")
    return folder


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    """Return random values."""
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def factors(module: str, n_out: int, n_in: int, rank: int = 4, ends: tuple[str, str] = LINEAR) -> Arrays:
    """Return a pair of factors by their names."""
    return {f"{module}.{ends[0]}": drawn(rank, n_in), f"{module}.{ends[1]}": drawn(n_out, rank, seed=1)}
