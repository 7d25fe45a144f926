"""Which files of a directory hold a checkpoint's weights, and what is there where none does.

Where there are several sets, the choice is that of transformers: safetensors before files of torch.save, and of both
kinds the single file before an index and its shards.
Source: _get_resolved_checkpoint_files in transformers' modeling_utils (4.57 and 5).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from quant.base.errors import UserError
from quant.base.text import one_line

_MAX_ADAPTER_BYTES = 1 << 20
_MAX_BASE_CHARS = 200
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
# What a trainer leaves beside a model's weights.
_TRAINERS = ("training_args.", "optimizer.", "scheduler.", "scaler.", "rng_state")


@dataclass(frozen=True)
class WeightNames:
    """The names of one kind of weights."""

    single: str
    index: str
    shards: str  # those of shards without an index, as a pattern
    suffix: str

    def are_in(self, folder: Path) -> bool:
        """Return whether a directory has weights of this kind."""
        return any((folder / name).is_file() for name in (self.single, self.index)) or any(folder.glob(self.shards))


SAFETENSORS = WeightNames(
    "model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors", ".safetensors"
)
PICKLED = WeightNames("pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*-of-*.bin", ".bin")


@dataclass(frozen=True)
class WeightFiles:
    """The chosen files, by name, in their order."""

    parts: tuple[str, ...]
    expected: tuple[str, ...] = ()  # the tensors that an index puts into them
    note: str | None = None  # on what is there too, and is not used


def weight_names(folder: Path) -> WeightNames:
    """Return the kind of weights that is used of a directory: pickled ones if there are no others."""
    return PICKLED if PICKLED.are_in(folder) and not SAFETENSORS.are_in(folder) else SAFETENSORS


def holds_weights(path: Path) -> bool:
    """Return whether a file is one that a conversion of its directory may read weights from."""
    if path.suffix == SAFETENSORS.suffix:
        return True
    is_pickle = path.suffix == PICKLED.suffix and not path.name.startswith(_TRAINERS)
    return is_pickle and weight_names(path.parent) is PICKLED


def choose_weight_files(folder: Path, names: WeightNames, weight_map: dict[str, str] | None) -> WeightFiles:
    """Choose among a directory's files of one kind.

    Args:
        weight_map: tensor -> file, of the index; None if there is no index.

    Raises:
        UserError: there are none, or one that the index names is missing.
    """
    single = names.single
    parts = tuple(sorted(set((weight_map or {}).values())))
    missing = [part for part in parts if not (folder / part).is_file()]
    if (folder / single).is_file() and (missing or single not in parts):
        both = bool(parts) and not missing
        note = (
            f"{folder} has two sets of weights; {single} is used, as transformers does, and the shards of "
            f"{names.index} not"
        )
        return WeightFiles((single,), note=note if both else None)
    if missing:
        raise UserError(
            f"{folder} lacks {missing[0]}, which its index names{_there_instead(folder, names, parts)}; "
            "download the checkpoint again"
        )
    if weight_map is not None:
        return WeightFiles(parts, tuple(weight_map))
    shards = tuple(sorted(path.name for path in folder.glob(names.shards)))
    if not shards:
        lacks = single if any(folder.glob(f"*{names.suffix}")) else "safetensors files"
        raise UserError(f"{folder} has no {lacks}; {what_else(folder)}")
    return WeightFiles(shards)


def _there_instead(folder: Path, names: WeightNames, parts: Sequence[str]) -> str:
    others = sorted(path.name for path in folder.glob(f"*{names.suffix}") if path.name not in parts)
    return f", but has {one_line(others[0], 80)}, which it does not name" if others else ""


def what_else(folder: Path) -> str:
    """Return what a directory without a checkpoint's files holds instead, and what to do."""
    names = sorted(path.name for path in folder.iterdir())
    tensors = [name for name in names if name.endswith(".safetensors")]
    pickles = [name for name in names if name.endswith(_PICKLES) and not name.startswith(_TRAINERS)]
    ggufs = [name for name in names if name.lower().endswith(".gguf")]
    if "adapter_config.json" in names or any(name.startswith("adapter_model.") for name in names):
        base = f" of {found}" if (found := base_of_adapter(folder)) else ""
        return f"it holds an adapter{base}; pass that model, and the adapter with --adapter {folder}"
    if consolidated := [name for name in tensors if name.startswith("consolidated")]:
        return (
            f"it holds {one_line(consolidated[0], 80)}, which is Mistral's own format; "
            "download config.json and the files model*.safetensors of the same model"
        )
    if tensors:
        return (
            f"it holds {one_line(tensors[0], 80)}, which transformers does not load either; "
            f"if these are all weights of the model, rename the file to {SAFETENSORS.single}"
        )
    if ggufs:
        return f"pass one of its GGUF files, like {folder / one_line(ggufs[0], 80)}"
    if pickles:
        return (
            f"it holds {one_line(pickles[0], 80)}, which transformers does not load either; use a repository with "
            f"{SAFETENSORS.single} or {PICKLED.single}"
        )
    return f"download {SAFETENSORS.single} too"


def base_of_adapter(folder: Path) -> str | None:
    """Return the base model that an adapter's config names: a hub id, or the path of its training."""
    path = folder / "adapter_config.json"
    try:
        if path.stat().st_size > _MAX_ADAPTER_BYTES:
            return None
        base = json.loads(path.read_bytes())["base_model_name_or_path"]
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return None
    return one_line(base, _MAX_BASE_CHARS) if isinstance(base, str) and base else None
