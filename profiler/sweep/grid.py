"""From lists of settings to cells: lists are crossed, or paired, and every default is filled in here."""

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from profiler.measure.workloads import WORKLOADS, Workload, find_workload
from profiler.records.config import CACHE_TYPES, LOAD_MODES, MAX_THREADS, Cell, RunConfig, base_config
from profiler.sweep.thread_search import AUTO
from quant.base.errors import UserError
from quant.base.ints import MAX_TOKENS

_BENCH = WORKLOADS["bench"]


class Axes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Lists of settings: a cell is made for each combination."""

    workload: tuple[str, ...] = ("bench",)
    prompt: tuple[int, ...] = ()  # with gen or depth: the user's own token counts instead of a workload
    gen: tuple[int, ...] = ()
    depth: tuple[int, ...] = ()
    threads: tuple[int, ...]  # AUTO is resolved by profiler/sweep/thread_choice.py
    threads_batch: tuple[int, ...] = ()  # empty: same as threads
    cores: tuple[int, ...] | None = None
    batch: tuple[int, ...] = (2048,)
    ubatch: tuple[int, ...] = (512,)
    n_ctx: tuple[int, ...] = ()  # empty: the workload's own, or as large as the tokens need
    outputs_max: tuple[int, ...] = ()  # empty: 1 in request mode, 0 in separate mode
    ctk: tuple[str, ...] = ("f16",)
    ctv: tuple[str, ...] = ("f16",)
    fa: tuple[str, ...] = ("auto",)
    load_mode: tuple[str, ...] = ("auto",)
    repack: tuple[bool, ...] = (True,)
    device: tuple[str, ...] = ("cpu",)
    ngl: tuple[int, ...] = (-1,)


_LISTS = tuple(name for name in Axes.__struct_fields__ if name != "cores")
_COUNTS = ("prompt", "gen", "depth")
_PAIRED = ("workload", *_COUNTS, "threads", "threads_batch", "batch", "ubatch", "n_ctx")


def default_threads(physical_cores: int) -> tuple[int, ...]:
    """Return 1, 2, 4, ... and the number of physical cores itself."""
    powers = [1 << exponent for exponent in range(physical_cores.bit_length()) if 1 << exponent <= physical_cores]
    return tuple(dict.fromkeys([*powers, physical_cores]))


def expand(axes: Axes, artifacts: Iterable[str], *, zipped: bool = False) -> list[Cell]:
    """Return the cells of every file under every combination, each once.

    Raises:
        UserError: a value is out of bounds, or the lists cannot be paired.
    """
    _check(axes)
    configs = [_config(axes, row) for row in _rows(axes, zipped)]
    cells = [Cell(artifact_sha256=sha256, config=config) for sha256 in artifacts for config in configs]
    return list({cell.key: cell for cell in cells}.values())


def _rows(axes: Axes, zipped: bool) -> list[dict[str, Any]]:
    lists: dict[str, Sequence[Any]] = {name: getattr(axes, name) for name in _LISTS}
    if axes.prompt or axes.gen or axes.depth:
        lists["workload"] = ("custom",)
        lists["prompt"] = axes.prompt or (_BENCH.n_prompt,)
        lists["gen"] = axes.gen or (_BENCH.n_gen,)
        lists["depth"] = axes.depth or (0,)
    filled = {name: values or (None,) for name, values in lists.items()}
    if not zipped:
        return [dict(zip(filled, row, strict=True)) for row in itertools.product(*filled.values())]
    length = max(len(filled[name]) for name in _PAIRED)
    uneven = {name: len(filled[name]) for name in _PAIRED if len(filled[name]) not in (1, length)}
    if uneven:
        named = ", ".join(f"{name} has {count}" for name, count in uneven.items())
        raise UserError(f"--zip pairs lists of one length: the longest has {length}, {named}")
    crossed = {name: values for name, values in filled.items() if name not in _PAIRED}
    paired = [
        {name: filled[name][index if len(filled[name]) > 1 else 0] for name in _PAIRED} for index in range(length)
    ]
    rest = [dict(zip(crossed, row, strict=True)) for row in itertools.product(*crossed.values())]
    return [pair | other for other in rest for pair in paired]


def _config(axes: Axes, row: dict[str, Any]) -> RunConfig:
    if row["workload"] == "custom":
        load, n_depth = Workload(name="custom", mode="separate", n_prompt=row["prompt"], n_gen=row["gen"]), row["depth"]
    else:
        load, n_depth = find_workload(row["workload"]), 0
    if not load.n_prompt and not load.n_gen:
        raise UserError("-p 0 with -n 0 measures nothing; set at least one of them to a number of tokens")
    config = base_config(
        mode=load.mode,
        workload=load.name,
        n_prompt=load.n_prompt,
        n_gen=load.n_gen,
        n_depth=n_depth,
        n_batch=row["batch"],
        n_ubatch=min(row["ubatch"], row["batch"]),
        # A request needs the logits of its last token only; llama-bench leaves room for those of a whole batch.
        n_outputs_max=int(load.mode == "request") if row["outputs_max"] is None else row["outputs_max"],
        n_threads=row["threads"],
        n_threads_batch=row["threads_batch"] or row["threads"],
        cores=axes.cores,
        type_k=row["ctk"],
        type_v=row["ctv"],
        flash_attn=row["fa"],
        load_mode=row["load_mode"],
        repack=row["repack"],
        device=row["device"],
        n_gpu_layers=row["ngl"] if row["device"] == "gpu" else 0,
    )
    n_ctx, needed = row["n_ctx"], config.needed_n_ctx
    if n_ctx is not None and n_ctx < needed:
        raise UserError(f"--n-ctx {n_ctx} is too small: {load.name} puts {needed} tokens into the cache")
    return msgspec.structs.replace(config, n_ctx=n_ctx or load.n_ctx or needed)


def _check(axes: Axes) -> None:
    for name in axes.workload:
        find_workload(name)
    bounds = {
        "threads": (1, MAX_THREADS),
        "threads_batch": (1, MAX_THREADS),
        "batch": (1, MAX_TOKENS),
        "ubatch": (1, MAX_TOKENS),
        "n_ctx": (1, MAX_TOKENS),
        "prompt": (0, MAX_TOKENS),
        "gen": (0, MAX_TOKENS),
        "depth": (0, MAX_TOKENS),
        "outputs_max": (0, MAX_TOKENS),
        "ngl": (-1, 10_000),
    }
    for name, (least, most) in bounds.items():
        for value in getattr(axes, name):
            if not least <= value <= most:
                raise UserError(f"{name} must be from {least} to {most}, not {value}")
    choices = {
        "ctk": tuple(CACHE_TYPES),
        "ctv": tuple(CACHE_TYPES),
        "fa": ("on", "off", "auto"),
        "load_mode": LOAD_MODES,
        "device": ("cpu", "gpu"),
    }
    for name, known in choices.items():
        for value in getattr(axes, name):
            if value not in known:
                raise UserError(f"unknown {name} '{value}'; choose from {', '.join(known)}")
    if set(axes.ngl) != {-1} and "gpu" not in axes.device:
        raise UserError("--ngl chooses layers for the GPU; add --device gpu, or omit it")


def read_sweep(path: Path, base: Axes) -> list[Axes]:
    """Read a sweep file: each [[sweep]] table replaces some of the command line's lists.

    Raises:
        UserError: the file cannot be read, or has an unknown key or value.
    """
    import tomllib

    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"cannot read the sweep file {path}: {error}") from error
    tables = data.get("sweep")
    if set(data) != {"sweep"} or not isinstance(tables, list) or not tables:
        raise UserError(f"{path} is not a sweep file; it must hold one or more [[sweep]] tables and nothing else")
    axes = []
    for number, table in enumerate(tables, 1):
        try:
            axes.append(msgspec.convert(msgspec.to_builtins(base) | _lists_of(table), Axes))
        except (ValueError, UserError) as error:
            raise UserError(f"[[sweep]] {number} of {path}: {error}") from error
    return axes


def _lists_of(table: dict[str, Any]) -> dict[str, Any]:
    """Return what a [[sweep]] table replaces, as the fields of `Axes`."""
    from profiler.device.affinity import read_cores

    lists = {key.replace("-", "_"): value if isinstance(value, list) else [value] for key, value in table.items()}
    known = Axes.__struct_fields__
    if unknown := set(lists) - set(known):
        raise UserError(f"unknown key '{min(unknown)}'; known are {', '.join(known)}")
    for name in {"threads", "threads_batch"} & set(lists):
        if AUTO in lists[name]:
            raise UserError(f"{name} must be from 1 to {MAX_THREADS}, or auto")
        lists[name] = [AUTO if value == "auto" else value for value in lists[name]]
    if "cores" in lists:
        lists["cores"] = list(read_cores(",".join(map(str, lists["cores"]))))
    if "workload" not in lists:
        return lists
    if counts := [name for name in _COUNTS if name in lists]:
        raise UserError(f"a workload has its own token counts; set either workload or {counts[0]}")
    return dict.fromkeys(_COUNTS, ()) | lists  # the command line's counts do not apply
