"""ModelOpt: FP8 with a scale per tensor or row, and NVFP4, which is stored as bytes.

Source: dequant_model and _generate_nvfp4_tensors in conversion/base.py of the pinned llama.cpp.
"""

import re

from quant.convert.stored.fp4 import of_modelopt
from quant.convert.stored.fp8 import scaled
from quant.convert.stored.parts import Parts, Settings, Weight

_EXPERT = re.compile(r"(.*\.experts)\.\d+\.(gate_proj|up_proj|down_proj)")  # those of a layer have one precision


def weights(parts: Parts, settings: Settings) -> dict[str, Weight]:
    """Return the weights of method modelopt.

    Raises:
        UserError: a part is missing or does not fit.
    """
    made: dict[str, Weight] = {}
    for module in parts.names(".weight_scale"):
        name = f"{module}.weight"
        tensor = parts.tensors.get(name)
        is_fp4 = tensor is not None and tensor.dtype == "U8"
        if is_fp4:
            made[name] = of_modelopt(parts, name, wide_inputs=_algorithm(module, settings) == "W4A16_NVFP4")
        else:
            made[name] = scaled(parts, name, "_scale", None)
    return made


def _algorithm(module: str, settings: Settings) -> object:
    """Return how a module is computed: by its own settings, by those of what it is a part of, or as all are."""
    layers = settings.get("quantized_layers")
    entries = {_bare(name): entry for name, entry in layers.items()} if isinstance(layers, dict) else {}
    place = _EXPERT.sub(r"\1.\2", _bare(module))
    while place:
        if isinstance(entry := entries.get(place), dict):
            return entry.get("quant_algo")
        place = place.rpartition(".")[0]
    return settings.get("quant_algo")


def _bare(name: str) -> str:
    return name.replace("language_model.", "")
