"""Layers with a window and layers without, where the two kinds differ in their heads and their rotary embeddings.

Source: conversion/gemma.py and conversion/spark2_5.py of the pinned llama.cpp.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quant.base.errors import UserError
from quant.convert.families.base import Config, need, refuse_unless, rope_parameters, rotary_dims

FULL, WINDOWED = "full_attention", "sliding_attention"
_STILL = 1e30  # by which the frequencies of values that do not rotate are divided


class Heads(NamedTuple):
    """The heads of layers without a window."""

    size: int
    n_kv: int


def rope_of(config: Config, kind: str) -> dict[str, Any]:
    """Return the rotary embedding of one kind of layers.

    Raises:
        UserError: the config has none.
    """
    found = rope_parameters(config).get(kind)
    if not isinstance(found, dict):
        raise UserError(f"config.json has no settings of rope_parameters for {kind}")
    return found


def rotated(config: Config, kind: str, size: int) -> int:
    """Return the number of the dimensions of heads of a size that are rotated in one kind of layers."""
    return rotary_dims({"rope_parameters": rope_of(config, kind)}, 1.0, size)


def proportional_factors(config: Config, size: int) -> NDArray[np.float32]:
    """Return what divides the frequencies of layers without a window: (size / 2,) float32.

    With proportional embeddings a part of a head rotates, at the frequencies that the whole head would have.
    """
    factors = np.full(size // 2, _STILL, np.float32)
    factors[: rotated(config, FULL, size) // 2] = 1.0
    return factors


def full_heads(config: Config, windows: list[bool]) -> Heads:
    """Return the heads of layers without a window, from either form of the config.

    Raises:
        UserError: other layers, or not all of these, have sizes of their own.
    """
    usual, by_layer = need(config, "num_key_value_heads"), config.get("per_layer_config")
    if by_layer is None:
        has_own = config.get("attention_k_eq_v") and config.get("num_global_key_value_heads") is not None
        n_kv = need(config, "num_global_key_value_heads") if has_own else usual
        return Heads(need(config, "global_head_dim"), n_kv)
    expected = {str(layer) for layer, windowed in enumerate(windows) if not windowed}
    found = {str(key): each for key, each in by_layer.items()} if isinstance(by_layer, dict) else {}
    first = next(iter(found.values()), None)
    if found.keys() != expected or any(each != first for each in found.values()) or not isinstance(first, dict):
        raise UserError(
            f"config.json has per_layer_config = {str(by_layer)[:80]}; llama.cpp has one size of head for all layers "
            "without a window, and another for the others; choose another model"
        )
    return Heads(need(first, "head_dim", need(config, "head_dim")), need(first, "num_key_value_heads", usual))


def check_kinds(config: Config, windows: list[bool]) -> None:
    """Refuse rotary embeddings that are not proportional without a window and usual with one, and further sizes.

    Raises:
        UserError: llama.cpp does not compute them.
    """
    full_heads(config, windows)
    refuse_unless(rope_of(config, FULL), "rope_type", ("proportional",))
    refuse_unless(rope_of(config, FULL), "factor", (None, 1.0))
    refuse_unless(rope_of(config, WINDOWED), "rope_type", (None, "default"))


def sizes_by_layer(config: Config, windows: list[bool], widths: list[int]) -> list[Config]:
    """Return the config of each layer, with its heads and the width of its feed-forward part."""
    full = full_heads(config, windows)
    without = {**config, "head_dim": full.size, "num_key_value_heads": full.n_kv}
    return [
        {**(config if windowed else without), "intermediate_size": width}
        for windowed, width in zip(windows, widths, strict=True)
    ]
