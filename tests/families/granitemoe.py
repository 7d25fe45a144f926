"""Granite's experts, merged in the checkpoint: with and without shared ones, tied and not, biases, each type."""

from typing import Any

from tests.families import Variant
from tests.families.granite import SCALES
from tests.support.checkpoints import as_transformers5, decoder_config


def config(*, n_experts: int = 5, shared: int | None = None, **shape: Any) -> dict[str, Any]:
    """Return the config.json of a small Granite with experts; `shared` is the width of those for every token."""
    kind = "" if shared is None else "Shared"
    names = (f"GraniteMoe{kind}ForCausalLM", f"granitemoe{kind.lower()}")
    experts = {"num_local_experts": n_experts, "num_experts_per_tok": 2} | SCALES
    more = {} if shared is None else {"shared_intermediate_size": shared}
    return decoder_config(*names, **shape) | experts | more


VARIANTS = {
    "granitemoe-tied-bf16": Variant(config(), pre="refact"),
    "granitemoe-untied-f32": Variant(config(tie=False, hidden=48, heads=6, kv_heads=3), dtype="float32", pre="refact"),
    "granitemoe-biases-f16": Variant(config() | {"attention_bias": True}, dtype="float16", pre="refact", shards=2),
    "granitemoe-shared": Variant(config(shared=96), pre="refact"),
    "granitemoe-shared-none": Variant(config(shared=0, n_experts=8), pre="refact"),
    "granitemoe-transformers5": Variant(as_transformers5(config()), pre="refact"),
}
