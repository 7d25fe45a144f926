"""Graphs of a few shapes, in which the operations occur that models consist of, at sizes from small to large.

llama.cpp makes the graphs, from a header without weights.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from profiler.engine.node_copy import NodeForm
from profiler.estimate.header_only import write_header_only
from profiler.estimate.no_alloc_engine import NoAllocEngine
from profiler.predict.kinds import ATTENTION
from profiler.records.config import RunConfig, base_config
from profiler.records.graph import Node
from quant.convert.layout import layout_of_shape
from quant.sources.prepare import shape_config
from quant.sources.resolve import resolve

N_UBATCH = 512


class Shape(NamedTuple):
    """A model of the registry, and the contexts in which its graph is made."""

    name: str
    n_ctx: tuple[int, ...] = (N_UBATCH,)
    cache_types: tuple[str, ...] = ("f16",)


SHAPES = (
    Shape("smollm2-360m", (512, 2048), ("f16", "q8_0")),
    Shape("llama-3.2-3b", (512, 2048), ("f16", "q8_0")),
    Shape("gemma-3-1b"),
    Shape("gpt2-medium", (512, 2048)),
    Shape("olmo-1b", (512, 2048)),
    Shape("granite-4.0-h-tiny"),
    Shape("qwen3.5-2b"),
    Shape("lfm2-700m"),
    Shape("rwkv7-0.4b"),
)


class TakenNode(NamedTuple):
    """A node of a graph of so many tokens."""

    n_tokens: int
    node: Node
    form: NodeForm


def graph_nodes(scratch: Path, shapes: Sequence[Shape] = SHAPES) -> Iterator[TakenNode]:
    """Yield the nodes of all shapes, at one token and at a physical batch; of longer contexts only attention."""
    path = scratch / "header.gguf"
    for shape in shapes:
        source = resolve(shape.name)
        write_header_only(layout_of_shape(shape_config(source), standin_for=shape.name), path)
        engine = NoAllocEngine()
        try:
            for place, config in enumerate(_configs(shape)):
                if place == 0:
                    engine.load(path, config)
                engine.open_context(config)
                for taken in nodes_of(engine):
                    if place == 0 or (taken.node.op == ATTENTION and not _is_slow(taken, config)):
                        yield taken
        finally:
            engine.close()


def _is_slow(taken: TakenNode, config: RunConfig) -> bool:
    """Return whether a node takes seconds; its time is in proportion to that of a shorter context."""
    return taken.n_tokens > 1 and config.n_ctx > N_UBATCH and config.type_k != "f16"


def _configs(shape: Shape) -> list[RunConfig]:
    return [
        base_config(n_prompt=N_UBATCH, n_gen=1, n_ctx=n_ctx, type_k=kind, type_v=kind, load_mode="none")
        for kind in shape.cache_types
        for n_ctx in shape.n_ctx
    ]


def nodes_of(engine: NoAllocEngine) -> Iterator[TakenNode]:
    """Yield the nodes of an open context's graphs."""
    for n_tokens in (1, N_UBATCH):
        for node, form in engine.node_forms(n_tokens):
            yield TakenNode(n_tokens, node, form)
