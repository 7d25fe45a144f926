"""The methods of quantization whose weights are read: from a checkpoint's parts to its tensors."""

from collections.abc import Callable, Mapping

from quant.convert.safetensors_file import Tensor
from quant.convert.stored import awq, bitsandbytes, compressed_tensors, fp4, fp8, gptq, modelopt
from quant.convert.stored.parts import Parts, Settings, Weight, stored_tensor

# By quant_method in a config's quantization_config.
_READERS: dict[str, Callable[[Parts, Settings], dict[str, Weight]]] = {
    "awq": awq.weights,
    "bitsandbytes": bitsandbytes.weights,
    "compressed-tensors": compressed_tensors.weights,
    "fp8": fp8.weights,
    "gptq": gptq.weights,
    "modelopt": modelopt.weights,
    "mxfp4": fp4.weights,
}
METHODS = tuple(_READERS)


def stored_tensors(tensors: Mapping[str, Tensor], method: str, settings: Settings) -> dict[str, Tensor]:
    """Return a checkpoint's tensors with each quantized weight in the place of its parts.

    A weight that is stored under its own name keeps its place; others follow at the end, as in llama.cpp's converter.

    Args:
        method: one of METHODS.

    Raises:
        UserError: a part is missing or does not fit, or the form of the method is not read.
    """
    parts = Parts(tensors)
    made = {name: stored_tensor(name, weight) for name, weight in _READERS[method](parts, settings).items()}
    kept = {name: made.get(name, tensor) for name, tensor in tensors.items() if name in made or name not in parts.used}
    return kept | made
