"""Bundles of options that several commands share, and how their text becomes a request."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from quant.base.errors import UserError
from quant.base.units import parse_duration_s

F = TypeVar("F", bound=Callable[..., Any])

# What other commands have too.
no_repack_option = click.option(
    "--no-repack", is_flag=True, help="Keep the weights' own layout: less memory, often slower."
)
weights_option = click.option(
    "--weights",
    type=click.Choice(["real", "synthetic"]),
    default="real",
    show_default=True,
    help="synthetic: random weights in the model's shape; no weights are fetched.",
)
threads_option = click.option(
    "-t", "--threads", metavar="N", type=click.IntRange(1, 512), help="Threads.  [default: the physical cores]"
)
imatrix_option = click.option(
    "--imatrix", type=click.Path(path_type=Path), help="Importance matrix for quantizing; some levels need one."
)
pre_option = click.option(
    "--pre",
    metavar="NAME",
    help="llama.cpp's name of the pre-tokenizer, where the converter does not recognize the tokenizer.",
)

_OPTIONS = (
    click.option(
        "-q",
        "--levels",
        metavar="LEVELS",
        help="Quantization levels like Q4_K_M,Q8_0; F16 is the unquantized file; all, k-quants, legacy and i-quants "
        "are groups.  [default: Q4_0,Q4_K_M,Q5_K_M,Q6_K,Q8_0; a .gguf file as it is]",
    ),
    click.option(
        "-t",
        "--threads",
        metavar="LIST",
        help="Threads like 1,2,4 or 1-4; auto tries some for each file and takes the best for the decode and, unless "
        "--threads-batch is given, for the prefill.  [default: 1,2,4,… up to the physical cores]",
    ),
    click.option(
        "--threads-batch",
        metavar="LIST",
        help="Threads of the prefill alone, or auto; -t is then those of the decode.  [default: as -t]",
    ),
    click.option(
        "-p",
        "--prompt",
        metavar="LIST",
        help="Prompt tokens to prefill, as in llama-bench; 0 measures decode only.  [default with -n or -d: 512]",
    ),
    click.option(
        "-n",
        "--gen",
        metavar="LIST",
        help="Tokens to generate, as in llama-bench; 0 measures prefill only.  [default with -p or -d: 128]",
    ),
    click.option(
        "-d",
        "--depth",
        metavar="LIST",
        help="Tokens that the KV cache holds before prefill or decode begins, as in llama-bench; putting them there "
        "is not timed.  [default: 0]",
    ),
    click.option(
        "--workload",
        metavar="NAMES",
        help="Fixed token counts instead of -p, -n and -d: bench (pp512 and tg128 apart), or the requests survey, "
        "chat, rag, summarize; a list is allowed.  [default: bench; of slmprof run: bench,chat]",
    ),
    click.option(
        "-r",
        "--reps",
        metavar="N",
        type=click.IntRange(1, 1000),
        default=3,
        show_default=True,
        help="Repetitions within each process, after one warm-up.",
    ),
    click.option(
        "--rounds",
        metavar="N",
        type=click.IntRange(1, 1000),
        default=6,
        show_default=True,
        help="Processes for each cell, taken in turns with the other cells'; from six on there is a 95 % interval.",
    ),
    click.option(
        "--target",
        metavar="PCT",
        help="Measure each cell until the 95 % intervals of its rates are within this much of their medians, like 2%: "
        "looked at after 6, 10, 13 and 18 rounds, with wider intervals for it. --rounds is then the most, 18 unless it "
        "is given; a larger one moves the later looks.",
    ),
    click.option(
        "--budget",
        metavar="TIME",
        help="Time for all measuring, like 30m or 2h: no round begins after it. The same command again goes on.",
    ),
    click.option(
        "--timeout",
        metavar="TIME",
        default="30m",
        show_default=True,
        help="End a round that takes longer, and its cell with it, as failed; 0 waits for ever.",
    ),
    click.option(
        "--cooldown", metavar="TIME", default="0s", show_default=True, help="Rest before each next round, like 30s."
    ),
    click.option(
        "--no-anchor",
        is_flag=True,
        help="Do without the anchor: the cheapest cell of a longer sweep, measured again at the beginning, between "
        "rounds and at the end, for about a tenth more time at most. Where it has become slower the sweep rests until "
        "it is back (two minutes at most, or ten times --cooldown), and measures again what was measured meanwhile.",
    ),
    click.option(
        "--device", metavar="LIST", default="cpu", show_default=True, help="Where the model runs: cpu, gpu or both."
    ),
    click.option("--ngl", metavar="LIST", help="Layers on the GPU, with --device gpu.  [default: all]"),
    click.option(
        "--cores",
        metavar="fast|LIST",
        help="Bind the threads to the fast cores, or to cores like 4-7; not on macOS.  [default: the system decides]",
    ),
    click.option("--batch", metavar="LIST", help="Logical batch, llama-bench's -b.  [default: 2048]"),
    click.option("--ubatch", metavar="LIST", help="Physical batch, llama-bench's -ub.  [default: 512]"),
    click.option(
        "--n-ctx",
        metavar="LIST",
        help="Tokens that the KV cache has room for.  [default: the workload's own, or as many as are needed]",
    ),
    click.option(
        "--outputs-max",
        metavar="LIST",
        help="Tokens of a batch whose logits the compute buffer has room for, llama.cpp's n_outputs_max; 0 is room for "
        "all of them.  [default: 0 as in llama-bench; 1 in requests, as a server needs]",
    ),
    click.option(
        "--ctk",
        metavar="TYPES",
        default="f16",
        show_default=True,
        help="Types of the keys in the KV cache: f32, f16, bf16, q8_0, q5_1, q5_0, q4_1, q4_0, iq4_nl.",
    ),
    click.option(
        "--ctv", metavar="TYPES", default="f16", show_default=True, help="Types of the values in the KV cache."
    ),
    click.option("--fa", metavar="LIST", default="auto", show_default=True, help="Flash attention: on, off or auto."),
    click.option(
        "--load-mode",
        metavar="LIST",
        default="auto",
        show_default=True,
        help="How weights get into memory: auto (llama.cpp chooses), mmap, none (read), mlock, mmap+mlock, or dio "
        "(direct I/O).",
    ),
    no_repack_option,
    weights_option,
    imatrix_option,
    pre_option,
    click.option(
        "--sweep",
        metavar="FILE.toml",
        type=click.Path(path_type=Path),
        help="Several sweeps in one go: each [[sweep]] table of this file sets some of the lists above by their long "
        'names, like threads = [1, 2], workload = "chat" or repack = [true, false]. What a table leaves out is as on '
        "the command line; sources and levels are the same for all.",
    ),
    click.option(
        "--zip",
        "zipped",
        is_flag=True,
        help="Pair the lists of token counts, workloads, threads, batches and contexts (first with first, second with "
        "second), where each with each is the default: -p 512,2048 -n 128,32 --zip makes two cells and not four.",
    ),
    click.option(
        "--force", is_flag=True, help="Measure also what needs more memory than there is; else it is skipped."
    ),
    click.option(
        "--seed",
        metavar="N",
        type=click.IntRange(0, 2**31 - 1),
        default=0,
        show_default=True,
        help="Decides the order of the rounds and the random tokens.",
    ),
    click.option("--fresh", is_flag=True, help="Start over; the old results file is kept as .bak."),
)


def profile_options(command: F) -> F:
    """Add every option of a measurement to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def levels_of(text: str | None) -> str | None:
    """Check -q; None where it was not given. Groups are resolved per file: which levels it can have, llama.cpp says.

    Raises:
        UserError: a level is unknown.
    """
    if text is not None:
        from quant.gguf_io.levels import parse_levels

        parse_levels(text)
    return text


def check_output_holds(levels: str, output: Path) -> None:
    """Check that -o has room for every level of -q: a file holds one, a directory any number.

    Raises:
        UserError: a level is unknown, or several levels would go into one file.
    """
    from quant.gguf_io.levels import parse_levels

    n_levels = len(parse_levels(levels))
    if output.suffix == ".gguf" and n_levels > 1:
        raise UserError(f"{n_levels} levels do not fit into one file; make -o a directory")


def axes_of(options: dict[str, Any], *, default_workload: str) -> Any:
    """Turn the options' text into lists.

    Raises:
        UserError: a list cannot be read, or two options exclude each other.
    """
    from profiler.device.affinity import read_cores
    from profiler.device.environment import physical_cores
    from profiler.records.config import MAX_THREADS
    from profiler.sweep.grid import Axes, default_threads
    from profiler.sweep.thread_search import AUTO
    from quant.base.ints import parse_ints

    counts = {name: options[name] for name in ("prompt", "gen", "depth")}
    if options["workload"] and any(text is not None for text in counts.values()):
        raise UserError("--workload has its own token counts; give either it or -p, -n and -d")

    def ints(name: str, what: str, least: int = 0, most: int = 1 << 24) -> tuple[int, ...]:
        text = options[name]
        return () if text is None else parse_ints(text, what, least=least, most=most)

    def threads(name: str, what: str) -> tuple[int, ...]:
        if options[name] is None:
            return ()
        parts = [part.strip() for part in options[name].split(",")]
        counts = [part for part in parts if part.lower() != "auto"]
        found = parse_ints(",".join(counts), what, least=1, most=MAX_THREADS) if counts else ()
        return (AUTO, *found) if len(counts) < len(parts) else found

    def words(text: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(part.strip().lower() for part in text.split(",")))

    return Axes(
        workload=words(options["workload"] or default_workload),
        prompt=ints("prompt", "-p"),
        gen=ints("gen", "-n"),
        depth=ints("depth", "-d"),
        threads=threads("threads", "-t") or default_threads(physical_cores()),
        threads_batch=threads("threads_batch", "--threads-batch"),
        cores=read_cores(options["cores"]) if options["cores"] is not None else None,
        batch=ints("batch", "--batch", 1) or (2048,),
        ubatch=ints("ubatch", "--ubatch", 1) or (512,),
        n_ctx=ints("n_ctx", "--n-ctx", 1),
        outputs_max=ints("outputs_max", "--outputs-max"),
        ctk=words(options["ctk"]),
        ctv=words(options["ctv"]),
        fa=words(options["fa"]),
        load_mode=words(options["load_mode"]),
        repack=(not options["no_repack"],),
        device=words(options["device"]),
        ngl=ints("ngl", "--ngl", 0, 10_000) or (-1,),
    )


def run_options_of(options: dict[str, Any]) -> Any:
    """Turn the options' text into how a sweep goes.

    Raises:
        UserError: a duration or the target cannot be read.
    """
    from profiler.sweep.plan import Options

    target, rounds = _target(options["target"]), options["rounds"]
    if target is not None:
        rounds = _most_rounds(rounds)
    return Options(
        rounds=rounds,
        target=target,
        reps=options["reps"],
        seed=options["seed"],
        timeout_s=parse_duration_s(options["timeout"]) or None,
        cooldown_s=parse_duration_s(options["cooldown"]),
        budget_s=parse_duration_s(options["budget"]) if options["budget"] else None,
        force=options["force"],
        anchor=not options["no_anchor"],
    )


def _target(text: str | None) -> float | None:
    """Read a relative half-width in per cent, with or without the sign."""
    if text is None:
        return None
    try:
        target = float(text.strip().removesuffix("%")) / 100
    except ValueError:
        target = 0.0
    if not 0.001 <= target <= 0.5:
        raise UserError(f"--target {text} is no share from 0.1% to 50%; write one like 2%")
    return target


def _most_rounds(rounds: int) -> int:
    """Give --rounds as the most that a target may take: its own default where none was given."""
    from click.core import ParameterSource

    from profiler.sweep.stopping import FEWEST_ROUNDS, MOST_ROUNDS

    context = click.get_current_context(silent=True)
    if context is None or context.get_parameter_source("rounds") == ParameterSource.DEFAULT:
        return MOST_ROUNDS
    if rounds < FEWEST_ROUNDS:
        raise UserError(f"--target needs --rounds of {FEWEST_ROUNDS} at least: fewer have no interval")
    return rounds
