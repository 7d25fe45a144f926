"""The options of `profile` and `run`, and the request that they make."""

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
from profiler.cli.options.values import ints_of, patience_of, sustain_s_of, target_of, threads_of, words_of
from quant.base.errors import UserError
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
    click.option(
        "--sustain",
        metavar="TIME",
        help="Send one request after the other for this time, like 10m, in one process per cell: speed, clock, "
        "temperature and power per minute, and the steady state against the first minute. Each minute is a round; "
        "--rounds, --reps, --target, --patience and drift control do not apply. With --cooldown each cell begins on a "
        "rested device.",
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
    sustain: str | None
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
            workload=words_of(self.workload or default_workload),
            prompt=ints_of(self.prompt, "-p"),
            gen=ints_of(self.gen, "-n"),
            depth=ints_of(self.depth, "-d"),
            threads=threads_of(self.threads, "-t") or default_threads(physical_cores()),
            threads_batch=threads_of(self.threads_batch, "--threads-batch"),
            cores=read_cores(self.cores) if self.cores is not None else None,
            batch=ints_of(self.batch, "--batch", 1) or (2048,),
            ubatch=ints_of(self.ubatch, "--ubatch", 1) or (512,),
            n_ctx=ints_of(self.n_ctx, "--n-ctx", 1),
            outputs_max=ints_of(self.outputs_max, "--outputs-max"),
            ctk=words_of(self.ctk),
            ctv=words_of(self.ctv),
            fa=words_of(self.fa),
            load_mode=words_of(self.load_mode),
            repack=(not self.no_repack,),
            device=words_of(self.device),
            ngl=ints_of(self.ngl, "--ngl", 0, 10_000) or (-1,),
        )

    def sweep_options(self) -> "Options":
        """Return how a sweep goes.

        Raises:
            UserError: a duration or the target cannot be read, or there are too few rounds for a target.
        """
        from profiler.sweep.plan import Options
        from profiler.sweep.stopping import FEWEST_ROUNDS, MOST_ROUNDS

        target = target_of(self.target)
        if self.sustain is not None and (self.rounds is not None or target is not None):
            option = "--target" if self.rounds is None else "--rounds"
            raise UserError(f"--sustain measures each cell once, minute by minute; remove {option}")
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
            patience=patience_of(self.patience),
            force=self.force,
            drift_control=not self.no_anchor,
            sustain_s=sustain_s_of(self.sustain),
        )
