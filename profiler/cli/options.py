"""Bundles of options that several commands share, and how their text becomes a request."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from quant.errors import UserError
from quant.units import parse_duration_s

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "-q",
        "--levels",
        metavar="LEVELS",
        help="Levels like Q4_K_M,Q8_0, or all, k-quants; F16 is unquantized.",
    ),
    click.option(
        "-t",
        "--threads",
        metavar="LIST",
        help="Threads like 1,2,4 or 1-4.  [default: 1,2,4,… up to the physical cores]",
    ),
    click.option("--threads-batch", metavar="LIST", help="Threads of the prefill.  [default: as -t]"),
    click.option("-p", "--prompt", metavar="LIST", help="Prompt tokens, instead of a workload."),
    click.option("-n", "--gen", metavar="LIST", help="Generated tokens, instead of a workload."),
    click.option("-d", "--depth", metavar="LIST", help="Tokens that are in the cache already."),
    click.option("--workload", metavar="NAMES", help="bench, survey, chat, rag, summarize; a list is allowed."),
    click.option(
        "-r",
        "--reps",
        type=click.IntRange(1, 1000),
        default=3,
        show_default=True,
        help="Repetitions in each process.",
    ),
    click.option(
        "--rounds",
        type=click.IntRange(1, 1000),
        default=6,
        show_default=True,
        help="Processes per cell; six give a 95 % interval.",
    ),
    click.option("--budget", metavar="TIME", help="Begin no round after this time, like 30m."),
    click.option(
        "--timeout", metavar="TIME", default="30m", show_default=True, help="Give a round up after this time."
    ),
    click.option("--cooldown", metavar="TIME", default="0s", show_default=True, help="Rest between rounds."),
    click.option("--device", metavar="NAME", default="cpu", show_default=True, help="cpu or gpu."),
    click.option("--ngl", metavar="LIST", help="Layers on the GPU.  [default: all with --device gpu]"),
    click.option("--cores", metavar="fast|LIST", help="Bind the threads to the fast cores, or to a list like 4-7."),
    click.option("--batch", metavar="LIST", help="Logical batch.  [default: 2048]"),
    click.option("--ubatch", metavar="LIST", help="Physical batch.  [default: 512]"),
    click.option("--n-ctx", metavar="LIST", help="Context size.  [default: the workload's]"),
    click.option("--ctk", metavar="TYPES", default="f16", show_default=True, help="Type of the keys in the cache."),
    click.option("--ctv", metavar="TYPES", default="f16", show_default=True, help="Type of the values in the cache."),
    click.option("--fa", metavar="LIST", default="auto", show_default=True, help="Flash attention: on, off or auto."),
    click.option(
        "--load-mode",
        metavar="LIST",
        default="auto",
        show_default=True,
        help="auto, mmap, none, mlock, mmap+mlock or dio.",
    ),
    click.option("--no-repack", is_flag=True, help="Keep the weights' own layout: less memory, often slower."),
    click.option(
        "--weights",
        type=click.Choice(["real", "synthetic"]),
        default="real",
        show_default=True,
        help="synthetic: the shape with random weights.",
    ),
    click.option("--imatrix", type=click.Path(path_type=Path), help="Importance matrix for the levels."),
    click.option("--pre", metavar="NAME", help="Pre-tokenizer, where the converter does not know it."),
    click.option("--sweep", type=click.Path(path_type=Path), help="TOML file with [[sweep]] tables of these options."),
    click.option("--zip", "zipped", is_flag=True, help="Pair the lists instead of crossing them."),
    click.option("--force", is_flag=True, help="Measure although memory will not suffice."),
    click.option(
        "--seed",
        type=click.IntRange(0, 2**31 - 1),
        default=0,
        show_default=True,
        help="Order of the rounds and random tokens.",
    ),
    click.option("--fresh", is_flag=True, help="Start over; the old file is kept as .bak."),
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
        from quant.levels import parse_levels

        parse_levels(text)
    return text


def axes_of(options: dict[str, Any], *, default_workload: str) -> Any:
    """Turn the options' text into lists.

    Raises:
        UserError: a list cannot be read, or two options exclude each other.
    """
    from profiler.environment import cores_of_kind, physical_cores
    from profiler.plan import MAX_THREADS, Axes, default_threads, parse_ints

    counts = {name: options[name] for name in ("prompt", "gen", "depth")}
    if options["workload"] and any(text is not None for text in counts.values()):
        raise UserError("--workload has its own token counts; give either it or -p, -n and -d")

    def ints(name: str, what: str, least: int = 0, most: int = 1 << 24) -> tuple[int, ...]:
        text = options[name]
        return () if text is None else parse_ints(text, what, least=least, most=most)

    def words(text: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(part.strip().lower() for part in text.split(",")))

    return Axes(
        workload=words(options["workload"] or default_workload),
        prompt=ints("prompt", "-p"),
        gen=ints("gen", "-n"),
        depth=ints("depth", "-d"),
        threads=ints("threads", "-t", 1, MAX_THREADS) or default_threads(physical_cores()),
        threads_batch=ints("threads_batch", "--threads-batch", 1, MAX_THREADS),
        cores=_cores(options["cores"], cores_of_kind),
        batch=ints("batch", "--batch", 1) or (2048,),
        ubatch=ints("ubatch", "--ubatch", 1) or (512,),
        n_ctx=ints("n_ctx", "--n-ctx", 1),
        ctk=words(options["ctk"]),
        ctv=words(options["ctv"]),
        fa=words(options["fa"]),
        load_mode=words(options["load_mode"]),
        repack=(not options["no_repack"],),
        device=words(options["device"]),
        ngl=ints("ngl", "--ngl", 0, 10_000) or (-1,),
    )


def _cores(text: str | None, cores_of_kind: Callable[[str], tuple[int, ...]]) -> tuple[int, ...] | None:
    import os
    import sys

    from profiler.plan import parse_ints

    if text is None:
        return None
    if sys.platform == "darwin":
        raise UserError("macOS does not let a program bind threads to cores; leave --cores away")
    if text.strip().lower() == "fast":
        return cores_of_kind("fast")
    n_logical = os.cpu_count() or 1
    return parse_ints(text, "--cores", most=n_logical - 1)


def run_options_of(options: dict[str, Any]) -> Any:
    """Turn the options' text into how a sweep goes.

    Raises:
        UserError: a duration cannot be read.
    """
    from profiler.sweep import Options

    return Options(
        rounds=options["rounds"],
        reps=options["reps"],
        seed=options["seed"],
        timeout_s=parse_duration_s(options["timeout"]) or None,
        cooldown_s=parse_duration_s(options["cooldown"]),
        budget_s=parse_duration_s(options["budget"]) if options["budget"] else None,
        force=options["force"],
    )
