"""The threads that `-t auto` chooses: measured in worker processes for each file, and kept for the next run.

They are kept in the cache folder by the file's hash, the environment and the settings that matter, so that the same
command chooses the same threads again and goes on with the same cells.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from profiler.analysis.memory_need import needed_bytes
from profiler.measure.worker import Answer, Job
from profiler.records.config import Cell, RunConfig
from profiler.records.environment import Environment
from profiler.sweep.grid import Axes, expand
from profiler.sweep.thread_search import (
    AUTO,
    KINDS,
    MeasureError,
    ThreadChoice,
    ThreadLimits,
    describe,
    search_threads,
    thread_limits,
)
from quant.base.kept import KeptJson
from quant.base.progress import say
from quant.base.units import format_bytes
from quant.sources.prepare import Prepared

_VERSION = 1  # of the search: choices of another are measured again
_N_PROMPT, _N_GEN, _N_CTX = 128, 32, 256
_REPS = 3
_NS_PER_S = 1e9


def has_auto(axes: Axes) -> bool:
    """Return whether a list of threads holds "auto"."""
    return AUTO in axes.threads or AUTO in axes.threads_batch


def resolved(axes: Axes, choice: ThreadChoice) -> Axes:
    """Replace "auto" by a choice; -t auto alone means both kinds, each with its own number."""
    batch = axes.threads_batch or ((AUTO,) if AUTO in axes.threads else ())
    return msgspec.structs.replace(
        axes,
        threads=_filled(axes.threads, choice.n_threads),
        threads_batch=_filled(batch, choice.n_threads_batch),
    )


def _filled(counts: Sequence[int], chosen: int) -> tuple[int, ...]:
    return tuple(dict.fromkeys(chosen if count == AUTO else count for count in counts))


def _kinds(axes: Axes) -> Sequence[str]:
    """Return which of prefill and decode need a search."""
    if AUTO not in axes.threads:
        return ("prefill",)
    return KINDS if AUTO in axes.threads_batch or not axes.threads_batch else ("decode",)


def check_axes(axes: Axes, *, zipped: bool) -> None:
    """Check all values before anything is made.

    Raises:
        UserError: a value is out of bounds, or the lists cannot be paired.
    """
    expand(resolved(axes, ThreadChoice(1, 1)), (), zipped=zipped)


class ThreadChooser(msgspec.Struct, frozen=True, kw_only=True):
    """Resolve "auto" for files, within one session."""

    environment: Environment
    run: Callable[[Job], Answer]
    available_bytes: Callable[[], int]
    physical_of: Callable[[Sequence[int]], int] = len
    seed: int = 0
    fresh: bool = False  # measure again what is kept
    chosen: dict[Path, ThreadChoice] = {}  # in this session, so that two sweeps over one file agree

    def cells(self, axes: Axes, files: Sequence[Prepared], *, zipped: bool) -> list[Cell]:
        """Return the cells of every file, after choosing its threads where "auto" was requested."""
        if not has_auto(axes):
            return expand(axes, [file.artifact.sha256 for file in files], zipped=zipped)
        cells = []
        for file in files:
            choice = self.choose(axes, file, zipped=zipped)
            cells += expand(resolved(axes, choice), [file.artifact.sha256], zipped=zipped)
        return cells

    def choose(self, axes: Axes, file: Prepared, *, zipped: bool) -> ThreadChoice:
        """Return the threads of one file: kept ones, or those of a search under the first of each other setting."""
        kinds = _kinds(axes)
        (cell, *_) = expand(resolved(axes, ThreadChoice(1, 1)), [file.artifact.sha256], zipped=zipped)
        limits = thread_limits(self.environment, axes.cores, self.physical_of)
        kept = _Kept(cell, self.environment, limits, kinds)
        if kept.path not in self.chosen:
            self.chosen[kept.path] = self._found(file, cell, kept, limits, kinds)
        return self.chosen[kept.path]

    def _found(
        self, file: Prepared, cell: Cell, kept: "_Kept", limits: ThreadLimits, kinds: Sequence[str]
    ) -> ThreadChoice:
        name = f"{file.artifact.model} {file.artifact.level}"
        if limits.most == 1:
            say(f"threads of {name}: 1, since this process may use one core only")
            return ThreadChoice(1, 1)
        if not self.fresh and (choice := kept.read()) is not None:
            self._say_choice(choice, f"{name}, as chosen before", limits)
            return choice
        say(f"choosing the threads of {name}")
        need, have = needed_bytes(file.artifact, cell.config), self.available_bytes()
        try:
            if need > have:
                raise MeasureError(f"it needs about {format_bytes(need)} of memory, {format_bytes(have)} are available")
            choice = search_threads(lambda n, kind: self.measure_rates(file, cell.config, n, kind), limits, kinds)
        except MeasureError as error:
            # The cells' own records will show what is wrong; they need some number until then.
            say(f"cannot choose the threads of {name}, using {limits.fast}: {error}")
            return ThreadChoice(limits.fast, limits.fast)
        kept.write(choice)
        self._say_choice(choice, name, limits)
        return choice

    def _say_choice(self, choice: ThreadChoice, name: str, limits: ThreadLimits) -> None:
        for line in describe(choice, name, limits):
            say(line)

    def measure_rates(self, file: Prepared, config: RunConfig, n_threads: int, kind: str) -> list[float]:
        """Run one worker of short token counts and return its repetitions' tokens per second.

        Raises:
            MeasureError: the worker failed.
        """
        n_prompt, n_gen = (_N_PROMPT, 0) if kind == "prefill" else (0, _N_GEN)
        short = msgspec.structs.replace(
            config,
            mode="separate",
            workload="custom",
            n_prompt=n_prompt,
            n_gen=n_gen,
            n_depth=0,
            n_ctx=_N_CTX,
            n_outputs_max=0,
            n_threads=n_threads,
            n_threads_batch=n_threads,
        )
        # Counts are compared at one memory layout.
        job = Job(path=str(file.path), config=short, reps=_REPS, seed=self.seed, work_buffer_offset_bytes=0)
        answer = self.run(job)
        if answer.measured is None:
            raise MeasureError(answer.failure.message if answer.failure else "the worker sent no answer")
        times_ns = [sample.timed_ns for sample in answer.measured.samples if sample.timed_ns]
        return [(n_prompt + n_gen) * _NS_PER_S / time_ns for time_ns in times_ns]


class _Kept:
    """A choice kept in a small file, whose name is a hash of what the choice depends on."""

    def __init__(self, cell: Cell, environment: Environment, limits: ThreadLimits, kinds: Sequence[str]) -> None:
        config = cell.config
        depends_on = (
            _VERSION,
            cell.artifact_sha256,
            environment.id,
            limits,
            kinds,
            (config.cores, config.type_k, config.type_v, config.flash_attn, config.load_mode, config.repack),
            (config.n_batch, config.n_ubatch, config.device, config.n_gpu_layers),
        )
        self._limits, self._kinds = limits, kinds
        name = hashlib.sha256(msgspec.json.encode(depends_on)).hexdigest()[:32]
        self._json = KeptJson(f"threads/{name}.json", ThreadChoice)
        self.path, self.write = self._json.path, self._json.try_write

    def read(self) -> ThreadChoice | None:
        choice = self._json.read()
        if choice is None:
            return None
        in_bounds = all(1 <= n <= self._limits.most for n in (choice.n_threads, choice.n_threads_batch))
        whole = {tried.kind for tried in choice.tried if tried.rates} >= set(self._kinds)
        return choice if in_bounds and whole else None
