"""Values of a model that the checkpoint stores as tensors and GGUF as keys: one in each layer."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from quant.base.errors import UserError
from quant.convert.families.base import Config, Family, need
from quant.convert.safetensors_file import Tensor
from quant.convert.tensor_names import missing_error
from quant.gguf_io.floats import convert_floats


def scalars_by_layer(
    folder: Path, family: Family, config: Config, tensors: Mapping[str, Tensor]
) -> dict[str, list[float]]:
    """Return a family's scalars, each a list with a value per layer; synthetic weights have none.

    Raises:
        UserError: one is missing, has more than one value, or is no number.
    """
    if not family.scalars or config.get("slmprof_synthetic"):
        return {}
    layers = range(need(config, family.layers_key))
    names = {each: [f"model.layers.{layer}.{each}" for layer in layers] for each in family.scalars}
    missing = [name for listed in names.values() for name in listed if name not in tensors]
    if missing:
        raise missing_error(folder, missing, tensors)
    return {each: [_value(tensors[name]) for name in listed] for each, listed in names.items()}


def _value(tensor: Tensor) -> float:
    if tensor.n_elements != 1:
        raise UserError(f"tensor {tensor.name} is {list(tensor.shape)}, which must be one value; download it again")
    value = float(convert_floats(tensor.read(0, 1), tensor.dtype, "F32").view(np.float32)[0])
    if not np.isfinite(value):
        raise UserError(f"tensor {tensor.name} is {value}, which must be a number; download it again")
    return value
