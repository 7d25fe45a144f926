"""FP8: a byte per weight, scaled per tensor, per row or per block.

The scale is stored as `weight_scale_inv` or `weight_scale`; either is multiplied.
Source: dequant_model in conversion/base.py of the pinned llama.cpp.
"""

from quant.convert.stored.floats import FLOATS, FP8
from quant.convert.stored.parts import Parts, Settings, Weight, matrix, unread
from quant.convert.stored.scaled import Scaled, grid

_SUFFIXES = ("_scale_inv", "_scale")
_DIMENSIONS = 2  # of a block


def weights(parts: Parts, settings: Settings) -> dict[str, Weight]:
    """Return the weights of method fp8.

    Raises:
        UserError: a part is missing or does not fit.
    """
    blocks = block_sizes(settings.get("weight_block_size"))
    return {
        name: scaled(parts, name, suffix, blocks)
        for suffix in _SUFFIXES
        for name in parts.names(suffix)
        if name in parts.tensors  # a learned "..._scale" is no part
    }


def scaled(parts: Parts, name: str, suffix: str, blocks: tuple[int, ...] | None) -> Scaled:
    """Return a weight of FP8 whose scale's name has a suffix.

    Raises:
        UserError: a part is missing or does not fit.
    """
    weight = matrix(parts.take(name, FP8))
    scale = parts.take(name + suffix, (*FLOATS, "F8_E8M0"))
    return Scaled(weight, grid(scale, weight.shape, blocks))


def block_sizes(found: object) -> tuple[int, ...] | None:
    """Return the sizes of blocks in the settings; None if there are none.

    Raises:
        UserError: they are no two positive numbers.
    """
    if found is None:
        return None
    if isinstance(found, list) and len(found) == _DIMENSIONS and all(type(n) is int and n > 0 for n in found):
        return tuple(found)
    raise unread(f"numbers in blocks of {found!r}")
