"""Granite Swash: windows by default and by name, layers that do not rotate, tied and not, each type, shards.

llama.cpp's converter knows nothing of layer_rope_theta.
"""

from typing import Any

from tests.families import Variant
from tests.families.granite import SCALES
from tests.support.checkpoints import as_transformers5, decoder_config

_KINDS = ["sliding_attention", "full_attention", "sliding_attention", "full_attention", "full_attention"]


def config(**shape: Any) -> dict[str, Any]:
    """Return the config.json of a small Granite Swash: five layers, of which the first and the last have no window."""
    made = decoder_config("GraniteSWAForCausalLM", "granite_swa", **{"layers": 5, **shape})
    return as_transformers5(made | SCALES) | {"sliding_window": 16}


VARIANTS = {
    "granite-swa-tied-bf16": Variant(config(), pre="refact", transformers=5),
    "granite-swa-untied-f32": Variant(
        config(tie=False, hidden=48, heads=6, kv_heads=3) | {"layer_types": _KINDS},
        dtype="float32",
        shards=2,
        pre="refact",
        transformers=5,
    ),
    "granite-swa-still-f16": Variant(
        config(kv_heads=4) | {"layer_rope_theta": [0, 10000.0, 10000.0, 10000.0, 0]},
        dtype="float16",
        pre="refact",
        transformers=5,
        own_keys=("granite_swa.attention.rope_pattern",),
    ),
}
