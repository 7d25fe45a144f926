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
_SPEEDS = {"prefill_tps": "prefill", "decode_tps": "decode", "ttft_ms": "TTFT ms"}


class DecodeLimit(NamedTuple):
    """What this device's measured read bandwidth allows."""

    read_bytes_per_s: float
    n_threads: int

    def text(self, estimate: Estimate) -> str:
        """Return the tokens per second that one sequence, at one token per pass, cannot exceed."""
        found = estimate.decode_tps_limit(self.read_bytes_per_s)
        return "" if found is None else f"<~{found:.3g}"

    def allows(self, estimate: Estimate, required_tps: float) -> bool:
        """Return whether a speed is possible."""
        found = estimate.decode_tps_limit(self.read_bytes_per_s)
        return found is None or found >= required_tps


class Required(NamedTuple):
    """What an estimate must meet."""

    available_bytes: int
    memory_name: str  # where that comes from
    min_decode_tps: float | None = None


def may_reach(estimate: Estimate, required_tps: float | None, limit: DecodeLimit | None) -> bool:
    """Return whether a decode speed is possible: within the predicted range, else within the bandwidth."""
    if required_tps is None:
        return True
    if estimate.speeds is not None:
        return estimate.speeds.decode_tps.hi >= required_tps
    return limit is None or limit.allows(estimate, required_tps)


def render(estimates: Sequence[Estimate], required: Required, limit: DecodeLimit | None = None) -> Iterator[str]:
    """Yield the table, a line for each model and level, and the notes that explain it.

    Args:
        estimates: those of one model and level are adjacent.
        limit: None where the device's bandwidth was not measured, or speeds are predicted.
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
    rows = [head, *(_row(group, modes, outputs, required, limit) for group in groups.values())]
    for cells in columns(rows, [column for column, name in enumerate(head) if name in _LEFT]):
        yield "  ".join(cells).rstrip()
    yield ""
    if any(each.speeds for each in estimates):
        yield from _speed_lines([group[0] for group in groups.values()])
        yield ""
    yield from _notes(estimates, required)
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
    required: Required,
    limit: DecodeLimit | None,
) -> list[str]:
    first = group[0]
    by_mode = {each.config.load_mode: each for each in group}
    by_output = {each.config.n_outputs_max: each for each in group}
    return [
        _name(first),
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
        _verdict(first, required, limit),
    ]


def _speeds_of(estimates: Sequence[Estimate]) -> dict[str, str]:
    """Return the speeds that are predicted, each with its column's name."""
    found = [each.speeds for each in estimates if each.speeds is not None]
    return {name: head for name, head in _SPEEDS.items() if any(getattr(each, name) is not None for each in found)}


def _speed(estimate: Estimate, name: str) -> str:
    """Return a predicted figure and its range, like "~31.2 (26-37)"."""
    span = getattr(estimate.speeds, name, None)
    return "" if span is None else f"~{_short(span.value)} ({_short(span.lo)}-{_short(span.hi)})"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _verdict(estimate: Estimate, required: Required, limit: DecodeLimit | None) -> str:
    if not estimate.fits(required.available_bytes):
        return "no"
    if not may_reach(estimate, required.min_decode_tps, limit):
        return "too slow"
    speeds, least = estimate.speeds, required.min_decode_tps
    return "yes" if speeds is None or least is None or speeds.decode_tps.lo >= least else "perhaps"


def _name(estimate: Estimate) -> str:
    """Return a model's name with its marks, which the notes explain."""
    return estimate.model + ("†" if estimate.sizes.standin_family else "") + ("‡" if _is_synthetic(estimate) else "")


def _is_synthetic(estimate: Estimate) -> bool:
    """Return whether the file's weights are synthetic; those of a stand-in always are."""
    return estimate.sizes.weights != "real" and not estimate.sizes.standin_family


def _about(n_bytes: int) -> str:
    return f"~{n_bytes / MIB:,.1f}"


def _speed_lines(estimates: Sequence[Estimate]) -> Iterator[str]:
    """Yield the predicted speeds, each with its range, and what they are of."""
    names = _speeds_of(estimates)
    rows = [("model", "level", *names.values())]
    rows += [(_name(each), each.level.level, *(_speed(each, name) for name in names)) for each in estimates]
    for cells in columns(rows, left={0, 1}):
        yield "  ".join(cells).rstrip()
    yield ""
    load = next(each.speeds.load for each in estimates if each.speeds is not None)
    yield (
        f"Predicted (~) for {counted(load.n_threads, 'thread')} from what slmprof calibrate timed here: tokens/s of a "
        f"prompt of {load.n_prompt} tokens,"
    )
    yield (
        f"and of {load.n_gen} tokens decoded from depth {load.first_depth} on. Nine of ten measurements should be in "
        "the range."
    )


def _notes(estimates: Sequence[Estimate], required: Required) -> Iterator[str]:
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
    yield f"fits: in {format_bytes(required.available_bytes)}, {required.memory_name}."
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
