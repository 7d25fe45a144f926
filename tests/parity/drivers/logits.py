"""Write transformers' logits for fixed tokens, in float32.

Usage: logits.py JOBS.json, a list of {"checkpoint", "tokens", "target", "arithmetic"}: the last names what is replaced
"""

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM

_TABLE_END = 10.0  # beyond it GELU is the identity, and 0 for negative values


def gelu_table(values: torch.Tensor) -> torch.Tensor:
    """Return GELU of float32 values as llama.cpp reads it: from a table from float16 to float16.

    Source: ggml_vec_gelu_f32 and ggml_gelu_f32 in ggml/src/ggml-cpu/vec.h.
    """
    x = values.half().float()
    inner = math.sqrt(2 / math.pi) * x * (1 + 0.044715 * x * x)
    read = (0.5 * x * (1 + torch.tanh(inner.double()).float())).half().float()
    return torch.where(values >= _TABLE_END, values, torch.where(values <= -_TABLE_END, 0.0, read))


def _use_gelu_table(module: Any) -> bool:
    if not hasattr(module, "act_fn"):
        return False
    del module.act_fn  # a module, in whose place torch takes no function
    module.act_fn = gelu_table
    return True


def _use_sample_deviation(module: Any) -> bool:
    """Cut off gates by a deviation over n - 1 values. Source: gaussian_topk in src/models/gemma3n.cpp."""
    if not getattr(module, "activation_sparsity", 0.0):
        return False
    quantile = torch.distributions.Normal(0, 1).icdf(torch.tensor(module.activation_sparsity))

    def cut(gates: torch.Tensor) -> torch.Tensor:
        return torch.relu(gates - gates.mean(-1, keepdim=True) - gates.std(-1, keepdim=True) * quantile)

    module._gaussian_topk = cut
    return True


# What llama.cpp computes otherwise: module -> whether it was replaced there.
_REPLACE: dict[str, Callable[[Any], bool]] = {
    "gelu_table": _use_gelu_table,
    "sample_deviation": _use_sample_deviation,
}


def main() -> None:
    """Compute all jobs."""
    for job in json.loads(Path(sys.argv[1]).read_text()):
        model = AutoModelForCausalLM.from_pretrained(
            job["checkpoint"], dtype=torch.float32, attn_implementation="eager"
        )
        model.float()  # the values of some activations stay bfloat16
        for name in job["arithmetic"]:
            replaced = [_REPLACE[name](module) for module in model.modules()]
            assert any(replaced), f"{job['checkpoint']} computes no {name}"
        with torch.no_grad():
            logits = model(torch.tensor([job["tokens"]])).logits[0]
        np.save(job["target"], logits.numpy().astype(np.float32))


main()
