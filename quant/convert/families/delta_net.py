"""The gated delta net: linear attention with a matrix of state per head, in three of four layers.

Qwen3-Next stores its projections group by group, Qwen3.5 part by part. The other layers have attention whose output has
a gate of its own, which is stored with the queries.
Source: Qwen3NextModel and _LinearAttentionVReorderBase in conversion/qwen.py, src/models/qwen35.cpp and
src/models/qwen3next.cpp of the pinned llama.cpp.
"""

from collections.abc import Iterator

import gguf
import msgspec

from quant.base.errors import UserError
from quant.convert.families.base import Config, head_dim, need, rotary_dims
from quant.convert.families.decoder import Decoder
from quant.convert.families.planned import Parts, Planned, Tiled

_INTERVAL = 4  # the last layer of so many has full attention
_SHARE = 0.25  # of a head's values that are rotated
KINDS = ("linear_attention", "full_attention")
DECODER = Decoder(qk_norms="head", norm_offset=1.0)  # of the other layers


class DeltaNet(msgspec.Struct, frozen=True):
    """The sizes of a layer's linear attention."""

    n_embd: int
    heads_k: int  # of queries and keys
    heads_v: int
    size: int  # of a head
    kernel: int  # tokens that the convolution sees

    @property
    def keys(self) -> int:
        """The width of all keys."""
        return self.heads_k * self.size

    @property
    def values(self) -> int:
        """The width of all values."""
        return self.heads_v * self.size

    def parts(self, layer: int) -> Iterator[Planned]:
        """Yield the tensors of a layer whose matrices are stored part by part.

        The heads of values are stored with those of the key that they share, which llama.cpp has tiled.
        """
        block, width = f"model.layers.{layer}.linear_attn", self.heads_v // self.heads_k
        behind = Tiled(self.heads_k, width, self.size, first_row=2 * self.keys)
        tiled, single = Tiled(self.heads_k, width, self.size), Tiled(self.heads_k, width, 1)
        for name, n_rows, order in (
            ("in_proj_qkv", 2 * self.keys + self.values, behind),
            ("in_proj_z", self.values, tiled),
            ("in_proj_b", self.heads_v, single),
            ("in_proj_a", self.heads_v, single),
        ):
            yield Planned(name=f"{block}.{name}.weight", shape=(n_rows, self.n_embd), order=order)
        yield from self._scan(layer, behind, single)
        yield Planned(name=f"{block}.out_proj.weight", shape=(self.n_embd, self.values), columns=tiled)

    def groups(self, layer: int) -> Iterator[Planned]:
        """Yield the tensors of a layer whose matrices are stored group by group: a key's head and all that it needs."""
        block, width = f"model.layers.{layer}.linear_attn", self.values // self.heads_k
        widths = (self.size, self.size, width, width)
        whole = (2 * (self.keys + self.values), self.n_embd)
        for target, n_rows, taken in (
            ("attn_qkv", 2 * self.keys + self.values, (0, 1, 2)),
            ("attn_gate", self.values, (3,)),
        ):
            yield Planned(
                name=f"{block}.in_proj_qkvz.weight",
                shape=(n_rows, self.n_embd),
                target=f"blk.{layer}.{target}.weight",
                source_shape=whole,
                order=Parts(self.heads_k, widths, taken),
            )
        yield Planned(name=f"{block}.in_proj_ba.weight", shape=(2 * self.heads_v, self.n_embd))
        yield from self._scan(layer, None, None)
        yield Planned(name=f"{block}.out_proj.weight", shape=(self.n_embd, self.values))

    def _scan(self, layer: int, behind: Tiled | None, single: Tiled | None) -> Iterator[Planned]:
        block, channels = f"model.layers.{layer}.linear_attn", 2 * self.keys + self.values
        yield Planned(
            name=f"{block}.conv1d.weight",
            shape=(channels, self.kernel),
            source_shape=(channels, 1, self.kernel),
            order=behind,
        )
        yield Planned(name=f"{block}.dt_bias", shape=(self.heads_v,), target=f"blk.{layer}.ssm_dt.bias", order=single)
        yield Planned(name=f"{block}.A_log", shape=(self.heads_v,), order=single, is_log=True)
        yield Planned(name=f"{block}.norm.weight", shape=(self.size,))


def delta_net(config: Config) -> DeltaNet:
    """Return the sizes in a config.

    Raises:
        UserError: llama.cpp does not compute them: keys and values of several sizes, or heads that cannot share keys.
    """
    found = DeltaNet(
        n_embd=need(config, "hidden_size"),
        heads_k=need(config, "linear_num_key_heads"),
        heads_v=need(config, "linear_num_value_heads"),
        size=need(config, "linear_key_head_dim"),
        kernel=need(config, "linear_conv_kernel_dim"),
    )
    if need(config, "linear_value_head_dim") != found.size:
        raise UserError(
            f"config.json has linear_key_head_dim = {found.size} and linear_value_head_dim = "
            f"{config['linear_value_head_dim']}; llama.cpp computes equal ones only; choose another model"
        )
    if found.heads_v % found.heads_k:
        raise UserError(
            f"config.json has linear_num_value_heads = {found.heads_v}, which must be a multiple of "
            f"linear_num_key_heads = {found.heads_k}"
        )
    return found


def hybrid_tensors(config: Config, decoder: Decoder, *, by_group: bool = False) -> Iterator[Planned]:
    """Yield the tensors of a model whose layers have linear attention or the decoder's, with a gate of its output."""
    is_linear, sizes = linear_layers(config), delta_net(config)
    for planned in decoder.tensors(config):
        block, attention, part = planned.name.partition(".self_attn.")
        if attention and is_linear[int(block.rpartition(".")[2])]:
            continue
        # Each head's query is followed by the gate of the head.
        shape = (2 * planned.shape[0], sizes.n_embd) if part == "q_proj.weight" else planned.shape
        yield msgspec.structs.replace(planned, shape=shape)
    for layer, linear in enumerate(is_linear):
        if linear:
            yield from sizes.groups(layer) if by_group else sizes.parts(layer)


def linear_layers(config: Config) -> list[bool]:
    """Return for each layer whether its attention is linear.

    Raises:
        UserError: layer_types is not a list of one known kind per layer.
    """
    n_layers, kinds = need(config, "num_hidden_layers"), config.get("layer_types")
    if kinds is None:
        interval = need(config, "full_attention_interval", _INTERVAL)
        return [(layer + 1) % interval != 0 for layer in range(n_layers)]
    if not isinstance(kinds, list) or len(kinds) != n_layers or any(kind not in KINDS for kind in kinds):
        raise UserError(
            f"config.json has layer_types = {str(kinds)[:80]}, which must be a list of {n_layers} times "
            f"{' or '.join(KINDS)}"
        )
    return [kind == KINDS[0] for kind in kinds]


def write_delta_net_keys(writer: gguf.GGUFWriter, config: Config) -> None:
    """Add the sizes, which layers are linear, and the rotary dimensions of the others."""
    sizes = delta_net(config)
    writer.add_ssm_conv_kernel(sizes.kernel)
    writer.add_ssm_state_size(sizes.size)
    writer.add_ssm_group_count(sizes.heads_k)
    writer.add_ssm_time_step_rank(sizes.heads_v)
    writer.add_ssm_inner_size(sizes.values)
    if config.get("layer_types") is not None:
        writer.add_array(f"{writer.arch}.attention.recurrent_layers", linear_layers(config))
    writer.add_full_attention_interval(need(config, "full_attention_interval", _INTERVAL))
    writer.add_rope_dimension_count(rotary_dims(config, _SHARE, head_dim(config)))


def check_delta_net(config: Config) -> None:
    """Refuse sizes and kinds of layers that llama.cpp does not compute."""
    delta_net(config)
    linear_layers(config)
