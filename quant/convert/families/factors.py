"""Factors that a model multiplies its inputs and outputs by, and that GGUF has within the matrices."""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from quant.base.errors import UserError
from quant.convert.families.base import Config, as_number
from quant.convert.families.planned import Planned

Bands = tuple[tuple[int, float], ...]


class Factor(msgspec.Struct, frozen=True):
    """What a matrix is multiplied by: one factor, then one for the rows up to each bound; each product is rounded."""

    scale: float
    bands: Bands = ()


def multiplied(tensors: Iterable[Planned], factors: Mapping[str, Factor]) -> Iterator[Planned]:
    """Yield the tensors, those with a factor, by the name of the module that has their weight, with it."""
    for planned in tensors:
        module = planned.name.removesuffix(".weight").rpartition(".")[2]
        factor = factors.get(module)
        yield planned if factor is None else msgspec.structs.replace(planned, scale=factor.scale, bands=factor.bands)


def twice(first: float, second: float, n_rows: int) -> Factor:
    """Return two factors, one after the other."""
    return Factor(first, () if second == 1 else ((n_rows, second),))


def of_rows(scale: float, parts: Iterable[int], values: Iterable[float]) -> Factor:
    """Return a factor, and one for each part of the rows; `parts` are numbers of rows."""
    bands, end = [], 0
    for n_rows, value in zip(parts, values, strict=True):
        end += n_rows
        bands.append((end, value))
    return Factor(scale, tuple(bands))


def numbers(config: Config, key: str, length: int) -> list[float]:
    """Return a list of factors.

    Raises:
        UserError: it is none of this length.
    """
    values = config[key]
    if not isinstance(values, list) or len(values) != length:
        raise UserError(f"config.json has {key} = {str(values)[:80]}, which must be a list of {length} numbers")
    return [as_number(value, key) for value in values]
