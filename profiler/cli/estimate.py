"""The command that tells size and memory of a model without its weights."""

from typing import TYPE_CHECKING, Any

import click

from profiler.cli.options import no_repack_option
from quant.base.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from profiler.device.bandwidth_record import Ceiling
    from profiler.estimate.ask import Found
    from profiler.estimate.table import Speed
    from profiler.records.config import RunConfig
    from quant.sources.resolve import Source

_PROCESSES = 2
_OUTPUTS = (1, 0)  # what a server needs, and llama-bench's and llama.cpp's own


@click.command()
@click.argument("sources", nargs=-1, metavar="SOURCE...")
@click.option("--all", "everything", is_flag=True, help="Every model of the registry.")
@click.option("--max-params", metavar="COUNT", help="With --all, only models up to this size, like 1B or 500M.")
@click.option("--family", metavar="NAME", help="With --all, only models of this family.")
@click.option("-q", "--levels", metavar="LEVELS",
              help="Quantization levels like Q4_K_M,Q8_0, or the groups all, k-quants, legacy, i-quants.  "
              "[default: Q4_0,Q4_K_M,Q5_K_M,Q6_K,Q8_0; a .gguf file as it is]")  # fmt: skip
@click.option("-t", "--threads", metavar="N", type=click.IntRange(1, 512), default=1, show_default=True,
              help="Threads: those whose bandwidth limits decode; else they change next to nothing.")  # fmt: skip
@click.option("--n-ctx", metavar="N", type=click.IntRange(1, 1 << 24), default=2048, show_default=True,
              help="Tokens that the KV cache has room for.")  # fmt: skip
@click.option("--batch", metavar="N", type=click.IntRange(1, 1 << 24), default=2048, show_default=True,
              help="Logical batch.")  # fmt: skip
@click.option("--ubatch", metavar="N", type=click.IntRange(1, 1 << 24), default=512, show_default=True,
              help="Physical batch.")  # fmt: skip
@click.option("--ctk", metavar="TYPE", default="f16", show_default=True, help="Type of the keys in the KV cache.")
@click.option("--ctv", metavar="TYPE", default="f16", show_default=True, help="Type of the values in the KV cache.")
@click.option("--fa", type=click.Choice(["on", "off", "auto"]), default="auto", show_default=True,
              help="Flash attention.")  # fmt: skip
@click.option("--load-mode", type=click.Choice(["both", "mmap", "none"]), default="both", show_default=True,
              help="How weights get into memory: mapped, or read (none).")  # fmt: skip
@no_repack_option
@click.option("--imatrix-mix", is_flag=True,
              help="Give every level the types that it has with an importance matrix; those that need one have them "
              "anyway.")  # fmt: skip
@click.option("--fits", metavar="SIZE",
              help="What must hold the model, like 4GiB; with --all, what does not fit is left out.  "
              "[default: the memory that this device has left]")  # fmt: skip
@click.option("--min-decode", metavar="TPS", type=click.FloatRange(min=0, min_open=True),
              help="Tokens per second that decode must be able to reach, by the bandwidth that slmprof doctor "
              "--bandwidth measured; with --all, what cannot is left out.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Write JSON, with the fields of slmprof export.")
def estimate(sources: tuple[str, ...], everything: bool, **options: Any) -> None:
    """Tell file size and memory of models at each level, without their weights.

    SOURCE is a name from slmprof models, a hub id like org/name (its config.json alone is fetched), a checkpoint's
    directory, a config.json, or a .gguf file. llama.cpp itself is asked: which type each tensor gets at a level, and
    which buffers it would set aside. Every figure is an estimate and marked with a tilde; slmprof profile measures.

    \b
    slmprof estimate qwen2.5-1.5b -q all
    slmprof estimate ./config.json -q Q4_K_M --n-ctx 8192 --ctk q8_0 --ctv q8_0
    slmprof estimate --all --fits 4GiB -q Q4_K_M --max-params 2B
    slmprof estimate --all --fits 4GiB -q Q4_K_M -t 4 --min-decode 8
    """
    from profiler.cli.progress.bar import progress_bar
    from profiler.device.bandwidth_record import load_ceiling
    from profiler.device.environment import available_memory_bytes, probe_backend, read_environment
    from profiler.estimate.ask import Wish, find_all
    from profiler.estimate.overheads import load_overheads
    from profiler.measure.repack_probe import repack_in_force
    from quant.base.units import parse_bytes
    from quant.sources.prepare import DEFAULT_LEVELS

    if options["levels"] is not None:
        from quant.gguf_io.levels import parse_levels

        parse_levels(options["levels"])
    chosen = _sources(sources, everything, options["max_params"], options["family"])
    room_bytes = parse_bytes(options["fits"]) if options["fits"] else available_memory_bytes()
    backend = probe_backend()
    repack = repack_in_force(not options["no_repack"])
    environment = read_environment(backend)
    wish = Wish(
        levels=options["levels"],
        default_levels=DEFAULT_LEVELS,
        configs=tuple(_config(options, n_outputs_max, repack) for n_outputs_max in _OUTPUTS),
        load_modes=("mmap", "none") if options["load_mode"] == "both" else (options["load_mode"],),
        always_imatrix=options["imatrix_mix"],
    )
    speed = _speed(load_ceiling(environment.id), options["threads"], options["min_decode"])
    overheads = load_overheads(environment.id, say=lambda line: click.echo(line, err=True))
    with progress_bar() as progress:
        found = find_all(chosen, wish, overheads, n_processes=_PROCESSES, tell=progress)
    if not everything and (skipped := next((each for each in found if each.skipped), None)):
        raise UserError(str(skipped.skipped))
    _tell_of_what_is_missing(found)
    estimates = [each for model in found for each in model.estimates]
    if everything and options["fits"]:
        estimates = [each for each in estimates if each.fits(room_bytes)]
    if everything and speed:
        estimates = [each for each in estimates if speed.allows(each)]
    if options["as_json"]:
        import msgspec

        from profiler.estimate.export import to_objects

        read = speed.read_bytes_per_s if speed else None
        objects = to_objects(estimates, env_id=environment.id, room_bytes=room_bytes, read_bytes_per_s=read)
        click.echo(msgspec.json.format(msgspec.json.encode(objects), indent=1).decode())
        return
    if not estimates:
        slower = ", a smaller --min-decode" if options["min_decode"] else ""
        raise UserError(f"nothing fits; ask for other levels, a smaller --n-ctx{slower} or more room")
    from profiler.estimate.table import render

    named = "given by --fits" if options["fits"] else "which this device has left now"
    for line in render(estimates, room_bytes, named, speed):
        click.echo(line)


def _speed(ceiling: "Ceiling | None", n_threads: int, least_tps: float | None) -> "Speed | None":
    from profiler.estimate.table import Speed

    read = ceiling.read_bytes_per_s(n_threads) if ceiling else None
    if read is not None:
        return Speed(read, n_threads, least_tps)
    if least_tps is not None and ceiling:
        counts = ", ".join(map(str, ceiling.thread_counts()))
        raise UserError(f"the read bandwidth was measured with {counts} threads, not with {n_threads}; give another -t")
    if least_tps is not None:
        raise UserError(
            "--min-decode needs to know how fast this device reads memory; measure it first: slmprof doctor --bandwidth"
        )
    return None


def _sources(
    sources: tuple[str, ...], everything: bool, max_params: str | None, family: str | None
) -> "Sequence[Source]":
    from quant.base.units import parse_count
    from quant.sources.registry import matching
    from quant.sources.resolve import Source, resolve

    if everything == bool(sources):
        raise UserError("give either sources, like slmprof estimate qwen2-0.5b, or --all")
    if not everything:
        if max_params or family:
            raise UserError("--max-params and --family choose from the registry; give --all with them")
        return [resolve(text) for text in sources]
    specs = matching(most_params=parse_count(max_params) if max_params else None, family=family)
    if not specs:
        raise UserError("no model fits; ask for less, or see slmprof models")
    return [
        Source(kind="registry", text=spec.name, spec=spec, repo=spec.repo, revision=spec.revision) for spec in specs
    ]


def _config(options: dict[str, Any], n_outputs_max: int, repack: bool) -> "RunConfig":
    """Give the settings of a context that is planned and never made; a mapped file would be read."""
    from profiler.records.config import CACHE_TYPES, base_config

    for name in ("ctk", "ctv"):
        if options[name] not in CACHE_TYPES:
            raise UserError(f"unknown --{name} '{options[name]}'; choose from {', '.join(CACHE_TYPES)}")
    return base_config(
        mode="request" if n_outputs_max else "separate",
        n_ctx=options["n_ctx"],
        n_batch=options["batch"],
        n_ubatch=min(options["ubatch"], options["batch"]),
        n_outputs_max=n_outputs_max,
        n_threads=options["threads"],
        type_k=options["ctk"],
        type_v=options["ctv"],
        flash_attn=options["fa"],
        load_mode="none",
        repack=repack,
    )


def _tell_of_what_is_missing(found: "Sequence[Found]") -> None:
    for model in found:
        if model.skipped:
            named = "" if model.model in model.skipped else f"{model.model}: "
            click.echo(f"left out: {named}{model.skipped}", err=True)
        for level, reason in model.refused:
            click.echo(f"left out: {model.model} at {level}: {reason}", err=True)
