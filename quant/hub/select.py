"""Choose the files of a hub repository: a checkpoint's, or the GGUF files of the requested levels.

Nothing here uses the network. File names are untrusted: only plain names are chosen, never code, and pickles only where
a repository has no safetensors.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from quant.base.errors import UserError
from quant.base.units import format_bytes
from quant.convert.adapter.lora_config import CONFIG as ADAPTER_CONFIG
from quant.convert.adapter.lora_config import WEIGHTS as ADAPTER_WEIGHTS
from quant.convert.weight_files import PICKLED, SAFETENSORS, WeightNames
from quant.gguf_io.levels import LEVEL_BY_NAME

CONFIG = "config.json"
_SMALL = (
    CONFIG,
    "generation_config.json",
    "hf_quant_config.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "qwen.tiktoken",
    "hy.tiktoken",
    "rwkv_vocab_v20230424.txt",
    "tokenizer.jsonl",
    "chat_template.jinja",
    "chat_template.json",
    "README.md",  # it names the licence
)
_VOCABULARIES = (
    "tokenizer.json", "tokenizer.model", "qwen.tiktoken", "hy.tiktoken", "rwkv_vocab_v20230424.txt", "tokenizer.jsonl",
)  # fmt: skip
_SMALL_BYTES = 128 << 20  # the largest tokenizer.json known is 33 MiB (Gemma 3)
_OPTIONAL_BYTES = 4 << 20
_MAX_SHARDS = 10_000
_PLAIN = re.compile(r"[A-Za-z0-9_][\w.+ -]{0,250}")
_PICKLE = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.IGNORECASE)
# An image projector, an importance matrix or a draft head is not a model.
_NO_MODEL = re.compile(r"mmproj|imatrix|(^|[-_.])mtp([-_.]|$)", re.IGNORECASE)
_ALIASES = {"FP16": "F16", "FP32": "F32"}
# A level is a whole word: neither Q4_0 in Q4_0_4_4, nor Q4_K_M in UD-Q4_K_M, which is a different mix.
_LEVEL = re.compile(
    r"(?<![A-Za-z0-9])(?<!UD-)(?<!UD_)("
    + "|".join(sorted((*LEVEL_BY_NAME, *_ALIASES), key=len, reverse=True))
    + r")(?![A-Za-z0-9_])",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class RepoFile:
    """One file of a repository as the hub lists it."""

    path: str
    n_bytes: int
    blob: str | None = None  # its name in the `blobs` folder of the cache
    sha256: str | None = None  # known for large files


def is_plain(path: str) -> bool:
    """Return whether all names in a repository's path are plain."""
    return all(_PLAIN.fullmatch(part) and ".." not in part for part in path.split("/"))


def choose_small(repo: str, files: Sequence[RepoFile]) -> list[RepoFile]:
    """Choose config and tokenizer files, and the index of the weights where there is one.

    Raises:
        UserError: the repository holds no checkpoint that can be converted.
    """
    by_path = {file.path: file for file in files}
    if CONFIG not in by_path:
        raise UserError(f"{repo} has no {CONFIG}, so it is no checkpoint; {_advice(repo, files)}")
    kind = kind_of_weights(files)
    if kind is None:
        raise UserError(f"{repo} has no {SAFETENSORS.single}; {_advice(repo, files)}")
    if not any(name in by_path for name in _VOCABULARIES):
        raise UserError(
            f"{repo} has neither {' nor '.join(_VOCABULARIES)}; use a repository with its tokenizer, "
            "or a directory with both (OpenELM's tokenizer is Llama 2's)"
        )
    names = [*_SMALL, *([] if kind.single in by_path else [kind.index])]
    chosen = [by_path[name] for name in names if name in by_path]
    for file in chosen:
        _require_small(repo, file)
    return [file for file in chosen if file.path != "README.md" or file.n_bytes <= _OPTIONAL_BYTES]


def _require_small(repo: str, file: RepoFile) -> None:
    if file.n_bytes > _SMALL_BYTES:
        raise UserError(f"{file.path} of {repo} has {format_bytes(file.n_bytes)}, more than any such file needs")


def is_adapter(files: Sequence[RepoFile]) -> bool:
    """Return whether a repository holds an adapter of peft, and no weights of a model."""
    return any(file.path == ADAPTER_CONFIG for file in files) and kind_of_weights(files) is None


def choose_adapter(repo: str, files: Sequence[RepoFile]) -> tuple[RepoFile, RepoFile]:
    """Choose an adapter's config and its weights: safetensors, or else pickled ones.

    Raises:
        UserError: the repository holds no adapter.
    """
    by_path = {file.path: file for file in files}
    if ADAPTER_CONFIG not in by_path:
        raise UserError(f"{repo} has no {ADAPTER_CONFIG}; choose the repository of a LoRA adapter that peft saved")
    weights = next((by_path[name] for name in ADAPTER_WEIGHTS if name in by_path), None)
    if weights is None:
        raise UserError(f"{repo} has no {ADAPTER_WEIGHTS[0]}; choose another revision of it")
    _require_small(repo, by_path[ADAPTER_CONFIG])
    return by_path[ADAPTER_CONFIG], weights


def kind_of_weights(files: Sequence[RepoFile]) -> WeightNames | None:
    """Return the kind of weights to download: safetensors where there are any, else pickled ones; None for neither."""
    there = {file.path for file in files}
    return next((kind for kind in (SAFETENSORS, PICKLED) if there & {kind.single, kind.index}), None)


def choose_weights(repo: str, files: Sequence[RepoFile], kind: WeightNames, index: bytes | None) -> list[RepoFile]:
    """Choose the main model's weights of one kind: the single file, or the shards that the index names.

    Raises:
        UserError: the index is damaged, or names a file that is not there.
    """
    by_path = {file.path: file for file in files}
    if index is None:
        return [by_path[kind.single]]
    names = index_shards(repo, kind, index)
    if missing := [name for name in names if name not in by_path]:
        raise UserError(f"{repo} lacks {missing[0]}, which its {kind.index} names; choose another revision of it")
    return [by_path[name] for name in names]


def index_shards(repo: str, kind: WeightNames, index: bytes) -> list[str]:
    """Read the names of the shards from an index of weights.

    Raises:
        UserError: it is no index, or its names are not plain names of files of that kind.
    """
    try:
        names = sorted(set(json.loads(index)["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"the {kind.index} of {repo} is damaged; choose another revision of it") from error
    for name in names:
        if not isinstance(name, str) or "/" in name or not is_plain(name) or not name.endswith(kind.suffix):
            raise UserError(
                f"the {kind.index} of {repo} names {str(name)[:80]!r}, which is no {kind.suffix} file beside it"
            )
    if not 0 < len(names) <= _MAX_SHARDS:
        raise UserError(f"the {kind.index} of {repo} names {len(names)} files; choose another revision of it")
    return names


def _advice(repo: str, files: Sequence[RepoFile]) -> str:
    """Return what a repository without safetensors holds instead, and what to do."""
    paths = [file.path for file in files]
    if any(path.lower().endswith(".gguf") for path in paths):
        return "it holds GGUF files: pass it to profile or run with -q LEVELS"
    if ADAPTER_CONFIG in paths:
        return f"it holds an adapter: pass its base model, which slmprof pull {repo} names, and --adapter {repo}"
    pickles = sorted(path for path in paths if path.endswith(_PICKLE))
    if pickles and not any(path.endswith(".safetensors") for path in paths):
        return f"it holds {pickles[0]}, which transformers does not load either; look for a copy with safetensors"
    return "use the repository of a language model with safetensors"


def model_ggufs(files: Iterable[RepoFile]) -> list[RepoFile]:
    """Choose the GGUF files that are models or shards of models."""
    return [
        file
        for file in files
        if file.path.lower().endswith(".gguf") and is_plain(file.path) and not _NO_MODEL.search(_name(file.path))
    ]


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def level_of_name(path: str) -> str | None:
    """Return the level in a GGUF file's name, else in its folder's; None if neither has one."""
    folder, _, name = path.rpartition("/")
    for text in (name.removesuffix(".gguf").removesuffix(".GGUF"), folder.rpartition("/")[2]):
        if found := _LEVEL.findall(text):
            level = str(found[-1]).upper()
            return _ALIASES.get(level, level)
        if re.search(r"(?<![A-Za-z0-9])I?Q\d_|UD[-_]", text, re.IGNORECASE):
            return None  # an unknown level must not be replaced by its folder's
    return None


def choose_ggufs(repo: str, files: Iterable[RepoFile], levels: Sequence[str] | None) -> dict[str, list[RepoFile]]:
    """Choose each level's file, or all its shards in order.

    Args:
        levels: the requested levels; None chooses the only one there is.

    Raises:
        UserError: a level is missing, exists more than once, or lacks a shard; or `levels` is None and there are
            several.
    """
    candidates: dict[str, dict[str, list[RepoFile]]] = {}
    others = 0
    for key, group in _groups(model_ggufs(files)).items():
        level = level_of_name(key)
        if level is None:
            others += 1
        else:
            candidates.setdefault(level, {})[key] = group
    there = ", ".join(level for level in LEVEL_BY_NAME if level in candidates) or "no level in its file names"
    there += f" (and {others} of other or unknown levels)" if others else ""
    if levels is None:
        if len(candidates) != 1:
            raise UserError(f"{repo} holds {there}; choose with -q")
        levels = list(candidates)
    chosen = {}
    for level in levels:
        if level not in candidates:
            raise UserError(f"{repo} holds no {level}; it holds {there}")
        if len(candidates[level]) > 1:
            names = ", ".join(sorted(candidates[level]))
            raise UserError(f"{repo} holds {level} more than once ({names}); download the right one and pass its path")
        chosen[level] = _whole(repo, *candidates[level].popitem())
    return chosen


def _groups(ggufs: Iterable[RepoFile]) -> dict[str, list[RepoFile]]:
    """Group the shards of each file under its name without a shard's number."""
    groups: dict[str, list[RepoFile]] = {}
    for file in ggufs:
        match = _SHARD.fullmatch(file.path)
        groups.setdefault(f"{match['stem']}.gguf" if match else file.path, []).append(file)
    return groups


def _whole(repo: str, key: str, group: list[RepoFile]) -> list[RepoFile]:
    shards = sorted(group, key=lambda file: file.path)
    if len(shards) == 1 and shards[0].path == key:
        return shards
    if any(file.path == key for file in shards):
        raise UserError(f"{repo} holds {key} whole and in shards; download the right one and pass its path")
    match = _SHARD.fullmatch(shards[0].path)
    assert match is not None
    count = int(match["count"])
    names = {file.path for file in shards}
    expected = [
        f"{match['stem']}-{number:05d}-of-{match['count']}.gguf" for number in range(1, min(count, len(shards)) + 1)
    ]
    if len(shards) != count or set(expected) != names:
        raise UserError(f"{repo} lacks a shard of {key}: {len(shards)} of {count} are there; choose another revision")
    return shards
