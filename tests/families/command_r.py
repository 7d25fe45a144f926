"""Cohere: one key per query and groups, the output matrix saved twice, a length that overrides another."""

from typing import Any

from tests.families import Variant
from tests.support.checkpoints import as_transformers5, decoder_config


def config(**shape: Any) -> dict[str, Any]:
    """Return the config.json of a small Cohere."""
    made = decoder_config("CohereForCausalLM", "cohere", tie=True, **shape)
    del made["rms_norm_eps"]
    return made | {"layer_norm_eps": 1e-5, "logit_scale": 0.0625}


VARIANTS = {
    "command-r-bf16": Variant(config()),
    "command-r-no-groups-f32": Variant(
        config(heads=3, kv_heads=3, hidden=48) | {"model_max_length": 4096, "use_qk_norm": False}, dtype="float32"
    ),
    "command-r-f16-sharded": Variant(
        config(layers=3, rope_theta=4000000.0) | {"logit_scale": 0.25}, dtype="float16", shards=3
    ),
    "command-r-saved-twice": Variant(
        config(), more_tensors={"lm_head.weight": (512, 64)}, oracle_fails=True, no_logits="it would take the second"
    ),
    "command-r-transformers5": Variant(as_transformers5(config())),
}
