"""File names by gguf's naming convention: base name, size label, fine-tune, version, then the level.

Source: docs/gguf.md of ggml; gguf.naming_convention.
"""

import re

import gguf


def file_stem(name: str, n_params: int) -> str:
    """Return a file's name without its level: "smollm2-135M" for "smollm2-135m", "my-tune-494M" for "my-tune"."""
    _, _, base, finetune, version, size_label = gguf.Metadata.get_model_id_components(name, n_params)
    size_label = size_label or gguf.size_label(n_params, n_params, 0, 0)
    return re.sub(r"[^\w.-]+", "_", gguf.naming_convention(name, base, finetune, version, size_label, None))
