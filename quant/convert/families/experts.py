"""The feed-forward part of layers that choose among experts.

A router scores all experts for each token, and the best few compute it. GGUF has three tensors of three dimensions in
a layer: the gates, the ups and the downs of all experts. Checkpoints have a matrix per expert, or those of all experts
in one tensor, where gate and up are often one. Either is streamed: no more than an expert is in memory.

Source: the `_experts` of conversion/ and build_moe_ffn in src/llama-graph.cpp of the pinned llama.cpp.
"""

from collections.abc import Callable, Iterator
from typing import Literal

import msgspec

from quant.base.errors import UserError
from quant.convert.families.base import Config, need
from quant.convert.families.decoder import gated
from quant.convert.families.planned import OfEach, Planned

Part = Literal["gate", "up", "down"]
_MAX_EXPERTS = 1024  # LLAMA_MAX_EXPERTS in src/llama-hparams.h


def _shared_width(config: Config) -> int:
    return need(config, "shared_expert_intermediate_size")


def _never(config: Config, layer: int) -> bool:
    return False


def shared_by_count(number: str, width: str = "moe_intermediate_size") -> Callable[[Config], int]:
    """Return the width of the shared experts, which are several of the usual width in one."""
    return lambda config: need(config, width) * need(config, number) if config.get(number) else 0


def after_dense(number: str) -> Callable[[Config, int], bool]:
    """Return whether a layer is one of the first, which have no experts; a setting has their number."""
    return lambda config, layer: layer < int(config.get(number) or 0)


class Merged(msgspec.Struct, frozen=True, kw_only=True):
    """The tensors that hold the matrices of all experts of a layer, by their names in its module."""

    gate_up: str = "experts.gate_up_proj"  # the rows of an expert's gate come before those of its up
    down: str = "experts.down_proj"
    alternating: bool = False  # the rows of gate and up alternate
    transposed: bool = False

    def tensor(self, module: str, part: Part, shape: tuple[int, int, int], target: str) -> Planned:
        """Return a part of all experts."""
        if part == "down":
            return Planned(name=f"{module}.{self.down}", shape=shape, target=target, transposed=self.transposed)
        n_experts, n_ff, n_embd = shape
        first, step = (int(part == "up"), 2) if self.alternating else (n_ff * (part == "up"), 1)
        return Planned(
            name=f"{module}.{self.gate_up}",
            shape=shape,
            target=target,
            source_shape=(n_experts, n_embd, 2 * n_ff) if self.transposed else (n_experts, 2 * n_ff, n_embd),
            order=OfEach(n_ff, 2 * n_ff, first, step),
            transposed=self.transposed,
        )


class Experts(msgspec.Struct, frozen=True, kw_only=True):
    """How the layers of a family choose among experts; called, it is the `feed_forward` of a Decoder."""

    n_experts: str = "num_experts"  # the settings in config.json
    n_used: str = "num_experts_per_tok"
    n_ff: str = "moe_intermediate_size"
    module: str = "mlp"  # in a layer
    router: str = "gate"  # in the module
    router_bias: bool = False
    score_bias: str | None = None  # in the module: added to the scores where experts are chosen
    names: tuple[str, str, str] | None = ("gate_proj", "up_proj", "down_proj")  # of one expert's; None: always merged
    written: tuple[Part, Part, Part] = ("down", "gate", "up")  # the order of llama.cpp's converter
    merged: Merged | None = None  # as some checkpoints have them
    shared: str | None = None  # in the layer: the experts that compute every token, in one
    shared_gate: str | None = None  # in the module: a score for them
    n_ff_shared: Callable[[Config], int] = _shared_width  # 0: a model without them
    is_dense: Callable[[Config, int], bool] = _never  # whether a layer has no experts

    def __call__(self, config: Config, layer: int) -> Iterator[Planned]:
        """Yield the tensors of a layer's feed-forward part."""
        block, n_embd = f"model.layers.{layer}", need(config, "hidden_size")
        if self.is_dense(config, layer):
            yield from gated(f"{block}.mlp", n_embd, need(config, "intermediate_size"))
            return
        n_experts, n_ff = self.count(config), need(config, self.n_ff)
        module = f"{block}.{self.module}"
        yield Planned(
            name=f"{module}.{self.router}.weight",
            shape=(n_experts, n_embd),
            target=f"blk.{layer}.ffn_gate_inp.weight",
        )
        if self.router_bias:
            yield Planned(
                name=f"{module}.{self.router}.bias", shape=(n_experts,), target=f"blk.{layer}.ffn_gate_inp.bias"
            )
        if self.score_bias is not None:
            yield Planned(
                name=f"{module}.{self.score_bias}", shape=(n_experts,), target=f"blk.{layer}.exp_probs_b.bias"
            )
        yield from self.matrices(layer, n_experts, n_embd, n_ff)
        n_ff_shared = self.n_ff_shared(config) if self.shared else 0
        if n_ff_shared:
            yield from gated(f"{block}.{self.shared}", n_embd, n_ff_shared)
            if self.shared_gate is not None:
                yield Planned(name=f"{module}.{self.shared_gate}.weight", shape=(1, n_embd))

    def count(self, config: Config) -> int:
        """Return the number of experts of a layer.

        Raises:
            UserError: there are more than llama.cpp takes, or fewer than compute a token.
        """
        n_experts, n_used = need(config, self.n_experts), need(config, self.n_used)
        if n_experts > _MAX_EXPERTS:
            raise UserError(f"config.json has {self.n_experts} = {n_experts}; llama.cpp takes {_MAX_EXPERTS} at most")
        if n_used > n_experts:
            raise UserError(f"config.json has {self.n_used} = {n_used} of {n_experts} experts, which are fewer")
        return n_experts

    def matrices(self, layer: int, n_experts: int, n_embd: int, n_ff: int) -> Iterator[Planned]:
        """Yield the matrices of all experts of a layer, in the order in which they are written."""
        module = f"model.layers.{layer}.{self.module}"
        for part in self.written:
            shape = (n_experts, n_embd, n_ff) if part == "down" else (n_experts, n_ff, n_embd)
            target = f"blk.{layer}.ffn_{part}_exps.weight"
            merged = None if self.merged is None else self.merged.tensor(module, part, shape, target)
            if self.names is None:
                assert merged is not None
                yield merged
                continue
            name = dict(zip(("gate", "up", "down"), self.names, strict=True))[part]
            sources = tuple(f"{module}.experts.{expert}.{name}.weight" for expert in range(n_experts))
            yield Planned(
                name=sources[0],
                shape=shape,
                target=target,
                stacked=sources,
                group=f"blk.{layer}.experts",
                merged=merged,
            )
