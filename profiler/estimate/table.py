"""Estimates as a table. Each figure has a tilde, which marks it as estimated."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from profiler.analysis.kv_cache import beyond_training
from profiler.estimate.estimate import Estimate
from profiler.tables.format import columns
from quant.base.text import counted
from quant.base.units import MIB, format_bytes, format_params

_HEAD = ("model", "params", "level", "bpw", "file", "weights", "repacked", "KV")
_LEFT = {"model", "level", "fits"}


class DecodeLimit(NamedTuple):
    """What this device's measured read bandwidth allows, and what the user requires."""

    read_bytes_per_s: float
    n_threads: int
    min_tps: float | None = None

    def text(self, estimate: Estimate) -> str:
        """Return the tokens per second that one sequence, at one token per pass, cannot exceed."""
        found = estimate.decode_tps_limit(self.read_bytes_per_s)
        return "" if found is None else f"<~{found:.3g}"

    def allows(self, estimate: Estimate) -> bool:
        """Return whether the required speed is possible."""
        found = estimate.decode_tps_limit(self.read_bytes_per_s)
        return self.min_tps is None or found is None or found >= self.min_tps


def render(
    estimates: Sequence[Estimate], available_bytes: int, memory_name: str, limit: DecodeLimit | None = None
) -> Iterator[str]:
    """Yield the table, a line for each model and level, and the notes that explain it.

    Args:
        estimates: those of one model and level are adjacent.
        memory_name: where `available_bytes` comes from.
        limit: None where the device's bandwidth was not measured.
    """
    groups: dict[tuple[str, str], list[Estimate]] = {}
    for each in estimates:
        groups.setdefault((each.model, each.level.level), []).append(each)
    modes = list(dict.fromkeys(each.config.load_mode for each in estimates))
    outputs = list(dict.fromkeys(each.config.n_outputs_max for each in estimates))
    head = [
        *_HEAD,
        *(f"compute[{n or 'all'}]" for n in outputs),
        "runtime",
        *(_sum_name(m) for m in modes),
        *(["decode"] if limit else []),
        "fits",
    ]
    rows = [head, *(_row(group, modes, outputs, available_bytes, limit) for group in groups.values())]
    for cells in columns(rows, [column for column, name in enumerate(head) if name in _LEFT]):
        yield "  ".join(cells).rstrip()
    yield ""
    yield from _notes(estimates, available_bytes, memory_name)
    if limit:
        giga = limit.read_bytes_per_s / 1e9
        yield (
            f"decode: tokens/s that reading the weights allows at most, at the {giga:.3g} GB/s that this device reads "
            f"with {counted(limit.n_threads, 'thread')};"
        )
        yield "The cache and arithmetic cost more; slmprof profile --weights synthetic measures the real speed."


def _sum_name(mode: str) -> str:
    return "sum, mmap" if mode == "mmap" else "sum, read"


def _row(
    group: Sequence[Estimate],
    modes: Sequence[str],
    outputs: Sequence[int],
    available_bytes: int,
    limit: DecodeLimit | None,
) -> list[str]:
    first = group[0]
    by_mode = {each.config.load_mode: each for each in group}
    by_output = {each.config.n_outputs_max: each for each in group}
    return [
        first.model + ("†" if first.sizes.standin_family else "") + ("‡" if _is_synthetic(first) else ""),
        format_params(first.level.n_params, first.level.n_params_active),
        first.level.level + ("*" if first.level.needs_imatrix else "+" if first.level.with_imatrix else ""),
        f"{first.bpw:.2f}",
        _about(first.file_bytes),
        _about(first.level.plain_bytes),
        _about(first.level.repacked_bytes) if first.level.repacked_bytes else "-",
        _about(first.context.kv_cache_bytes),
        *(_about(by_output[n].context.compute_bytes) for n in outputs),
        _about(first.runtime_bytes),
        *(_about(by_mode[mode].model_rss_bytes) for mode in modes),
        *([limit.text(first)] if limit else []),
        "no" if not first.fits(available_bytes) else "yes" if limit is None or limit.allows(first) else "too slow",
    ]


def _is_synthetic(estimate: Estimate) -> bool:
    """Return whether the file's weights are synthetic; those of a stand-in always are."""
    return estimate.sizes.weights != "real" and not estimate.sizes.standin_family


def _about(n_bytes: int) -> str:
    return f"~{n_bytes / MIB:,.1f}"


def _notes(estimates: Sequence[Estimate], available_bytes: int, memory_name: str) -> Iterator[str]:
    first = estimates[0]
    config = first.config
    flash = {True: "on", False: "off", None: "?"}[first.context.flash_attn]
    yield (
        f"Estimated (~) without weights, in MiB: n_ctx {config.n_ctx}, ubatch {config.n_ubatch}, "
        f"cache {config.type_k}/{config.type_v}, flash attention {flash}, {'' if config.repack else 'no '}repacking."
    )
    yield "weights: those in the file's own layout; repacked: those that llama.cpp repacks for this CPU."
    yield "compute[1], compute[all]: llama.cpp's buffer with room for the logits of one token, or of a whole batch."
    prompt = f"a prompt of {first.sizes.n_tokens} tokens" if config.n_prompt else "a whole physical batch"
    if first.sizes.touched_bytes is None:
        yield "All of it is in the sums: this build of llama.cpp does not plan what a smaller batch uses."
    else:
        yield f"Of either, only what {prompt} uses, with the logits of one token, is in the sums."
    yield "runtime: vocabulary, graph and libraries, measured on this device. file: with a header of usual size."
    yield "sum: the peak resident memory (model_rss_bytes), weights mapped or read. With mmap, repacked weights are"
    yield "resident twice, but the system can drop the file's pages: what must fit is the sum without them."
    yield f"fits: in {format_bytes(available_bytes)}, {memory_name}."
    trained = {each.model: each.sizes.n_ctx_train for each in estimates if each.sizes.n_ctx_train}
    yield from filter(None, (beyond_training(model, config.n_ctx, n_train) for model, n_train in trained.items()))
    if any(each.level.needs_imatrix for each in estimates):
        yield "*: needs an importance matrix; types as with one."
    if any(each.level.with_imatrix and not each.level.needs_imatrix for each in estimates):
        yield "+: types as with an importance matrix."
    if standins := {each.model: each.sizes for each in estimates if each.sizes.standin_family}:
        named = ", ".join(f"{name} as {sizes.arch}" for name, sizes in standins.items())
        yield f"†: llama.cpp cannot run it; estimated with another family's shape: {named}."
    if any(map(_is_synthetic, estimates)):
        yield "‡: synthetic weights."
