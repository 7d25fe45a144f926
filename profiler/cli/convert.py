"""`slmprof convert`: a checkpoint as a GGUF file, or as one file per level."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from profiler.cli.options import PATH, check_output_holds, imatrix_option, pre_option
from quant.base.errors import UserError
from quant.base.files import move_to

if TYPE_CHECKING:
    from quant.convert.provenance import Origin, TokenCheck


@dataclass(frozen=True, kw_only=True)
class ConvertOptions:
    """The command's arguments and options, as click parsed them."""

    source: str
    output: Path
    outtype: str
    levels: str | None
    imatrix: Path | None
    pre: str | None
    adapter: str | None
    converter: Path | None
    converter_python: str
    allow_token_mismatch: bool

    @property
    def is_one_file(self) -> bool:
        """Whether -o names a file, not a directory."""
        return self.output.suffix == ".gguf"

    def path_of(self, stem: str, level: str) -> Path:
        """Return the path of one level's file."""
        from quant.gguf_io.levels import file_name

        return self.output if self.is_one_file else self.output / file_name(stem, level)

    def check(self) -> None:
        """Check what click cannot check.

        Raises:
            UserError: -o cannot hold the result, or two options exclude each other.
        """
        if self.adapter is not None and self.converter is not None:
            raise UserError("--converter merges no adapter; merge it with peft (merge_and_unload) and pass the result")
        if self.levels is None:
            if not self.is_one_file:
                raise UserError(f"-o {self.output} must end in .gguf; pass a file name")
            return
        check_output_holds(self.levels, self.output)
        if self.outtype != "auto":
            raise UserError("--outtype is for the unquantized file; with -q add F16, BF16 or F32 to the levels")


@click.command()
@click.argument("source")
@click.option("-o", "--output", type=PATH, required=True, help="The .gguf file; for several levels, a directory.")
@click.option(
    "--outtype",
    type=click.Choice(["auto", "f32", "bf16", "f16"]),
    default="auto",
    help="Type of the matrices. auto keeps the type of a 16-bit checkpoint. Those stored as NVFP4 stay so, as do the "
    "experts of gpt-oss in MXFP4; -q dequantizes them.",
)
@click.option("-q", "--levels", metavar="LEVELS", help="Quantize to these levels, like Q4_K_M,Q8_0, all or k-quants.")
@imatrix_option
@pre_option
@click.option(
    "--adapter",
    metavar="ADAPTER",
    help="Merge a LoRA adapter that peft saved, a directory or a hub id, into the weights; SOURCE is its base model.",
)
@click.option(
    "--converter",
    metavar="DIR",
    type=PATH,
    help="Use llama.cpp's own converter in DIR, a llama.cpp source tree. This runs the code in DIR.",
)
@click.option(
    "--converter-python",
    metavar="FILE",
    default="python3",
    help="Python interpreter for --converter; it needs torch and transformers.",
)
@click.option(
    "--allow-token-mismatch",
    is_flag=True,
    help="Convert although llama.cpp splits some texts into other tokens than the checkpoint's tokenizer does.",
)
def convert(**given: Any) -> None:
    """Convert a checkpoint to a GGUF file; with -q directly to quantized files, without an unquantized one in between.

    SOURCE is a checkpoint's directory, a name from slmprof models, or a hub id like org/name. A note next to each file,
    FILE.provenance.json, lists the sha256 of every file that it was made from. Files in a directory follow gguf's
    naming convention: base name, size, fine-tune, version, level, as in SmolLM2-135M-Instruct-Q4_K_M.gguf.

    \b
    slmprof convert ./checkpoint -o model.gguf
    slmprof convert smollm2-135m -q Q4_K_M -o model.gguf
    slmprof convert smollm2-135m -q Q4_K_M,Q8_0 -o models/
    slmprof convert smollm2-135m --adapter ./lora -q Q4_K_M -o tuned.gguf
    """
    from profiler.cli.progress.bar import progress_bar
    from quant.convert.provenance import Origin, inputs_of, token_warnings, write_notes
    from quant.sources.prepare import checkpoint_of, model_name
    from quant.sources.resolve import adapter_folder, resolve

    options = ConvertOptions(**given)
    found = resolve(options.source)
    options.check()
    if found.spec is not None and options.converter is None:
        found.spec.require_supported()
    with progress_bar():
        adapter = adapter_folder(options.adapter) if options.adapter is not None else None
        folder, commit = checkpoint_of(found, any_family=options.converter is not None)
        origin = Origin(model=model_name(found, folder), source=found.repo if commit else None, revision=commit)
        if options.converter is not None:
            n_overflowed, tokens = 0, None
            paths = _convert_externally(folder, origin, options.converter, options)
        elif options.levels is not None:
            n_overflowed, tokens, paths = _convert_to_levels(folder, origin, adapter, options.levels, options)
        else:
            n_overflowed, tokens, paths = _convert_unquantized(folder, origin, adapter, options)
        write_notes(paths, origin, inputs_of(folder, options.imatrix, adapter), tokens)
    for warning in token_warnings(tokens):
        click.echo(warning, err=True)
    if n_overflowed:
        click.echo(f"{n_overflowed} values exceed the F16 range and became infinite; use BF16 instead", err=True)
    for path in paths:
        click.echo(path)


def _convert_unquantized(
    folder: Path, origin: "Origin", adapter: Path | None, options: ConvertOptions
) -> tuple[int, "TokenCheck | None", list[Path]]:
    from quant.convert.to_gguf import convert as to_gguf

    report = to_gguf(
        folder,
        options.output,
        outtype=options.outtype,
        pre=options.pre,
        origin=origin,
        adapter=adapter,
        allow_token_mismatch=options.allow_token_mismatch,
    )
    return report.n_overflowed, report.tokens, [options.output]


def _convert_to_levels(
    folder: Path, origin: "Origin", adapter: Path | None, levels: str, options: ConvertOptions
) -> tuple[int, "TokenCheck | None", list[Path]]:
    from quant.quantize.from_checkpoint import checkpoint_writer

    with checkpoint_writer(
        folder,
        pre=options.pre,
        origin=origin,
        adapter=adapter,
        allow_token_mismatch=options.allow_token_mismatch,
    ) as writer:
        made = writer.write(
            writer.levels(levels, imatrix=options.imatrix),
            lambda level: options.path_of(writer.stem, level),
            imatrix=options.imatrix,
        )
    return made[0].n_overflowed, made[0].tokens, [each.path for each in made]


def _convert_externally(folder: Path, origin: "Origin", converter: Path, options: ConvertOptions) -> list[Path]:
    """Convert with llama.cpp's converter; levels are quantized from its file, which is then deleted."""
    from quant.convert.external import convert_with
    from quant.gguf_io.file_name import file_stem
    from quant.gguf_io.header import open_gguf_header
    from quant.quantize.levels_of_gguf import choose_levels, quantize

    python, output = options.converter_python, options.output
    if options.levels is None:
        convert_with(converter, python, folder, output, outtype=options.outtype, model=origin.model)
        return [output]
    target = output.parent if options.is_one_file else output
    try:
        target.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(prefix=".slmprof.", dir=target)
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror}; choose another -o") from error
    with scratch as inside:
        whole = Path(inside) / f"{origin.model}.gguf"
        convert_with(converter, python, folder, whole, model=origin.model)
        levels = choose_levels(whole, options.levels, imatrix=options.imatrix)
        n_weights = sum(tensor.n_weights for tensor in open_gguf_header(whole).tensors)
        stem = file_stem(origin.model or whole.stem, n_weights)
        paths = []
        for made in quantize(whole, levels, Path(inside), imatrix=options.imatrix):
            path = options.path_of(stem, made.level)
            move_to(made.path, path)
            paths.append(path)
    return paths
