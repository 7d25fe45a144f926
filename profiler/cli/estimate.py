"""`slmprof estimate`: file size and memory of models without their weights."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import click
import msgspec

from profiler.cli.options import levels_of, no_repack_option, number_option
from quant.base.errors import UserError
from quant.base.progress import say
from quant.base.text import pretty_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from profiler.device.bandwidth_record import Ceiling
    from profiler.estimate.estimate import Estimate
    from profiler.estimate.estimate_models import EstimateRequest, ModelEstimates
    from profiler.estimate.table import DecodeLimit
    from profiler.predict.speed import Load, Predictor
    from quant.sources.resolve import Source

_PROCESSES = 2
_OUTPUTS = (1, 0)  # n_outputs_max: what a server needs, and the default of llama-bench and llama.cpp


# --sort: the smallest or the fastest first; what has no speed comes last.
_ORDERS: "dict[str, Callable[[Estimate], float]]" = {
    "memory": lambda each: each.model_rss_bytes,
    "file": lambda each: each.file_bytes,
    "prefill": lambda each: -each.speeds.prefill_tps.value if each.speeds else 0.0,
    "decode": lambda each: -each.speeds.decode_tps.value if each.speeds else 0.0,
}


@dataclass(frozen=True, kw_only=True)
class EstimateOptions:
    """The options as typed."""

    everything: bool
    max_params: str | None
    family: str | None
    levels: str | None
    threads: int
    prompt: int | None
    n_ctx: int
    batch: int
    ubatch: int
    ctk: str
    ctv: str
    fa: str
    load_mode: str
    no_repack: bool
    imatrix_mix: bool
    fits: str | None
    min_decode: float | None
    workload: str | None
    depth: int
    sort: str | None
    as_json: bool


@click.command()
@click.argument("sources", nargs=-1, metavar="SOURCE...")
@click.option("--all", "everything", is_flag=True, help="Every model of the registry.")
@click.option("--max-params", metavar="COUNT", help="With --all, only models of at most this size, like 1B or 500M.")
@click.option("--family", metavar="NAME", help="With --all, only models of this family.")
@click.option(
    "-q",
    "--levels",
    metavar="LEVELS",
    help="Quantization levels like Q4_K_M,Q8_0, or the groups all, k-quants, legacy, i-quants.  "
    "[default: Q4_0,IQ4_NL,IQ4_XS,Q4_K_M,Q5_K_M,Q6_K,Q8_0; a .gguf file as it is]",
)
@number_option(
    "-t",
    "--threads",
    least=1,
    most=512,
    default=1,
    help="Threads of the predicted speeds; memory hardly depends on them.",
)
@number_option(
    "-p",
    "--prompt",
    least=1,
    most=1 << 24,
    help="Tokens of the longest prompt: one that is shorter than --ubatch uses less of the compute buffer.  "
    "[default: --ubatch]",
)
@click.option("--workload", metavar="NAME", help="Predict the speeds of bench, survey, chat, rag or summarize.")
@number_option("-d", "--depth", least=0, most=1 << 24, default=0, help="Tokens in the KV cache before the prompt.")
@number_option("--n-ctx", least=1, most=1 << 24, default=2048, help="Size of the KV cache, in tokens.")
@number_option("--batch", least=1, most=1 << 24, default=2048, help="Logical batch.")
@number_option("--ubatch", least=1, most=1 << 24, default=512, help="Physical batch.")
@click.option("--ctk", metavar="TYPE", default="f16", help="Type of the keys in the KV cache.")
@click.option("--ctv", metavar="TYPE", default="f16", help="Type of the values in the KV cache.")
@click.option("--fa", type=click.Choice(["on", "off", "auto"]), default="auto", help="Flash attention.")
@click.option(
    "--load-mode",
    type=click.Choice(["both", "mmap", "none"]),
    default="both",
    help="How weights are loaded: mapped, or read (none).",
)
@no_repack_option
@click.option(
    "--imatrix-mix",
    is_flag=True,
    help="Estimate every level with the types it has with an importance matrix; levels that need one always have them.",
)
@click.option(
    "--fits",
    metavar="SIZE",
    help="Memory that must hold the model, like 4GiB; with --all, models that do not fit are skipped.  "
    "[default: the memory that is available on this device]",
)
@click.option(
    "--min-decode",
    metavar="TPS",
    type=click.FloatRange(min=0, min_open=True),
    help="Tokens per second that decode must be able to reach: by slmprof calibrate, else by the bandwidth that "
    "slmprof doctor --bandwidth measured; with --all, slower models are skipped.",
)
@click.option(
    "--sort",
    type=click.Choice(["memory", "file", "prefill", "decode"]),
    help="Sort by a figure: the smallest, or the fastest, first.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON with the fields of slmprof export.")
def estimate(sources: tuple[str, ...], **options: Any) -> None:
    """Estimate file size, memory and speed of models at each level, without their weights.

    SOURCE is a name from slmprof models, a hub id like org/name (only its config.json is fetched), a checkpoint's
    directory, a config.json, or a .gguf file. llama.cpp itself decides which type each tensor gets at a level and which
    buffers it would allocate. Speeds are predicted from llama.cpp's own graph, once slmprof calibrate has timed this
    device. Every figure is an estimate, marked with a tilde; slmprof profile measures.

    \b
    slmprof estimate qwen2.5-1.5b -q all
    slmprof estimate ./config.json -q Q4_K_M --n-ctx 8192 --ctk q8_0 --ctv q8_0
    slmprof estimate --all --fits 4GiB -q Q4_K_M --max-params 2B
    slmprof estimate --all --fits 4GiB -q Q4_K_M -t 4 --min-decode 8 --sort decode
    slmprof estimate qwen2.5-0.5b --workload chat -t 2
    """
    print_estimates(sources, EstimateOptions(**options))


def print_estimates(names: tuple[str, ...], options: EstimateOptions) -> None:
    """Estimate models and print a table or JSON.

    Raises:
        UserError: an option or a named model cannot be used, or nothing fits.
    """
    from profiler.cli.progress.bar import progress_bar
    from profiler.device.bandwidth_record import load_ceiling
    from profiler.device.environment import available_memory_bytes, probe_backend, read_environment
    from profiler.estimate.estimate_models import estimate_all
    from profiler.estimate.overheads import load_overheads
    from profiler.estimate.table import may_reach
    from profiler.measure.repack_probe import repack_in_force
    from quant.base.units import parse_bytes

    levels_of(options.levels)
    sources = _sources(names, options)
    available_bytes = parse_bytes(options.fits) if options.fits else available_memory_bytes()
    backend = probe_backend()
    request = _request(options, repack_in_force(not options.no_repack))
    env_id = read_environment(backend).id
    predictor, why_none = _predictor(env_id, options)
    limit = None if predictor else _decode_limit(load_ceiling(env_id), options.threads, options.min_decode)
    if why_none:
        say(f"no speeds: this device is {why_none}")
    request = msgspec.structs.replace(request, with_graphs=predictor is not None)
    with progress_bar():
        models = estimate_all(sources, request, partial(load_overheads, env_id), n_processes=_PROCESSES)
    if not options.everything and (skipped := next((each.skipped for each in models if each.skipped), None)):
        raise UserError(skipped)
    _report_skipped(models)
    estimates = [
        msgspec.structs.replace(each, speeds=predictor.speeds(each.level.graphs)) if predictor else each
        for model in models
        for each in model.estimates
    ]
    if options.everything and options.fits:
        estimates = [each for each in estimates if each.fits(available_bytes)]
    if options.everything:
        estimates = [each for each in estimates if may_reach(each, options.min_decode, limit)]
    if options.sort:
        estimates.sort(key=_ORDERS[options.sort])
    if options.as_json:
        _print_json(estimates, env_id, available_bytes, limit)
    else:
        _print_table(estimates, options, available_bytes, limit)


def _sources(names: tuple[str, ...], options: EstimateOptions) -> "Sequence[Source]":
    from quant.base.units import parse_count
    from quant.sources.registry import matching
    from quant.sources.resolve import Source, resolve

    if options.everything == bool(names):
        raise UserError("name either sources, like slmprof estimate qwen2-0.5b, or --all")
    if not options.everything:
        if options.max_params or options.family:
            raise UserError("--max-params and --family select from the registry; use them with --all")
        return [resolve(name) for name in names]
    most = parse_count(options.max_params) if options.max_params else None
    specs = matching(most_params=most, family=options.family)
    if not specs:
        raise UserError("no model matches --max-params and --family; slmprof models lists them")
    return [
        Source(kind="registry", text=spec.name, spec=spec, repo=spec.repo, revision=spec.revision) for spec in specs
    ]


def _request(options: EstimateOptions, repack: bool) -> "EstimateRequest":
    from profiler.estimate.estimate_models import EstimateRequest
    from profiler.records.config import CACHE_TYPES, base_config

    for name, kind in (("ctk", options.ctk), ("ctv", options.ctv)):
        if kind not in CACHE_TYPES:
            raise UserError(f"unknown --{name} '{kind}'; choose from {', '.join(CACHE_TYPES)}")
    configs = tuple(
        base_config(
            mode="request" if n_outputs_max else "separate",
            n_prompt=options.prompt or (_load(options).n_prompt if options.workload else 0),
            n_ctx=options.n_ctx,
            n_batch=options.batch,
            n_ubatch=min(options.ubatch, options.batch),
            n_outputs_max=n_outputs_max,
            n_threads=options.threads,
            type_k=options.ctk,
            type_v=options.ctv,
            flash_attn=options.fa,
            load_mode="none",  # a mapped file would be read
            repack=repack,
        )
        for n_outputs_max in _OUTPUTS
    )
    return EstimateRequest(
        levels=options.levels,
        configs=configs,
        load_modes=("mmap", "none") if options.load_mode == "both" else (options.load_mode,),
        always_imatrix=options.imatrix_mix,
    )


def _load(options: EstimateOptions) -> "Load":
    """Return the load whose speed is predicted: a workload's, or a prompt and 128 tokens apart, as in llama-bench."""
    from profiler.measure.workloads import find_workload
    from profiler.predict.speed import Load

    workload = find_workload(options.workload or "bench")
    return Load(
        workload="custom" if options.prompt or options.depth else workload.name,
        n_prompt=options.prompt or workload.n_prompt,
        n_gen=workload.n_gen,
        n_depth=options.depth,
        is_request=workload.mode == "request",
        n_threads=options.threads,
        n_threads_batch=options.threads,
    )


def _predictor(env_id: str, options: EstimateOptions) -> "tuple[Predictor | None, str]":
    """Return what predicts speeds; without it, what this device is not and how to change that."""
    from profiler.calibration.keep import is_stale, load_calibration
    from profiler.predict.speed import Predictor

    load = _load(options)
    calibration = load_calibration(env_id)
    if calibration is None:
        stale = is_stale(env_id)
        why = "calibrated with another llama.cpp, kernel or governor" if stale else "not calibrated"
        return None, f"{why}; slmprof calibrate takes a minute"
    counts = calibration.thread_counts()
    if options.threads not in counts:
        measured = ", ".join(map(str, counts))
        return None, f"calibrated for {measured} threads; slmprof calibrate -t {options.threads}"
    return Predictor(calibration, load), ""


def _decode_limit(ceiling: "Ceiling | None", n_threads: int, min_tps: float | None) -> "DecodeLimit | None":
    from profiler.estimate.table import DecodeLimit

    read = ceiling.read_bytes_per_s(n_threads) if ceiling else None
    if read is not None:
        return DecodeLimit(read, n_threads)
    if min_tps is not None and ceiling:
        counts = ", ".join(map(str, ceiling.thread_counts()))
        raise UserError(f"the read bandwidth was measured with {counts} threads, not {n_threads}; choose another -t")
    if min_tps is not None:
        raise UserError("--min-decode needs this device's speed: run slmprof calibrate, or slmprof doctor --bandwidth")
    return None


def _report_skipped(models: "Sequence[ModelEstimates]") -> None:
    for model in models:
        if model.skipped:
            named = "" if model.model in model.skipped else f"{model.model}: "
            say(f"skipped: {named}{model.skipped}")
        for level, reason in model.refused:
            say(f"skipped: {model.model} at {level}: {reason}")


def _print_json(
    estimates: "Sequence[Estimate]", env_id: str, available_bytes: int, limit: "DecodeLimit | None"
) -> None:
    from profiler.estimate.export import to_objects

    read = limit.read_bytes_per_s if limit else None
    objects = to_objects(estimates, env_id=env_id, available_bytes=available_bytes, read_bytes_per_s=read)
    click.echo(pretty_json(objects))


def _print_table(
    estimates: "Sequence[Estimate]", options: EstimateOptions, available_bytes: int, limit: "DecodeLimit | None"
) -> None:
    from profiler.estimate.table import Required, render

    if not estimates:
        slower = ", a smaller --min-decode" if options.min_decode else ""
        raise UserError(f"nothing fits; choose other levels, a smaller --n-ctx{slower} or a larger --fits")
    memory = "set by --fits" if options.fits else "available on this device now"
    for line in render(estimates, Required(available_bytes, memory, options.min_decode), limit):
        click.echo(line)
