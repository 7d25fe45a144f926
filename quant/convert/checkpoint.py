"""A Hugging Face checkpoint directory: its config, and its tensors by name."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quant.base.errors import UserError
from quant.convert.json_file import read_object
from quant.convert.pickled.torch_file import read_torch_file
from quant.convert.safetensors_file import MAX_HEADER_BYTES, Tensor, read_header
from quant.convert.stored.methods import METHODS, stored_tensors
from quant.convert.stored.parts import Settings
from quant.convert.weight_files import PICKLED, WeightNames, choose_weight_files, weight_names, what_else

# Methods that quantize while the model runs, so that its weights look plain: llama.cpp would compute something else.
_AT_RUN_TIME = ("bitnet",)


@dataclass(frozen=True)
class Checkpoint:
    """A directory's config and its tensors by name, in the order of the files."""

    folder: Path
    config: dict[str, Any]
    tensors: dict[str, Tensor]
    notes: tuple[str, ...] = ()  # on what is unusual, for the user
    parts: dict[str, Tensor] | None = None  # the files' own tensors, where weights are stored quantized
    method: str | None = None  # by which they are

    @property
    def architecture(self) -> str:
        """The class that the config names. Raises UserError where it names none."""
        names = self.config.get("architectures")
        if isinstance(names, list) and names and isinstance(names[0], str):
            return names[0]
        raise UserError(f"{self.folder / 'config.json'} names no architecture; is it a language model's?")

    @property
    def standin_for(self) -> str | None:
        """The model whose shape synthetic weights have; None for real weights."""
        name = self.config.get("slmprof_standin_for")
        return str(name) if self.config.get("slmprof_synthetic") else None

    @property
    def standin_family(self) -> str | None:
        """The family of that model, if this is its stand-in of another family; else None."""
        family = self.config.get("slmprof_standin_family")
        return str(family) if self.config.get("slmprof_synthetic") and family is not None else None


def open_checkpoint(folder: Path) -> Checkpoint:
    """Read a directory's config and the headers of its safetensors files, or its pickles; no weights.

    Raises:
        UserError: something is missing, truncated, quantized, points outside the directory, or is a pickle that
            names more than tensors.
    """
    config = read_config(folder)
    method, settings = _with_modelopts(folder, _quantization_of(config)) or (None, {})
    names = weight_names(folder)
    is_read = method in METHODS
    if method in _AT_RUN_TIME or not (method is None or is_read or any(folder.glob(f"*{names.suffix}"))):
        raise _is_quantized(str(folder), str(method))
    tensors, note = _read_tensors(folder, names)
    notes = [note] if note else []
    if method is None:
        return Checkpoint(folder, config, tensors, tuple(notes))
    if not any(tensor.is_packed for tensor in tensors.values()):
        notes.append(f"{folder / 'config.json'} has settings of {method}, but its weights are plain: they are ignored")
        return Checkpoint(folder, config, tensors, tuple(notes))
    if not is_read:
        raise _is_quantized(str(folder), method)
    made = stored_tensors(tensors, method, settings)
    return Checkpoint(folder, config, made, tuple(notes), parts=tensors, method=method)


def refuse_quantized(config: dict[str, Any], name: str) -> None:
    """Refuse weights that another program quantized and that are not read, by their config alone.

    Raises:
        UserError: the config has settings of such a quantization.
    """
    found = _quantization_of(config)
    if found is not None and found[0] not in METHODS:
        raise _is_quantized(name, found[0])


def _quantization_of(config: dict[str, Any]) -> tuple[str, Settings] | None:
    """Return the method that a config says its weights were quantized with, and its settings; None if there is none."""
    for each in (config, config.get("text_config")):
        found = each.get("quantization_config") or each.get("quantization") if isinstance(each, dict) else None
        if isinstance(found, dict) and found:
            by_loading = "bitsandbytes" if found.get("load_in_4bit") or found.get("load_in_8bit") else "MLX"
            return str(found.get("quant_method") or by_loading)[:40], found
        if found:
            return str(found)[:40], {}
    return None


def _with_modelopts(folder: Path, found: tuple[str, Settings] | None) -> tuple[str, Settings] | None:
    """Return a config's method and settings with those of ModelOpt, which it may write into a file of its own.

    Source: prepare_tensors in conversion/base.py of the pinned llama.cpp.
    """
    path = folder / "hf_quant_config.json"
    method, settings = found or ("modelopt", {})
    is_complete = bool(settings.get("quant_algo") and settings.get("quantized_layers"))
    if method != "modelopt" or is_complete or not path.is_file():
        return found
    own = read_object(path).get("quantization")
    return method, {**settings, **(own if isinstance(own, dict) else {})}


def _is_quantized(name: str, method: str) -> UserError:
    return UserError(
        f"{name} is quantized already ({method}); use the checkpoint that it was made from, "
        f"one stored with {', '.join(METHODS[:-1])} or {METHODS[-1]}, or llama.cpp's own converter with --converter DIR"
    )


def read_config(folder: Path) -> dict[str, Any]:
    """Read config.json.

    Raises:
        UserError: it is missing, or no JSON object.
    """
    path = folder / "config.json"
    try:
        there = path.is_file()
    except OSError as error:
        raise UserError(f"cannot read {folder}: {error.strerror}") from error
    if not there:
        hint = what_else(folder) if folder.is_dir() else "pass a checkpoint's directory"
        raise UserError(f"{folder} has no config.json, so it is no checkpoint; {hint}")
    return read_object(path)


def _read_tensors(folder: Path, names: WeightNames) -> tuple[dict[str, Tensor], str | None]:
    """Return the tensors of the files that hold the weights, and a note where others are not used."""
    files = choose_weight_files(folder, names, _weight_map(folder, names))
    read = read_torch_file if names is PICKLED else read_header
    tensors: dict[str, Tensor] = {}
    for part in files.parts:
        for tensor in read(folder / part):
            if tensor.name in tensors:
                raise UserError(f"tensor {tensor.name} is in two files of {folder}; download the checkpoint again")
            tensors[tensor.name] = tensor
    if missing := set(files.expected) - set(tensors):
        raise UserError(
            f"{folder} lacks {len(missing)} tensors that its index names, such as {min(missing)}; "
            "download the checkpoint again"
        )
    return tensors, files.note


def _weight_map(folder: Path, names: WeightNames) -> dict[str, str] | None:
    """Return which file an index puts each tensor into; None without an index."""
    path = folder / names.index
    if not path.is_file():
        return None
    try:
        return _read_weight_map(path, names.suffix)
    except UserError:
        if (folder / names.single).is_file():
            return None  # the single file comes first, whatever the index says
        raise


def _read_weight_map(path: Path, suffix: str) -> dict[str, str]:
    found = read_object(path, MAX_HEADER_BYTES).get("weight_map")
    if not isinstance(found, dict) or not found:
        raise UserError(f"{path} has no weight_map; download it again")
    for name, part in found.items():
        if not isinstance(part, str) or Path(part).name != part or not part.endswith(suffix):
            raise UserError(f"{path} puts {name} into {part!r}, which is no file in this directory")
    return found
