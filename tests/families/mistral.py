"""Mistral: with the window that its config names and llama.cpp ignores."""

from tests.families import Variant
from tests.support.checkpoints import decoder_config

VARIANTS = {
    "mistral": Variant(decoder_config("MistralForCausalLM", "mistral", tie=False) | {"sliding_window": None}),
    "mistral-head-dim-f32": Variant(
        decoder_config("MistralForCausalLM", "mistral", head_dim=32) | {"sliding_window": None}, dtype="float32"
    ),
}
