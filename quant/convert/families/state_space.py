"""Blocks of layers with a state: short convolutions, and the state space layers of Mamba 1 and 2.

Source: conversion/mamba.py of the pinned llama.cpp, and build_mamba_layer and build_mamba2_layer in its
src/models/mamba-base.cpp.
"""

from collections.abc import Iterator

import gguf
import msgspec

from quant.base.errors import UserError
from quant.convert.families.base import Config, need
from quant.convert.families.planned import Planned, Shape


def convolution(name: str, n_channels: int, width: int, *, bias: bool = True) -> Iterator[Planned]:
    """Yield a depthwise convolution, whose kernels have a dimension of one in the checkpoint."""
    yield Planned(name=f"{name}.weight", shape=(n_channels, width), source_shape=(n_channels, 1, width))
    if bias:
        yield Planned(name=f"{name}.bias", shape=(n_channels,))


class Mamba1(msgspec.Struct, frozen=True, kw_only=True):
    """The sizes of a Mamba layer: each channel has a state of its own."""

    n_embd: int
    n_inner: int
    n_state: int
    n_conv: int
    dt_rank: int

    def tensors(self, mixer: str) -> Iterator[Planned]:
        """Yield a layer's tensors; `mixer` is what their names begin with."""
        yield Planned(name=f"{mixer}.in_proj.weight", shape=(2 * self.n_inner, self.n_embd))
        yield from convolution(f"{mixer}.conv1d", self.n_inner, self.n_conv)
        yield Planned(name=f"{mixer}.x_proj.weight", shape=(self.dt_rank + 2 * self.n_state, self.n_inner))
        yield Planned(name=f"{mixer}.dt_proj.weight", shape=(self.n_inner, self.dt_rank))
        yield Planned(name=f"{mixer}.dt_proj.bias", shape=(self.n_inner,))
        yield Planned(name=f"{mixer}.A_log", shape=(self.n_inner, self.n_state), is_log=True)
        yield Planned(name=f"{mixer}.D", shape=(self.n_inner,))
        yield Planned(name=f"{mixer}.out_proj.weight", shape=(self.n_embd, self.n_inner))

    def write_keys(self, writer: gguf.GGUFWriter) -> None:
        """Add the sizes."""
        writer.add_ssm_conv_kernel(self.n_conv)
        writer.add_ssm_inner_size(self.n_inner)
        writer.add_ssm_state_size(self.n_state)
        writer.add_ssm_time_step_rank(self.dt_rank)


class Mamba2(msgspec.Struct, frozen=True, kw_only=True):
    """The sizes of a Mamba 2 layer: heads of channels, and groups of heads that share what goes in and out."""

    n_embd: int
    n_inner: int
    n_state: int
    n_conv: int
    n_heads: int
    n_groups: int

    def __post_init__(self) -> None:
        """Refuse sizes that do not divide each other.

        Raises:
            UserError: llama.cpp would stop.
        """
        for what, number in (("heads", self.n_heads), ("groups", self.n_groups)):
            if self.n_inner % number:
                raise UserError(
                    f"config.json asks for {number} {what} in a state space layer of {self.n_inner} channels, "
                    "which is no multiple"
                )

    @property
    def n_filtered(self) -> int:
        """The number of channels that the convolution has."""
        return self.n_inner + 2 * self.n_groups * self.n_state

    @property
    def parts(self) -> tuple[int, ...]:
        """The numbers of rows of the input's parts: gate, channels, what goes in, what goes out, time steps."""
        n_shared = self.n_groups * self.n_state
        return self.n_inner, self.n_inner, n_shared, n_shared, self.n_heads

    def tensors(self, mixer: str, layer: int, *, norm: bool = True) -> Iterator[Planned]:
        """Yield a layer's tensors.

        Args:
            mixer: what their names begin with.
            norm: whether the output is normalized, group by group.
        """
        yield Planned(name=f"{mixer}.in_proj.weight", shape=(sum(self.parts), self.n_embd))
        yield from convolution(f"{mixer}.conv1d", self.n_filtered, self.n_conv)
        yield Planned(name=f"{mixer}.dt_bias", shape=(self.n_heads,), target=f"blk.{layer}.ssm_dt.bias")
        per_head: Shape = (self.n_heads, 1)
        yield Planned(name=f"{mixer}.A_log", shape=per_head, source_shape=(self.n_heads,), is_log=True)
        yield Planned(name=f"{mixer}.D", shape=per_head, source_shape=(self.n_heads,))
        if norm:
            yield Planned(
                name=f"{mixer}.norm.weight",
                shape=(self.n_groups, self.n_inner // self.n_groups),
                source_shape=(self.n_inner,),
            )
        yield Planned(name=f"{mixer}.out_proj.weight", shape=(self.n_embd, self.n_inner))

    def write_keys(self, writer: gguf.GGUFWriter) -> None:
        """Add the sizes; the rank of the time steps is here the number of heads."""
        writer.add_ssm_conv_kernel(self.n_conv)
        writer.add_ssm_inner_size(self.n_inner)
        writer.add_ssm_state_size(self.n_state)
        writer.add_ssm_time_step_rank(self.n_heads)
        writer.add_ssm_group_count(self.n_groups)

    def write_keys_by_state(self, writer: gguf.GGUFWriter) -> None:
        """Add the sizes in the order in which llama.cpp's converters of Nemotron-H and Granite 4 have them."""
        writer.add_ssm_conv_kernel(self.n_conv)
        writer.add_ssm_state_size(self.n_state)
        writer.add_ssm_group_count(self.n_groups)
        writer.add_ssm_inner_size(self.n_inner)
        writer.add_ssm_time_step_rank(self.n_heads)


# The settings of `mamba2_sizes` that llama.cpp's graphs have one value of.
MAMBA2_COMPUTED = {"mamba_conv_bias": (None, True), "mamba_proj_bias": (None, False)}


def mamba2_sizes(config: Config, n_inner: int) -> Mamba2:
    """Return the sizes of a config whose settings are called mamba_..., for a number of channels."""
    return Mamba2(
        n_embd=need(config, "hidden_size"),
        n_inner=n_inner,
        n_state=need(config, "mamba_d_state"),
        n_conv=need(config, "mamba_d_conv"),
        n_heads=need(config, "mamba_n_heads"),
        n_groups=need(config, "mamba_n_groups"),
    )


def require_channels(config: Config, n_inner: int, what: str) -> None:
    """Refuse state space heads that together have another number of channels, which is called `what`.

    Raises:
        UserError: they do.
    """
    if need(config, "mamba_d_head") * need(config, "mamba_n_heads") != n_inner:
        raise UserError(
            f"config.json asks for {config['mamba_n_heads']} state space heads of {config['mamba_d_head']} values, "
            f"which are not {what}"
        )


def sized_heads(config: Config) -> Config:
    """Return a config in which the size of the heads is missing where it follows from their number."""
    return {**config, "mamba_d_head": None} if config.get("mamba_d_head") == "auto" else config


def vocabulary_in_steps(step: int, config: Config) -> Config:
    """Return a config whose vocabulary is a multiple of a number, as the matrices of Mamba models are padded."""
    n_vocab, step = config.get("vocab_size"), config.get("pad_vocab_size_multiple", step)
    if type(n_vocab) is not int or type(step) is not int or step < 1:
        return config
    return {**config, "vocab_size": -(-n_vocab // step) * step}
