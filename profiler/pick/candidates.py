"""What could be chosen of one source, before any of it is downloaded or made: levels by their estimated sizes."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from profiler.analysis.memory_need import needed_bytes
from profiler.estimate.estimate import Estimate
from profiler.estimate.estimate_models import EstimateRequest, ModelEstimates
from profiler.pick.records import Entry
from profiler.records.config import RunConfig
from profiler.tables.format import level_names
from quant.base.units import format_bytes
from quant.sources.prepare import Prepared

_MAPPED = ("auto", "mmap", "mlock", "mmap+mlock")
REFERENCE = "F16"  # what quality is compared with


class Dropped(msgspec.Struct, frozen=True, kw_only=True):
    """A level that is not tried."""

    level: str
    why: str
    file_bytes: int | None = None  # estimated
    memory_bytes: int | None = None  # estimated


class Candidates(msgspec.Struct, frozen=True, kw_only=True):
    """The entries of one race, and the levels that do not take part."""

    model: str
    synthetic: bool
    entries: tuple[Entry, ...]
    configs: dict[str, RunConfig]  # by the entry's key
    dropped: tuple[Dropped, ...]
    files: dict[str, Prepared] = {}  # by level, where they are there already
    reference_need_bytes: int | None = None  # of the unquantized model; None where it was not estimated


def entry_key(level: str, config: RunConfig) -> str:
    """Name an entry: "Q4_K_M t2", with other threads in prefill "Q4_K_M t2/4"."""
    batch = "" if config.n_threads_batch == config.n_threads else f"/{config.n_threads_batch}"
    return f"{level} t{config.n_threads}{batch}"


def question(
    levels: str | None, config: RunConfig, *, with_reference: bool, with_graphs: bool = False
) -> EstimateRequest:
    """Return what to estimate: the levels, and the unquantized model where quality is measured."""
    if with_reference and levels is not None:
        levels = f"{levels},{REFERENCE}"
    return EstimateRequest(
        levels=levels,
        configs=(msgspec.structs.replace(config, load_mode="none"),),  # a mapped file would be read
        load_modes=("mmap",) if config.load_mode in _MAPPED else ("none",),
        with_graphs=with_graphs,
    )


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What a level needs in order to take part."""

    levels: Sequence[str] | None  # None: all that were estimated; others are there for their sizes only
    available_bytes: int
    has_imatrix: bool = False
    force: bool = False  # also what is predicted not to fit in memory
    synthetic: bool = False


def candidates_of(found: ModelEstimates, configs: Sequence[RunConfig], rules: Rules) -> Candidates:
    """Return an entry for each level that can be made and fits, and each setting."""
    wanted = [each for each in found.estimates if rules.levels is None or each.level.level in rules.levels]
    out = {each.level.level: why for each in wanted if (why := _refusal(each, rules))}
    synthetic = rules.synthetic or any(each.sizes.weights == "synthetic" for each in wanted)
    racing = [each for each in wanted if each.level.level not in out]
    sizes = [_Sizes(each.level.level, each.bpw, each.file_bytes, each.model_rss_bytes) for each in racing]
    dropped = [
        Dropped(
            level=each.level.level,
            why=out[each.level.level],
            file_bytes=each.file_bytes,
            memory_bytes=each.model_rss_bytes,
        )
        for each in wanted
        if each.level.level in out
    ]
    dropped += [Dropped(level=level, why=reason) for level, reason in found.refused]
    reference = next((each for each in found.estimates if each.level.level == REFERENCE), None)
    return Candidates(
        model=found.model,
        synthetic=synthetic,
        entries=_entries(sizes, configs, synthetic=synthetic),
        configs=_configs_by_key(sizes, configs),
        dropped=tuple(dropped),
        reference_need_bytes=reference.need_bytes if reference else None,
    )


def candidates_of_files(
    files: Sequence[Prepared], configs: Sequence[RunConfig], rules: Rules, memory_bytes: Mapping[str, int]
) -> Candidates:
    """Return the same of files of one model that are there already.

    Args:
        memory_bytes: the estimated peak, by the file's hash, where it is known.
    """
    names = level_names(file.artifact for file in files)
    facts = {names[file.artifact.sha256]: file.artifact for file in files}
    out = {
        level: why for level, each in facts.items() if (why := _lack(needed_bytes(each, configs[0]), rules)) is not None
    }
    synthetic = any(each.weights == "synthetic" for each in facts.values())
    sizes = [
        _Sizes(level, each.bpw, each.file_bytes, memory_bytes.get(each.sha256))
        for level, each in facts.items()
        if level not in out
    ]
    return Candidates(
        model=files[0].artifact.model,
        synthetic=synthetic,
        entries=_entries(sizes, configs, synthetic=synthetic),
        configs=_configs_by_key(sizes, configs),
        dropped=tuple(Dropped(level=level, why=why, file_bytes=facts[level].file_bytes) for level, why in out.items()),
        files={names[file.artifact.sha256]: file for file in files},
    )


class _Sizes(NamedTuple):
    """A level's sizes, estimated or of its file."""

    level: str
    bpw: float
    file_bytes: int
    memory_bytes: int | None


def _entries(sizes: Sequence[_Sizes], configs: Sequence[RunConfig], *, synthetic: bool) -> tuple[Entry, ...]:
    """Return an entry for each level and each setting."""
    return tuple(
        Entry(
            key=entry_key(each.level, config),
            level=each.level,
            n_threads=config.n_threads,
            n_threads_batch=config.n_threads_batch,
            bpw=each.bpw,
            file_bytes=each.file_bytes,
            # What a GPU holds is not estimated.
            memory_bytes=each.memory_bytes if config.device == "cpu" else None,
            synthetic=synthetic,
        )
        for each in sizes
        for config in configs
    )


def _configs_by_key(sizes: Sequence[_Sizes], configs: Sequence[RunConfig]) -> dict[str, RunConfig]:
    return {entry_key(each.level, config): config for each in sizes for config in configs}


def _refusal(each: Estimate, rules: Rules) -> str | None:
    if each.level.needs_imatrix and not rules.has_imatrix:
        return "needs an importance matrix; make one with slmprof imatrix, and pass --imatrix"
    return _lack(each.need_bytes, rules)


def _lack(need_bytes: int, rules: Rules) -> str | None:
    if need_bytes <= rules.available_bytes or rules.force:
        return None
    return f"needs about {format_bytes(need_bytes)} of memory, {format_bytes(rules.available_bytes)} are available"
