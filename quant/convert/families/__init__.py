"""Architecture families by the class name in config.json. A new family is a module in this folder."""

import difflib
import importlib
import pkgutil
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version

import gguf
import msgspec

from quant.base.errors import UserError
from quant.convert.families.base import MAX_LAYERS, Config, Family, flattened, need, with_defaults
from quant.convert.families.planned import Planned

# Far beyond any model; llama.cpp's own arrays have room for no more layers.
_BOUNDS = {"num_attention_heads": 4096, "num_key_value_heads": 4096, "n_head": 4096, "head_dim": 1 << 14}
# The text model of a multimodal model whose text_config names no type.
# Source: the configuration modules of transformers (4.57).
_TEXT_TYPES = {
    **dict.fromkeys(("llava", "llava_next", "llava_next_video", "vipllava", "idefics3", "smolvlm", "janus"), "llama"),
    **dict.fromkeys(("deepseek_vl", "deepseek_vl_hybrid", "perception_lm", "voxtral"), "llama"),
    **dict.fromkeys(("llava_onevision", "internvl", "got_ocr2", "qwen2_audio"), "qwen2"),
    **dict.fromkeys(("mistral3", "idefics2"), "mistral"),
    **dict.fromkeys(("paligemma", "colpali"), "gemma"),
    "granite_speech": "granite",
}
# What families have in common.
_SHARED = {
    "base", "decoder", "delta_net", "experts", "factors", "gpt", "hybrid", "keys", "latent", "longrope", "per_layer",
    "planned", "state_space", "ternary", "torch_power", "window_kinds",
}  # fmt: skip


@cache
def families() -> dict[str, Family]:
    """Return all families by the their class names in config.json."""
    found: dict[str, Family] = {}
    for module in sorted(info.name for info in pkgutil.iter_modules(__path__)):
        if module in _SHARED:
            continue
        family = importlib.import_module(f"{__name__}.{module}").FAMILY
        assert isinstance(family, Family)
        for architecture in family.architectures:
            assert architecture not in found, f"two families convert {architecture}"
            found[architecture] = family
    return found


def find_family(architecture: str) -> Family:
    """Return the family of an architecture.

    Raises:
        UserError: it is not supported; the text says how to fetch llama.cpp's converter.
    """
    known = families()
    if family := known.get(architecture):
        return family
    near = difflib.get_close_matches(architecture, known, n=1, cutoff=0.85)
    hint = f"did you mean {near[0]}? " if near else ""
    pin = version("llama-cpp-python")
    raise UserError(
        f"the architecture {architecture[:100]} is not supported yet; {hint}llama.cpp's own converter may know it: "
        f"pip download --no-deps --no-binary :all: llama-cpp-python=={pin}; tar xf llama_cpp_python-{pin}.tar.gz; "
        f"slmprof convert ... --converter llama_cpp_python-{pin}/vendor/llama.cpp"
    )


def architecture_of(config: Config) -> str:
    """Return the class that a config names, or that of its model_type.

    Raises:
        UserError: it names neither.
    """
    names, kind = config.get("architectures"), config.get("model_type")
    if isinstance(names, list) and names:
        return str(names[0])
    for family in families().values():
        if kind in family.model_types:
            return family.architectures[0]
    raise UserError(f"the config names no architecture and has the model_type {kind!r}; add architectures to it")


def _text_config(config: Config) -> Config:
    """Return the text model's config with its type: where it names none, the one that the outer type stands for."""
    inner: Config = config["text_config"]
    kind = _TEXT_TYPES.get(str(config.get("model_type")))
    return inner if inner.get("model_type") or kind is None else {**inner, "model_type": kind}


def family_of(config: Config) -> Family:
    """Find the family of a checkpoint's config: of its text model if it is multimodal.

    Raises:
        UserError: its architecture is not supported, or it names none.
    """
    names, inner = config.get("architectures"), config.get("text_config")
    named = str(names[0]) if isinstance(names, list) and names else None
    if isinstance(inner, dict) and named not in families():
        try:
            inner = _text_config(config)
            return _chosen(find_family(architecture_of(inner)), inner)
        except UserError:
            if named is None:
                raise
    return _chosen(find_family(architecture_of(config)), config)


def _chosen(family: Family, config: Config) -> Family:
    return family if family.chosen is None else family.chosen(config)


def complete_config(family: Family, config: Config) -> Config:
    """Return a config with every default filled in; of a multimodal model the text model's."""
    text = flattened(config)
    if isinstance(config.get("text_config"), dict):
        # It is written as the difference from its class.
        text = with_defaults(text, **family.sizes)
    # Checked before anything is made per layer or head.
    for key, most in ((family.layers_key, MAX_LAYERS), *_BOUNDS.items()):
        if isinstance(value := text.get(key), int) and value > most:
            who = "llama.cpp takes" if key == family.layers_key else "this program takes"
            raise UserError(f"config.json has {key} = {str(value)[:100]}; {who} {most} at most")
    return family.complete(text)


def planned_tensors(family: Family, config: Config) -> list[Planned]:
    """Return every tensor of a complete config, with its name in GGUF.

    Raises:
        UserError: the config lacks a size, or GGUF has no name for a tensor of this architecture.
    """
    return list(_named(family, config))


def _named(family: Family, config: Config) -> Iterator[Planned]:
    named_as = family.named_as or family.arch
    arch = next(kind for kind, name in gguf.MODEL_ARCH_NAMES.items() if name == named_as)
    n_layers = need(config, family.layers_key)
    if n_layers > MAX_LAYERS:
        raise UserError(f"config.json has {family.layers_key} = {n_layers}; llama.cpp takes {MAX_LAYERS} at most")
    names = _name_map(arch, n_layers)
    for planned in family.tensors(config):
        target = (
            planned.target
            or _target(names, planned.name)
            or _target(names, planned.name.removeprefix(family.base_prefix))
        )
        if target is None:
            raise UserError(f"the tensor {planned.name} has no place in llama.cpp's {family.arch}")
        yield msgspec.structs.replace(planned, target=target)


@cache
def _name_map(arch: gguf.MODEL_ARCH, n_layers: int) -> gguf.TensorNameMap:
    """Make gguf's map once: making it takes longer than all look-ups in it."""
    return gguf.get_tensor_name_map(arch, n_layers)


def _target(names: gguf.TensorNameMap, name: str) -> str | None:
    found: str | None = names.get_name(name, try_suffixes=(".weight", ".bias"))
    return found
