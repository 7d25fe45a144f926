"""Arcee: tied and not, YaRN, llama3's factors, heads of another width, each type, shards, both forms of config."""

from typing import Any

from tests.families import Variant
from tests.families.llama import ROPE
from tests.support.checkpoints import as_transformers5, decoder_config


def config(**shape: Any) -> dict[str, Any]:
    """Return the config.json of a small Arcee."""
    return decoder_config("ArceeForCausalLM", "arcee", **{"tie": False, **shape}) | {"hidden_act": "relu2"}


YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128, "beta_fast": 32.0, "mscale": 1.0}

VARIANTS = {
    "arcee-bf16": Variant(config(head_dim=32)),
    "arcee-yarn-f32": Variant(config(hidden=48, heads=6, kv_heads=3, rope_scaling=YARN), dtype="float32", shards=2),
    "arcee-tied-f16": Variant(config(tie=True, kv_heads=4, rope_scaling=ROPE), dtype="float16"),
    "arcee-transformers5": Variant(as_transformers5(config())),
}
