"""The config of a LoRA adapter that peft saved, which is untrusted: the scale of each product, and what is refused.

Source: LoraConfig in tuners/lora/config.py, update_layer in tuners/lora/layer.py and get_pattern_key in utils/other.py
of peft 0.19.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quant.base.errors import UserError
from quant.base.text import one_line
from quant.convert.json_file import read_object

CONFIG = "adapter_config.json"
WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")  # in peft's order
MERGE_WITH_PEFT = "merge it with peft (merge_and_unload), save the model and pass that"
AGAIN = "download the adapter again"
# Settings with which the sum is another one, or which change other tensors; each is off where its value is falsy.
_NOT_MERGED = {
    "use_dora": "DoRA", "use_qalora": "QALoRA", "use_bdlora": "BD-LoRA", "lora_bias": "biases of LoRA's own",
    "layer_replication": "replicated layers", "target_parameters": "parameters as targets",
    "trainable_token_indices": "rows of single tokens", "alora_invocation_tokens": "activated LoRA",
    "arrow_config": "Arrow",
}  # fmt: skip
_RANK_STABILIZED = "use_rslora"
# Ways to begin at zero; the others change the base's weights too.
_FROM_ZERO = (True, False, None, "gaussian", "orthogonal", "eva")
_DEFAULT_ALPHA = 8
_MAX_ALPHA = 1e6
# A module's name, or the end of one; peft takes it for a regular expression, which can be made to run for years.
_PATTERN = re.compile(r"(\^?)((?:\w|\\?\.){1,500})\$?")
_NAME_CHARS = 120


@dataclass(frozen=True)
class LoraConfig:
    """What a config says of the scales."""

    path: Path
    alpha: Any
    alpha_pattern: dict[str, Any]  # a module's name or its end -> alpha; the first that matches counts
    is_rank_stabilized: bool

    def scale(self, module: str, rank: int) -> float:
        """Return what B A is multiplied with: alpha / rank, or alpha / sqrt(rank) where it is rank-stabilized.

        Raises:
            UserError: alpha is no number, or a pattern no name.
        """
        found = (alpha for pattern, alpha in self.alpha_pattern.items() if self._matches(pattern, module))
        alpha = next(found, self.alpha)
        if type(alpha) not in (int, float) or not abs(alpha) < _MAX_ALPHA:
            raise UserError(f"{self.path} has the alpha {_shown(alpha)} for {one_line(module, _NAME_CHARS)}; {AGAIN}")
        return float(alpha / (math.sqrt(rank) if self.is_rank_stabilized else rank))

    def _matches(self, pattern: str, module: str) -> bool:
        found = _PATTERN.fullmatch(pattern)
        if found is None:
            raise UserError(
                f"{self.path} has the alpha_pattern {one_line(pattern, 80)}, and only names of modules are matched; "
                f"{MERGE_WITH_PEFT}"
            )
        start, name = found[1], found[2].replace("\\", "")
        return module == name or (not start and module.endswith(f".{name}"))


def read_lora_config(folder: Path) -> LoraConfig:
    """Read an adapter's config.

    Raises:
        UserError: it is missing, broken, or of an adapter that is not merged here.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise UserError(f"{folder} has no {CONFIG}; pass the folder of a LoRA adapter that peft saved")
    config = read_object(path)
    kind = config.get("peft_type")
    if kind != "LORA":
        raise UserError(f"{path} has the peft_type {_shown(kind)}, and LORA is merged; {MERGE_WITH_PEFT}")
    for key, value in config.items():
        what = _NOT_MERGED.get(key)
        if value and (what or (key.startswith("use_") and key != _RANK_STABILIZED)):
            what = what or "what is unknown here"
            raise UserError(f"{path} uses {what} ({key[:40]}), which is not merged; {MERGE_WITH_PEFT}")
    start = config.get("init_lora_weights")
    if not (start is None or isinstance(start, bool | str)) or start not in _FROM_ZERO:
        raise UserError(
            f"{path} has init_lora_weights = {_shown(start)}, which changes the base's weights too; {MERGE_WITH_PEFT}"
        )
    patterns = config.get("alpha_pattern") or {}
    if not isinstance(patterns, dict):
        raise UserError(f"{path} has an alpha_pattern that is no object; {AGAIN}")
    return LoraConfig(path, config.get("lora_alpha", _DEFAULT_ALPHA), patterns, config.get(_RANK_STABILIZED) is True)


def _shown(value: Any) -> str:
    return str(value)[:40] if value is None or isinstance(value, str | int | float) else f"of a {type(value).__name__}"
