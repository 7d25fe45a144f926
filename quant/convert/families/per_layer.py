"""What Gemma 3n and 4 share: an embedding of each token for each layer, and layers that use the keys of earlier ones.

Source: conversion/gemma.py, src/models/gemma3n.cpp and create_memory in src/llama-model.cpp of the pinned llama.cpp.
"""

from collections.abc import Iterable, Iterator

import msgspec

from quant.base.errors import UserError
from quant.convert.families.base import Config, need
from quant.convert.families.decoder import matrices
from quant.convert.families.planned import Planned, Shape


def embeddings(config: Config, size: int) -> Iterator[Planned]:
    """Yield the tensors that make and add the embeddings.

    Args:
        size: of a layer's embedding of a token.
    """
    n_embd, n_layers = need(config, "hidden_size"), need(config, "num_hidden_layers")
    yield Planned(
        name="model.embed_tokens_per_layer.weight",
        shape=(need(config, "vocab_size"), n_layers * size),
        source_shape=(need(config, "vocab_size_per_layer_input"), n_layers * size),
        padded=True,  # the tokens of images and sound have none
    )
    yield Planned(name="model.per_layer_model_projection.weight", shape=(n_layers * size, n_embd))
    yield Planned(name="model.per_layer_projection_norm.weight", shape=(size,))
    for layer in range(n_layers):
        parts: dict[str, Shape] = {
            "per_layer_input_gate": (size, n_embd),
            "per_layer_projection": (n_embd, size),
            "post_per_layer_input_norm": (n_embd,),
        }
        yield from matrices(f"model.layers.{layer}", parts)


def shared_layers(config: Config) -> int:
    """Return how many of the last layers use the keys and values of earlier ones.

    Raises:
        UserError: it is no number of layers.
    """
    shared = config.get("num_kv_shared_layers")
    if type(shared) is not int or not 0 <= shared < need(config, "num_hidden_layers"):
        raise UserError(f"config.json has num_kv_shared_layers = {str(shared)[:80]}, which must be a number of layers")
    return shared


def keys_optional(config: Config, tensors: Iterable[Planned]) -> Iterator[Planned]:
    """Yield the tensors, where checkpoints may lack the keys and values of shared layers, which nothing uses."""
    n_layers = need(config, "num_hidden_layers")
    shared = range(n_layers - shared_layers(config), n_layers)
    unused = tuple(f"model.layers.{layer}.self_attn.{part}_" for layer in shared for part in "kv")
    for each in tensors:
        yield msgspec.structs.replace(each, optional=True) if each.name.startswith(unused) else each


def check_shared(config: Config, windows: list[bool]) -> None:
    """Refuse shared layers before which there is not one with a window and then one without: llama.cpp uses these.

    Raises:
        UserError: there are others; or no layer has a window.
    """
    own = len(windows) - shared_layers(config)
    if not any(windows) or (own < len(windows) and windows[max(0, own - 2) : own] != [True, False]):
        raise UserError(
            f"config.json has layer_types with {sum(windows)} windows, of which the layers {own - 1} and {own} are "
            "shared; llama.cpp takes the keys of one with a window and then one without; choose another model"
        )
