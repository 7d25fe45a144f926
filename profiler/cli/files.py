"""The commands that make and keep files: models, cache, pull, synthesize, convert, quantize."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from profiler.cli.options import imatrix_option, pre_option
from quant.base.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quant.base.progress import Progress
    from quant.convert.origin import Origin
    from quant.sources.registry import ModelSpec

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("text", required=False)
@click.option("--json", "as_json", is_flag=True, help="Write JSON, with every field.")
@click.option("--max-params", metavar="COUNT", help="Only models up to this size, like 1B or 500M.")
@click.option("--family", metavar="NAME", help="Only models of this family, like llama or qwen2.")
@click.option("--supported", is_flag=True, help="Only models that llama.cpp runs themselves, no stand-ins.")
def models(text: str | None, as_json: bool, max_params: str | None, family: str | None, supported: bool) -> None:
    """List the models that are known by name, smallest first; with TEXT those that it is part of.

    TEXT is looked for in names, repositories, families and licences. A model whose architecture llama.cpp lacks runs
    "as" another family with the same tensors and cost, its stand-in, and only with --weights synthetic; "no" means that
    nothing stands in for it.

    \b
    slmprof models --max-params 1B
    slmprof models qwen --supported
    slmprof models opt-125m
    """
    from profiler.cli.registry import details, listing
    from quant.base.units import parse_count
    from quant.sources.registry import lookup, matching

    most = parse_count(max_params) if max_params else None
    chosen = matching(text, most_params=most, family=family, supported=supported)
    if as_json:
        import msgspec

        fields = [msgspec.to_builtins(spec) | {"supported": spec.supported} for spec in chosen]
        click.echo(msgspec.json.format(msgspec.json.encode(fields), indent=1).decode())
        return
    if not chosen:
        raise UserError("no model fits; ask for less, or see slmprof models")
    for line in listing(chosen):
        click.echo(line)
    meant = chosen[0] if len(chosen) == 1 else lookup(text) if text else None
    if meant is not None and meant in chosen:
        for line in details(meant):
            click.echo(line)
    elif sys.stdout.isatty():
        _say(_told(chosen))


def _told(chosen: "Sequence[ModelSpec]") -> str:
    standins = sum(spec.standin is not None for spec in chosen)
    without = sum(not spec.supported and spec.standin is None for spec in chosen)
    told = [f"{len(chosen)} models"]
    told += [f"{standins} only as a stand-in"] if standins else []
    told += [f"{without} not at all"] if without else []
    return f"{', '.join(told)}; all that is known of one: slmprof models {chosen[0].name}"


@click.command()
@click.argument("action", type=click.Choice(["path", "list", "clean"]), default="list")
@click.option("--yes", is_flag=True, help="Clean without asking.")
def cache(action: str, yes: bool) -> None:
    """Show what is kept and its size (list), name the folder (path), or empty it (clean).

    Kept are GGUF files made by slmprof profile, and facts about files and this device; all of it
    is made again when it is needed. Checkpoints fetched from a hub are in the Hugging Face cache, and stay there.

    \b
    slmprof cache
    slmprof cache clean
    """
    from quant.base.cache import clean, entries
    from quant.base.files import cache_dir
    from quant.base.units import format_bytes

    if action == "path":
        click.echo(cache_dir())
        return
    kept = entries()
    if action == "list":
        from datetime import datetime

        for entry in kept:
            day = datetime.fromtimestamp(entry.changed_s).strftime("%Y-%m-%d")
            click.echo(f"{format_bytes(entry.n_bytes):>10}  {day}  {entry.name}  ({entry.about})")
        click.echo(f"{format_bytes(sum(entry.n_bytes for entry in kept)):>10}  in {cache_dir()}")
        return
    total = format_bytes(sum(entry.n_bytes for entry in kept))
    if not yes:
        if not sys.stdin.isatty():
            raise UserError("cache clean asks first, and nobody is there to answer; add --yes")
        click.confirm(f"remove {len(kept)} entries, {total}, from {cache_dir()}?", abort=True, err=True)
    click.echo(f"removed {format_bytes(clean())}", err=True)


@click.command()
@click.argument("source")
@click.option(
    "-q", "--levels", metavar="LEVELS", help="From a repository of GGUF files, fetch these and print their paths."
)
def pull(source: str, levels: str | None) -> None:
    """Fetch a checkpoint from a Hugging Face hub and print its directory.

    Only config, tokenizer and safetensors files are fetched, of one commit, into the Hugging Face cache (HF_HOME).
    HF_TOKEN opens gated repositories; HF_ENDPOINT names another hub; HF_HUB_OFFLINE=1 uses the cache alone.

    \b
    slmprof pull smollm2-135m
    slmprof pull org/name@revision
    slmprof pull org/name-GGUF -q Q4_K_M
    """
    from profiler.cli.progress.bar import progress_bar
    from quant.gguf_io.levels import parse_levels
    from quant.sources.resolve import resolve

    found = resolve(source)
    if found.repo is None:
        raise UserError(f"{source} is a local path already; pull takes a model's name or a hub id like org/name")
    wanted = parse_levels(levels) if levels else None
    from quant.hub import fetch as hub

    with progress_bar() as progress:
        if wanted is None:
            paths = [hub.pull(found.repo, found.revision, progress=progress, say=_say).path]
        else:
            files = hub.pull_ggufs(found.repo, wanted, found.revision, progress=progress, say=_say)
            paths = [path for shards in files.values() for path in shards]
    for path in paths:
        click.echo(path)


def _say(line: str) -> None:
    click.echo(line, err=True)


@click.command()
@click.argument("source")
@click.option("-o", "--output", type=_PATH, required=True,
              help="The new checkpoint's directory; with -q a .gguf file, or a directory for several.")  # fmt: skip
@click.option("-q", "--levels", metavar="LEVELS",
              help="Make GGUF files at these levels, like Q4_K_M,Q8_0 or all, and no checkpoint.")  # fmt: skip
@imatrix_option
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), metavar="N", default=0, show_default=True,
              help="Decides the random weights.")  # fmt: skip
def synthesize(source: str, output: Path, levels: str | None, imatrix: Path | None, seed: int) -> None:
    """Make a checkpoint or GGUF files in the shape of a model, with random weights and a tokenizer of the full size.

    Nothing but config.json is fetched, and for a name from slmprof models not even that. The GGUF files have each
    tensor's type from llama.cpp itself and run as fast as real ones; they are marked as synthetic, inside and by name.

    \b
    slmprof synthesize qwen2-0.5b -q Q4_K_M -o qwen2-synthetic.gguf
    slmprof synthesize qwen2-0.5b -q k-quants -o models/
    slmprof synthesize ./config.json -o my-checkpoint
    """
    from profiler.cli.progress.bar import progress_bar
    from quant.sources.prepare import model_name, shape_config
    from quant.sources.resolve import resolve

    if levels is None and imatrix is not None:
        raise UserError("--imatrix is for GGUF files; name their levels with -q")
    if levels is None and output.suffix == ".gguf":
        raise UserError(f"-o {output} is a GGUF file, whose level is not told; add -q, like -q Q4_K_M")
    if levels is not None:
        _require_room_for(levels, output)
    found = resolve(source)
    with progress_bar() as progress:
        config, name = shape_config(found, progress), model_name(found, None)
        if levels is None:
            from quant.synthetic.checkpoint import synthesize as make

            paths = [make(config, output, standin_for=name, seed=seed, progress=progress)]
        else:
            from quant.synthetic.gguf import synthesize_levels

            paths = synthesize_levels(
                config, levels, output, standin_for=name, seed=seed, imatrix=imatrix, progress=progress
            )
    for path in paths:
        click.echo(path)


def _require_room_for(levels: str, output: Path) -> None:
    from quant.gguf_io.levels import parse_levels

    n_levels = len(parse_levels(levels))
    if output.suffix == ".gguf" and n_levels > 1:
        raise UserError(f"{n_levels} levels do not fit into one file; give -o a directory")


@click.command()
@click.argument("source")
@click.option("-o", "--output", type=_PATH, required=True, help="The .gguf file; with several levels, a directory.")
@click.option("--outtype", type=click.Choice(["auto", "f32", "bf16", "f16"]), default="auto", show_default=True,
              help="Type of the matrices. auto keeps a 16-bit checkpoint's own.")  # fmt: skip
@click.option("-q", "--levels", metavar="LEVELS", help="Quantize to these levels, like Q4_K_M,Q8_0, all or k-quants.")
@imatrix_option
@pre_option
@click.option(
    "--converter",
    metavar="DIR",
    type=_PATH,
    help="Use llama.cpp's own converter in DIR, a folder of its sources. This runs the code in DIR.",
)
@click.option("--converter-python", metavar="FILE", default="python3", show_default=True,
              help="The interpreter that --converter runs in; it needs torch and transformers.")  # fmt: skip
def convert(
    source: str,
    output: Path,
    outtype: str,
    levels: str | None,
    imatrix: Path | None,
    pre: str | None,
    converter: Path | None,
    converter_python: str,
) -> None:
    """Turn a checkpoint into a GGUF file; with levels straight into theirs, without an unquantized one in between.

    SOURCE is a checkpoint's directory, a name from slmprof models, or a hub id like org/name. Beside each file a note,
    FILE.provenance.json, tells the sha256 of every file that it was made of. In a directory the files are named by
    gguf's convention: base name, size, fine-tune, version, level, as in SmolLM2-135M-Instruct-Q4_K_M.gguf.

    \b
    slmprof convert ./checkpoint -o model.gguf
    slmprof convert smollm2-135m -q Q4_K_M -o model.gguf
    slmprof convert smollm2-135m -q Q4_K_M,Q8_0 -o models/
    """
    from profiler.cli.progress.bar import progress_bar
    from quant.convert.origin import Origin
    from quant.convert.provenance import inputs_of, write_notes
    from quant.convert.to_gguf import convert as make
    from quant.sources.prepare import checkpoint_of, model_name
    from quant.sources.resolve import resolve

    found = resolve(source)
    if levels is None and output.suffix != ".gguf":
        raise UserError(f"-o {output} must end in .gguf; give a file's name")
    if levels is not None:
        _require_room_for(levels, output)
        if outtype != "auto":
            raise UserError("--outtype is for the unquantized file; with -q write F16, BF16 or F32 among the levels")
    if found.spec is not None and converter is None:
        found.spec.require_supported()
    with progress_bar() as progress:
        folder, commit = checkpoint_of(found, progress, any_family=converter is not None)
        origin = Origin(model=model_name(found, folder), source=found.repo if commit else None, revision=commit)
        if converter is not None:
            paths = _convert_by_other(folder, levels, output, outtype, origin, imatrix, converter, converter_python)
            overflowed = 0
        elif levels is None:
            report = make(folder, output, outtype=outtype, pre=pre, origin=origin, progress=progress)
            overflowed, paths = report.n_overflowed, [output]
        else:
            overflowed, paths = _convert_to_levels(folder, levels, output, pre, origin, imatrix, progress)
        write_notes(paths, origin, inputs_of(folder, imatrix, progress))
    if overflowed:
        _say(f"{overflowed} values are beyond F16 and became infinite; take BF16 instead")
    for path in paths:
        click.echo(path)


def _convert_by_other(
    folder: Path,
    levels: str | None,
    output: Path,
    outtype: str,
    origin: "Origin",
    imatrix: Path | None,
    converter: Path,
    python: str,
) -> list[Path]:
    """Convert with llama.cpp's converter; levels are made of its file, which is kept nowhere."""
    import tempfile

    from quant.convert.external import convert_with
    from quant.gguf_io.file_name import file_stem
    from quant.gguf_io.header import open_gguf_header
    from quant.gguf_io.levels import file_name
    from quant.quantize.levels_of_gguf import choose_levels, quantize

    if levels is None:
        convert_with(converter, python, folder, output, outtype=outtype, model=origin.model)
        return [output]
    one_file = output.suffix == ".gguf"
    target = output.parent if one_file else output
    try:
        target.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(prefix=".slmprof.", dir=target)
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror}; give another -o") from error
    with scratch as inside:
        whole = Path(inside) / f"{origin.model}.gguf"
        convert_with(converter, python, folder, whole, model=origin.model)
        chosen = choose_levels(whole, levels, imatrix=imatrix)
        paths = []
        stem = file_stem(
            origin.model or whole.stem, sum(tensor.n_weights for tensor in open_gguf_header(whole).tensors)
        )
        for made in quantize(whole, chosen, Path(inside), imatrix=imatrix):
            path = output if one_file else target / file_name(stem, made.level)
            made.path.replace(path)
            paths.append(path)
    return paths


def _convert_to_levels(
    folder: Path,
    levels: str,
    output: Path,
    pre: str | None,
    origin: "Origin",
    imatrix: Path | None,
    progress: "Progress",
) -> tuple[int, list[Path]]:
    from quant.gguf_io.levels import file_name
    from quant.quantize.from_checkpoint import Straight

    one_file = output.suffix == ".gguf"
    with Straight(folder, pre=pre, origin=origin) as opened:
        chosen = opened.levels(levels, imatrix=imatrix)
        made = opened.write(
            chosen,
            lambda level: output if one_file else output / file_name(opened.stem, level),
            imatrix=imatrix,
            progress=progress,
        )
    return made[0].n_overflowed, [each.path for each in made]


@click.command()
@click.argument("file", type=_PATH)
@click.option("-q", "--levels", metavar="LEVELS", required=True,
              help="Levels like Q4_K_M,Q8_0, or the groups all, k-quants, legacy, i-quants.")  # fmt: skip
@click.option("-o", "--output", type=_PATH, required=True, help="The directory for the new files.")
@imatrix_option
@click.option("-j", "--jobs", metavar="N", type=click.IntRange(1, 512), help="Threads.  [default: all]")
def quantize(file: Path, levels: str, output: Path, imatrix: Path | None, jobs: int | None) -> None:
    """Quantize an unquantized GGUF file to one or more levels, through llama.cpp.

    The new files carry the old one's name with the level: model-F16.gguf becomes model-Q8_0.gguf. A group leaves out
    the levels that need an importance matrix where none is given.

    \b
    slmprof quantize model-F16.gguf -q Q4_K_M,Q8_0 -o models/
    slmprof quantize model-F16.gguf -q all -o models/
    """
    from profiler.cli.progress.bar import progress_bar
    from quant.quantize.levels_of_gguf import choose_levels
    from quant.quantize.levels_of_gguf import quantize as make

    if not file.exists():
        raise UserError(f"there is no file {file}; check the path")
    with progress_bar() as progress:
        chosen = choose_levels(file, levels, imatrix=imatrix)
        made = make(file, chosen, output, imatrix=imatrix, n_threads=jobs, progress=progress)
    for each in made:
        fallbacks = sum(each.artifact.fallbacks.values())
        note = f", {fallbacks} tensors in fallback types" if fallbacks else ""
        kept = ", as before" if each.cached else ""
        click.echo(f"{each.level}: {each.artifact.bpw:.2f} bits per weight{note}{kept}", err=True)
        click.echo(each.path)
    sys.stdout.flush()
