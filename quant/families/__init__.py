"""Architecture families, by the class name in config.json. A new family is one module that registers itself here."""

import difflib
import importlib

from quant.errors import UserError
from quant.families.base import Family

# class name in config.json -> module of this package
_MODULES = {
    "LlamaForCausalLM": "llama",
    "MistralForCausalLM": "mistral",
    "Qwen2ForCausalLM": "qwen2",
}


def find_family(architecture: str) -> Family:
    """Give the family of an architecture.

    Raises:
        UserError: it is not supported; the text lists those that are.
    """
    module = _MODULES.get(architecture)
    if module is None:
        near = difflib.get_close_matches(architecture, _MODULES, n=1, cutoff=0.85)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UserError(
            f"the architecture {architecture} is not supported yet; {hint}supported are {', '.join(_MODULES)}"
        )
    family = importlib.import_module(f"quant.families.{module}").FAMILY
    assert isinstance(family, Family)
    return family
