"""What a family is, and how its config is read.

A family defines the tensors of a config, how each is changed for GGUF, and the keys that are made from the config.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gguf
import msgspec
import numpy as np
from numpy.typing import NDArray

from quant.base.errors import UserError
from quant.convert.families.planned import Planned

if TYPE_CHECKING:
    from quant.convert.tokenizer.vocabulary import Vocabulary

Config = dict[str, Any]
ExtraTensors = dict[str, NDArray[np.float32]]
GELUS = ("gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh")  # llama.cpp computes all with the tanh approximation
SILU = (None, "silu")
MAX_LAYERS = 512  # llama.cpp's own limit. Source: LLAMA_MAX_LAYERS in src/llama-hparams.h
_MAX_FLOAT = 3.4e38  # these numbers are float32 in GGUF


def _as_it_is(config: Config) -> Config:
    return config


def _no_tensors(config: Config) -> ExtraTensors:
    return {}


def _no_keys(writer: gguf.GGUFWriter, config: Config) -> None:
    pass


def _no_more_keys(writer: gguf.GGUFWriter, config: Config, vocabulary: "Vocabulary") -> None:
    pass


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """How checkpoints of one family become GGUF."""

    architectures: tuple[str, ...]  # class names in config.json
    arch: str  # GGUF's general.architecture
    named_as: str | None = None  # the architecture whose names its tensors have, where gguf does not know its own
    # The family of a config, where its class has models of several architectures.
    chosen: "Callable[[Config], Family] | None" = None
    adapt: Callable[[Config], Config] = _as_it_is  # renames settings, before all else
    # The values of settings that llama.cpp computes; with others the model would generate wrong text. None: no value.
    computed: dict[str, tuple[Any, ...]] = {}
    defaults: dict[str, Any] = {}  # of the config's class; callables get the config with the defaults before them
    sizes: dict[str, int] = {}  # defaults of that class too, which only the text_config of a larger model omits
    check: Callable[[Config], object] = _as_it_is  # refuses what `computed` cannot express
    tensors: Callable[[Config], Iterator[Planned]]
    write_keys: Callable[[gguf.GGUFWriter, Config, int], None]  # writer, config, file type
    extra_tensors: Callable[[Config], ExtraTensors] = _no_tensors  # made from the config alone
    early_keys: Callable[[gguf.GGUFWriter, Config], None] = _no_keys  # written before all others
    vocabulary: "Callable[[Path, Config, str | None], Vocabulary] | None" = (
        None  # folder, config, pre; None: load_vocabulary
    )
    vocabulary_keys: "Callable[[gguf.GGUFWriter, Config, Vocabulary], None]" = _no_more_keys  # after its own
    space_prefix_key: bool = False  # whether the tokenizer's add_prefix_space becomes a key
    layers_key: str = "num_hidden_layers"
    ignored: tuple[str, ...] = ()  # ends of names of buffers that are computed, not learned
    # Tensors of one value in each layer, by their names in it: read into lists in the config, since they become keys.
    scalars: tuple[str, ...] = ()
    omitted: tuple[str, ...] = ()  # starts of names of parts that are not the text model
    extra_layers: str | None = None  # a setting: how many layers after the last predict further tokens; omitted
    model_types: tuple[str, ...] = ()  # for configs that name no class
    base_prefix: str = ""  # of the tensors' names; missing in checkpoints without the output head

    def complete(self, config: Config) -> Config:
        """Return a config with all defaults.

        Raises:
            UserError: it has a setting that llama.cpp does not compute for this family.
        """
        config = self.adapt(config)
        for key, values in self.computed.items():
            refuse_unless(config, key, values)
        config = with_defaults(config, **self.defaults)
        self.check(config)
        return config


def need(config: Config, key: str, default: int | None = None) -> int:
    """Return a count from a config.

    Raises:
        UserError: it is missing or no positive number.
    """
    value = config.get(key, default)
    if type(value) is not int or not 0 < value < 1 << 31:
        raise UserError(f"config.json has {key} = {repr(value)[:100]}, which must be a positive number")
    return value


def need_list(config: Config, key: str, length: int) -> list[int]:
    """Return one count per layer from a config.

    Raises:
        UserError: it is missing, of another length, or holds something else.
    """
    values = config.get(key)
    if not isinstance(values, list) or len(values) != length:
        raise UserError(f"config.json has {key} = {str(values)[:80]}, which must be a list of {length} numbers")
    return [need({key: value}, key) for value in values]


def number(config: Config, key: str, default: float | None = None) -> float:
    """Return a number from a config.

    Raises:
        UserError: it is missing or no number.
    """
    return as_number(config.get(key, default), key)


def as_number(value: Any, key: str) -> float:
    """Return a value that must be a finite number.

    Raises:
        UserError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _MAX_FLOAT:
        raise UserError(f"config.json has {key} = {str(value)[:100]}, which must be a number")
    return value


def first_of(config: Config, *keys: str) -> Any:
    """Return the value of the first key that is there and not null; None without any."""
    return next((config[key] for key in keys if config.get(key) is not None), None)


def refuse_unless(config: Config, key: str, known: tuple[Any, ...]) -> None:
    """Refuse a setting that llama.cpp does not compute; the converted model would generate wrong text.

    Raises:
        UserError: the value is none of `known`; None means a missing key.
    """
    if config.get(key) not in known:
        shown = ", ".join(
            str(value).lower() if isinstance(value, bool) else str(value) for value in known if value is not None
        )
        raise UserError(
            f"config.json has {key} = {json.dumps(config.get(key))[:80]}, which llama.cpp does not compute "
            f"for this family (it does: {shown}); choose another model"
        )


def n_heads(config: Config) -> int:
    """Return the number of attention heads."""
    return need(config, "num_attention_heads")


def head_dim(config: Config) -> int:
    """Return the size of one attention head, explicit or by division.

    Raises:
        UserError: it is odd, so that there are no two rotary halves.
    """
    if config.get("head_dim") is not None:
        size = need(config, "head_dim")
    else:
        size = need(config, "hidden_size") // n_heads(config)
    if size % 2:
        raise UserError(f"config.json asks for attention heads of {size} values, which must be an even number")
    return size


def usual_head_dim(size: int) -> Callable[[Config], int]:
    """Return the default of head_dim where the class has one: where the key is null, heads divide the width."""
    return lambda config: need(config, "hidden_size") // n_heads(config) if "head_dim" in config else size


def require_whole_heads(n_embd: int, heads: int) -> None:
    """Refuse a width that is no multiple of the number of heads.

    Raises:
        UserError: it is none.
    """
    if n_embd % heads:
        raise UserError(f"config.json asks for {heads} attention heads in a width of {n_embd}, which is no multiple")


def require_full_width(config: Config) -> None:
    """Refuse heads that together are not as wide as the model, where llama.cpp derives their size from the width.

    Raises:
        UserError: they are not.
    """
    n_embd, heads, size = need(config, "hidden_size"), n_heads(config), head_dim(config)
    if heads * size != n_embd:
        raise UserError(
            f"config.json has {heads} heads of {size} in a width of {n_embd}, which llama.cpp does not compute for "
            "this family; choose another model"
        )


def require_own_output(config: Config) -> None:
    """Refuse tied embeddings where llama.cpp needs an output matrix.

    Raises:
        UserError: they are tied.
    """
    if is_tied(config):
        raise UserError("config.json ties the embeddings; llama.cpp needs an output matrix of its own for this family")


def n_head_kv(config: Config) -> int:
    """Return the number of key and value heads; without the key, or where it is null, as many as heads."""
    return need(config, "num_attention_heads" if config.get("num_key_value_heads") is None else "num_key_value_heads")


def is_tied(config: Config) -> bool:
    """Return whether the output matrix is the embedding."""
    return bool(config.get("tie_word_embeddings", False))


def flattened(config: Config) -> Config:
    """Return the text model's config if it is inside a multimodal model's, else the config itself.

    Raises:
        UserError: the inner config is no object.
    """
    inner = config.get("text_config")
    thinker = config.get("thinker_config")  # of a model that also talks, the part that writes
    if inner is None:
        inner = thinker.get("text_config") if isinstance(thinker, dict) else config.get("language_config")
    if inner is None:
        return config
    if not isinstance(inner, dict):
        raise UserError(f"config.json has a text_config that is no object: {str(inner)[:80]}")
    return {**config, **inner}


def rope_parameters(config: Config) -> dict[str, Any]:
    """Return the rope settings in one form: transformers 4 has separate keys, transformers 5 has rope_parameters.

    Models with two kinds of layers have settings for each, under "full_attention" and "sliding_attention".
    Source: TextModel in conversion/base.py of the pinned llama.cpp.

    Raises:
        UserError: the settings are no object.
    """
    found = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(found, dict):
        raise UserError(f"config.json has rope settings that are no object: {str(found)[:80]}")
    found = dict(found)
    if "full_attention" in found or "sliding_attention" in found:
        return found
    local = first_of(config, "local_rope_theta", "swa_rope_theta", "rope_local_base_freq")
    if local is not None:
        found["sliding_attention"] = {"rope_theta": local}
    moved = {
        "rope_theta": first_of(config, "rope_theta", "rotary_emb_base"),
        "rope_type": found.get("type"),
        "partial_rotary_factor": first_of(config, "partial_rotary_factor", "rope_pct", "rotary_pct"),
        "original_max_position_embeddings": config.get("original_max_position_embeddings"),
    }
    return {**{key: value for key, value in moved.items() if value is not None}, **found}


def rotary_dims(config: Config, default: float, size: int | None = None) -> int:
    """Return the number of each head's dimensions that are rotated.

    Args:
        default: the share of a head that is rotated where the config names none.
        size: of a head; None: the width divided by the number of heads.

    Raises:
        UserError: the factor is not between 0 and 1, or the number is odd, so that there are no two halves.
    """
    share = as_number(rope_parameters(config).get("partial_rotary_factor", default), "partial_rotary_factor")
    size = size or need(config, "hidden_size") // need(config, "num_attention_heads")
    if not 0 < share <= 1:
        raise UserError(f"config.json has partial_rotary_factor = {share!r}, which must be between 0 and 1")
    turned = int(share * size)
    if turned == 0 or turned % 2:
        raise UserError(f"config.json asks for {turned} rotary values in heads of {size}, which must be an even number")
    return turned


def with_defaults(config: Config, **defaults: Any) -> Config:
    """Fill in keys that are missing or null, as transformers' config class does when it reads the file.

    If the class has a default for num_key_value_heads, null (unlike a missing key) means as many as attention heads.
    """
    if "num_key_value_heads" in defaults and config.get("num_key_value_heads", 0) is None:
        config = {**config, "num_key_value_heads": n_heads({**defaults, **config})}
    for key, default in defaults.items():
        if config.get(key) is None:
            config = {**config, key: default(config) if callable(default) else default}
    return config
