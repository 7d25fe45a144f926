"""LongRoPE: frequencies are divided by one set of factors up to the original context, by another beyond it.

Source: generate_extra_tensors of conversion/phi.py and conversion/minicpm.py of the pinned llama.cpp;
_compute_longrope_parameters in transformers' modeling_rope_utils (4.57).
"""

import math

import numpy as np

from quant.base.errors import UserError
from quant.convert.families.base import Config, ExtraTensors, as_number, need, rope_parameters


def has_factors(config: Config) -> bool:
    """Return whether the config has factors."""
    rope = rope_parameters(config)
    return bool(rope.get("long_factor") or rope.get("short_factor"))


def rope_factors(config: Config, n_dims: int) -> ExtraTensors:
    """Return both sets of factors, each (n_dims / 2,) float32; empty if the config has none.

    Raises:
        UserError: a set is missing or has another length.
    """
    if not has_factors(config):
        return {}
    rope = rope_parameters(config)
    made = {}
    for key, target in (("long_factor", "rope_factors_long.weight"), ("short_factor", "rope_factors_short.weight")):
        values = rope.get(key)
        if not isinstance(values, list) or 2 * len(values) != n_dims:
            raise UserError(
                f"config.json has {key} = {str(values)[:80]}, which must be a list of {n_dims // 2} numbers"
            )
        made[target] = np.array([as_number(value, key) for value in values], dtype=np.float32)
    return made


def old_context(config: Config) -> int:
    """Return the context length before it was extended."""
    rope = rope_parameters(config)
    return need(rope, "original_max_position_embeddings", need(config, "max_position_embeddings"))


def attention_factor(config: Config) -> float:
    """Return the factor of the embedding's cosines and sines.

    Raises:
        UserError: this kind of scaling has no such factor.
    """
    rope = rope_parameters(config)
    if rope.get("attention_factor") is not None:
        return as_number(rope["attention_factor"], "attention_factor")
    old, kind = old_context(config), rope.get("rope_type")
    stretched = need(config, "max_position_embeddings") / old
    if kind not in ("su", "longrope", "yarn"):
        raise UserError(f"config.json asks for the rope scaling {kind!r} with long_factor; only 'longrope' has it")
    if stretched <= 1.0:
        return 1.0
    if kind == "yarn":
        return 0.1 * math.log(stretched) + 1.0
    return math.sqrt(1.0 + math.log(stretched) / math.log(old))
