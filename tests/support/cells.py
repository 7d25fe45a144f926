"""Cells, files and jobs for tests of the loop and the sweep."""

import json
from pathlib import Path
from typing import Any

from profiler.records.config import Cell, RunConfig, base_config
from quant.gguf_io.artifact import Artifact, Shape


def config(**changes: Any) -> RunConfig:
    """A small separate-mode configuration with some fields changed."""
    return base_config(**({"n_prompt": 6, "n_gen": 4, "n_ctx": 64, "n_ubatch": 512, "n_threads_batch": 1} | changes))


def cell(sha256: str = "a" * 64, **changes: Any) -> Cell:
    """A cell of a file that need not exist."""
    return Cell(artifact_sha256=sha256, config=config(**changes))


def artifact(sha256: str = "a" * 64, **changes: Any) -> Artifact:
    """Facts of a small file that does not exist."""
    fields: dict[str, Any] = {
        "sha256": sha256,
        "file_name": "tiny-Q8_0.gguf",
        "file_bytes": 1_100_000,
        "tensor_bytes": 1_000_000,
        "model": "tiny",
        "arch": "llama",
        "n_params": 940_000,
        "level": "Q8_0",
        "tensor_types": {"Q8_0": 10},
        "shape": Shape(
            n_layer=2,
            n_embd=64,
            n_vocab=500,
            n_ctx_train=2048,
            n_head=4,
            n_head_kv=(2, 2),
            head_dim_k=16,
            head_dim_v=16,
            n_ff=(128, 128),
        ),
    }
    return Artifact(**(fields | changes))


def script(path: Path, **fields: Any) -> Path:
    """Write a model file of the scripted engine."""
    path.write_text(json.dumps(fields), encoding="utf-8")
    return path
