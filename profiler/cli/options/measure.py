"""The options of `profile` and `run`, and the request that they make."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from profiler.cli.options import (
    MAX_SEED,
    PATH,
    imatrix_option,
    levels_of,
    no_repack_option,
    number_option,
    pre_option,
    weights_option,
)
from quant.base.errors import UserError
from quant.base.ints import MAX_TOKENS, parse_ints
from quant.base.units import parse_duration_s

if TYPE_CHECKING:
    from profiler.sweep.grid import Axes
    from profiler.sweep.plan import Options
    from profiler.sweep.session import Request

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "-q",
        "--levels",
        metavar="LEVELS",
        help="Quantization levels like Q4_K_M,Q8_0; F16 is the unquantized file; all, k-quants, legacy and i-quants "
        "are groups.  [default: Q4_0,IQ4_NL,IQ4_XS,Q4_K_M,Q5_K_M,Q6_K,Q8_0; a .gguf file as it is]",
    ),
    click.option(
        "-t",
        "--threads",
        metavar="LIST",
        help="Threads like 1,2,4 or 1-4; auto searches the best number of each file, for decode and, unless "
        "--threads-batch is given, for prefill.  [default: 1,2,4,… up to the physical cores]",
    ),
    click.option(
        "--threads-batch",
        metavar="LIST",
        help="Threads of prefill alone, or auto; -t is then for decode.  [default: as -t]",
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
        help="Tokens in the KV cache before prefill or decode begins, as in llama-bench; filling it is not timed.  "
        "[default: 0]",
    ),
    click.option(
        "--workload",
        metavar="NAMES",
        help="Fixed token counts instead of -p, -n and -d: bench (pp512 and tg128 apart), or the requests survey, "
        "chat, rag, summarize; takes a list.  [default: bench; of slmprof run: bench,chat]",
    ),
    number_option(
        "-r", "--reps", least=1, most=1000, default=3, help="Repetitions within each process, after one warm-up."
    ),
    number_option(
        "--rounds",
        least=1,
        most=1000,
        help="Processes per cell, interleaved with the other cells'; 95 % intervals need at least six. An even number "
        "has each kind of memory layout equally often.  "
        "[default: 6; with --target: 18]",
    ),
    click.option(
        "--target",
        metavar="PCT",
        help="Measure each cell until the 95 % intervals of its rates are within this share of their medians, like 2%. "
        "Checked after 6, 10, 14 and 18 rounds, with intervals widened to allow for it. --rounds is then the most; "
        "above 18 the later checks move with it.",
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
        help="Time limit for one round; the cell is marked failed. 0 disables it.",
    ),
    click.option("--cooldown", metavar="TIME", default="0s", help="Rest before each next round, like 30s."),
    click.option(
        "--no-anchor",
        is_flag=True,
        help="Disable drift control (re-measuring the cheapest cell between rounds). Drift control adds at most about "
        "a tenth to the time of a longer sweep; where the cell has become slower, the sweep rests until it is back (at "
        "most two minutes, or ten times --cooldown), and re-measures the rounds since.",
    ),
    click.option(
        "--patience",
        metavar="PCT",
        default="30%",
        help="Time that measuring disturbed rounds again may add, as a share of that of all rounds. A round is "
        "disturbed while others use the CPU, its clock falls or pages are read. 0 disables it.",
    ),
    click.option("--device", metavar="LIST", default="cpu", help="Where the model runs: cpu, gpu or both."),
    click.option("--ngl", metavar="LIST", help="Layers on the GPU, with --device gpu.  [default: all]"),
    click.option(
        "--cores",
        metavar="fast|LIST",
        help="Bind the threads to the fast cores, or to cores like 4-7; not on macOS.  [default: the system decides]",
    ),
    click.option("--batch", metavar="LIST", help="Logical batch size, llama-bench's -b.  [default: 2048]"),
    click.option("--ubatch", metavar="LIST", help="Physical batch size, llama-bench's -ub.  [default: 512]"),
    click.option(
        "--n-ctx",
        metavar="LIST",
        help="Context size: tokens that the KV cache has room for.  [default: the workload's own, or as needed]",
    ),
    click.option(
        "--outputs-max",
        metavar="LIST",
        help="Tokens of a batch whose logits fit in the compute buffer, llama.cpp's n_outputs_max; 0 is all of them.  "
        "[default: 0 as in llama-bench; 1 in requests, as a server needs]",
    ),
    click.option(
        "--ctk",
        metavar="TYPES",
        default="f16",
        help="Types of the keys in the KV cache: f32, f16, bf16, q8_0, q5_1, q5_0, q4_1, q4_0, iq4_nl.",
    ),
    click.option("--ctv", metavar="TYPES", default="f16", help="Types of the values in the KV cache."),
    click.option("--fa", metavar="LIST", default="auto", help="Flash attention: on, off or auto."),
    click.option(
        "--load-mode",
        metavar="LIST",
        default="auto",
        help="How weights are loaded: auto (llama.cpp chooses), mmap, none (read), mlock, mmap+mlock, or dio (direct "
        "I/O).",
    ),
    no_repack_option,
    weights_option,
    imatrix_option,
    pre_option,
    click.option(
        "--sweep",
        "sweep_file",
        metavar="FILE.toml",
        type=PATH,
        help="Several sweeps in one go: each [[sweep]] table of this file sets some of the lists above by their long "
        'names, like threads = [1, 2], workload = "chat" or repack = [true, false]. Lists that a table omits are as on '
        "the command line; sources and levels are the same for all.",
    ),
    click.option(
        "--zip",
        "zipped",
        is_flag=True,
        help="Pair the lists of token counts, workloads, threads, batches and contexts (first with first, second with "
        "second) instead of crossing them: -p 512,2048 -n 128,32 --zip makes two cells, not four.",
    ),
    click.option("--force", is_flag=True, help="Also run cells predicted not to fit in memory.  [default: skip them]"),
    number_option(
        "--seed", least=0, most=MAX_SEED, default=0, help="Seed of the order of rounds and of random tokens."
    ),
    click.option("--fresh", is_flag=True, help="Start over; the old results file is kept as .bak."),
)


def measure_options(command: F) -> F:
    """Add every option of a measurement to a command, which passes them to `MeasureOptions`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def some_measure_options(*names: str) -> Callable[[F], F]:
    """Return a decorator that adds the options with these parameters' names."""

    def add(command: F) -> F:
        for option in reversed(_OPTIONS):
            before = list(getattr(command, "__click_params__", []))
            command = option(command)
            if command.__click_params__[-1].name not in names:  # type: ignore[attr-defined]
                command.__click_params__ = before  # type: ignore[attr-defined]
        return command

    return add


def measure_defaults() -> dict[str, Any]:
    """Return the defaults of all options, by the names of their parameters."""

    @measure_options
    def command() -> None:
        """Hold the options."""

    parsed = click.Command("", params=command.__click_params__).make_context("", [])  # type: ignore[attr-defined]
    return parsed.params


class MeasureOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of a measurement, as typed."""

    levels: str | None
    threads: str | None
    threads_batch: str | None
    prompt: str | None
    gen: str | None
    depth: str | None
    workload: str | None
    reps: int
    rounds: int | None
    target: str | None
    budget: str | None
    timeout: str
    cooldown: str
    no_anchor: bool
    patience: str
    device: str
    ngl: str | None
    cores: str | None
    batch: str | None
    ubatch: str | None
    n_ctx: str | None
    outputs_max: str | None
    ctk: str
    ctv: str
    fa: str
    load_mode: str
    no_repack: bool
    weights: str
    imatrix: Path | None
    pre: str | None
    sweep_file: Path | None
    zipped: bool
    force: bool
    seed: int
    fresh: bool

    def request(
        self,
        sources: tuple[str, ...],
        results: Path,
        *,
        models_dir: Path,
        default_workload: str,
        hub_levels: str | None = None,
    ) -> "Request":
        """Make the request of a session.

        Args:
            hub_levels: what to take from a repository of GGUF files without -q.

        Raises:
            UserError: an option cannot be read, or two exclude each other.
        """
        from profiler.sweep.session import Request
        from quant.sources.prepare import PrepareOptions

        return Request(
            sources=sources,
            prepare_options=PrepareOptions(
                levels=levels_of(self.levels),
                models_dir=models_dir,
                hub_levels=hub_levels,
                synthetic=self.weights == "synthetic",
                imatrix=self.imatrix,
                pre=self.pre,
            ),
            axes=self.axes(default_workload),
            options=self.sweep_options(),
            results=results,
            sweep_file=self.sweep_file,
            zipped=self.zipped,
            fresh=self.fresh,
        )

    def axes(self, default_workload: str) -> "Axes":
        """Return the lists that make the cells.

        Raises:
            UserError: a list cannot be read, or two options exclude each other.
        """
        from profiler.device.affinity import read_cores
        from profiler.device.environment import physical_cores
        from profiler.sweep.grid import Axes, default_threads

        if self.workload and any(text is not None for text in (self.prompt, self.gen, self.depth)):
            raise UserError("--workload has its own token counts; use either it or -p, -n and -d")
        return Axes(
            workload=_words(self.workload or default_workload),
            prompt=_ints(self.prompt, "-p"),
            gen=_ints(self.gen, "-n"),
            depth=_ints(self.depth, "-d"),
            threads=_threads(self.threads, "-t") or default_threads(physical_cores()),
            threads_batch=_threads(self.threads_batch, "--threads-batch"),
            cores=read_cores(self.cores) if self.cores is not None else None,
            batch=_ints(self.batch, "--batch", 1) or (2048,),
            ubatch=_ints(self.ubatch, "--ubatch", 1) or (512,),
            n_ctx=_ints(self.n_ctx, "--n-ctx", 1),
            outputs_max=_ints(self.outputs_max, "--outputs-max"),
            ctk=_words(self.ctk),
            ctv=_words(self.ctv),
            fa=_words(self.fa),
            load_mode=_words(self.load_mode),
            repack=(not self.no_repack,),
            device=_words(self.device),
            ngl=_ints(self.ngl, "--ngl", 0, 10_000) or (-1,),
        )

    def sweep_options(self) -> "Options":
        """Return how a sweep goes.

        Raises:
            UserError: a duration or the target cannot be read, or there are too few rounds for a target.
        """
        from profiler.sweep.plan import Options
        from profiler.sweep.stopping import FEWEST_ROUNDS, MOST_ROUNDS

        target = _target(self.target)
        default_rounds = Options().rounds if target is None else MOST_ROUNDS
        if target is not None and self.rounds is not None and self.rounds < FEWEST_ROUNDS:
            raise UserError(f"--target needs --rounds {FEWEST_ROUNDS} or more: fewer have no interval")
        return Options(
            rounds=self.rounds or default_rounds,
            target=target,
            reps=self.reps,
            seed=self.seed,
            timeout_s=parse_duration_s(self.timeout) or None,
            cooldown_s=parse_duration_s(self.cooldown),
            budget_s=parse_duration_s(self.budget) if self.budget else None,
            patience=_patience(self.patience),
            force=self.force,
            drift_control=not self.no_anchor,
        )


def _ints(text: str | None, option: str, least: int = 0, most: int = MAX_TOKENS) -> tuple[int, ...]:
    return () if text is None else parse_ints(text, option, least=least, most=most)


def _threads(text: str | None, option: str) -> tuple[int, ...]:
    from profiler.records.config import MAX_THREADS
    from profiler.sweep.thread_search import AUTO

    if text is None:
        return ()
    parts = [part.strip() for part in text.split(",")]
    counts = [part for part in parts if part.lower() != "auto"]
    found = _ints(",".join(counts), option, 1, MAX_THREADS) if counts else ()
    return (AUTO, *found) if len(counts) < len(parts) else found


def _words(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip().lower() for part in text.split(",")))


def _target(text: str | None) -> float | None:
    """Read a relative half-width in per cent, with or without the sign."""
    if text is None:
        return None
    target = _share(text)
    if not 0.001 <= target <= 0.5:
        raise UserError(f"--target {text} is not a share from 0.1% to 50%; write one like 2%")
    return target


def _patience(text: str) -> float:
    """Read a share of time in per cent, with or without the sign."""
    patience = _share(text)
    if not 0 <= patience <= 10:
        raise UserError(f"--patience {text} is not a share from 0% to 1000%; write one like 30%")
    return patience


def _share(text: str) -> float:
    """Read per cent, with or without the sign; not a number where it is none."""
    try:
        return float(text.strip().removesuffix("%")) / 100
    except ValueError:
        return math.nan
