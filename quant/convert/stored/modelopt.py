"""ModelOpt: FP8 with a scale per tensor or row, and NVFP4, which is stored as bytes.

Source: dequant_model and _generate_nvfp4_tensors in conversion/base.py of the pinned llama.cpp.
"""

from quant.convert.stored.fp4 import of_modelopt
from quant.convert.stored.fp8 import scaled
from quant.convert.stored.parts import Parts, Settings, Weight


def weights(parts: Parts, _settings: Settings) -> dict[str, Weight]:
    """Return the weights of method modelopt.

    Raises:
        UserError: a part is missing or does not fit.
    """
    made: dict[str, Weight] = {}
    for module in parts.names(".weight_scale"):
        name = f"{module}.weight"
        tensor = parts.tensors.get(name)
        is_fp4 = tensor is not None and tensor.dtype == "U8"
        made[name] = of_modelopt(parts, name) if is_fp4 else scaled(parts, name, "_scale", None)
    return made
