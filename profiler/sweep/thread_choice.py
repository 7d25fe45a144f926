"""The threads that `-t auto` stands for: measured in worker processes for each file, and kept for the next run.

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
from profiler.records.record import Environment
from profiler.sweep.grid import Axes, expand
from profiler.sweep.thread_search import AUTO, KINDS, Choice, Limits, MeasureError, choose, describe, limits_of
from quant.base.errors import UserError
from quant.base.files import cache_dir, write_text
from quant.sources.prepare import Prepared

_VERSION = 1  # of the search: what an older one chose is not taken
_N_PROMPT, _N_GEN, _N_CTX = 128, 32, 256
_REPS = 3
_NS_PER_S = 1e9


class Chooser(msgspec.Struct, frozen=True, kw_only=True):
    """What is needed to resolve "auto" for a file."""

    environment: Environment
    run: Callable[[Job], Answer]
    available_bytes: Callable[[], int]
    say: Callable[[str], None]
    physical_of: Callable[[Sequence[int]], int] = len
    seed: int = 0
    fresh: bool = False  # measure again what is kept
    chosen: dict[Path, Choice] = {}  # in this session, so that two sweeps over one file agree


def wants_auto(axes: Axes) -> bool:
    """Tell whether a list of threads is still to be chosen."""
    return AUTO in axes.threads or AUTO in axes.threads_batch


def resolved(axes: Axes, choice: Choice) -> Axes:
    """Put the choice where "auto" stands; -t auto alone means both, each with its own number."""
    batch = axes.threads_batch or ((AUTO,) if AUTO in axes.threads else ())
    return msgspec.structs.replace(
        axes,
        threads=_filled(axes.threads, choice.n_threads),
        threads_batch=_filled(batch, choice.n_threads_batch),
    )


def _filled(counts: Sequence[int], chosen: int) -> tuple[int, ...]:
    return tuple(dict.fromkeys(chosen if count == AUTO else count for count in counts))


def check_axes(axes: Axes, *, zipped: bool) -> None:
    """Look for wrong values before anything is made.

    Raises:
        UserError: a value is out of bounds, or the lists cannot be paired.
    """
    expand(resolved(axes, Choice(1, 1)), (), zipped=zipped)


def cells_of(axes: Axes, files: Sequence[Prepared], chooser: Chooser, *, zipped: bool) -> list[Cell]:
    """Make the cells of every file, after choosing its threads where that was asked."""
    if not wants_auto(axes):
        return expand(axes, [file.artifact.sha256 for file in files], zipped=zipped)
    cells = []
    for file in files:
        choice = choose_for(axes, file, chooser, zipped=zipped)
        cells += expand(resolved(axes, choice), [file.artifact.sha256], zipped=zipped)
    return cells


def choose_for(axes: Axes, file: Prepared, chooser: Chooser, *, zipped: bool) -> Choice:
    """Give the threads of one file: kept ones, or the result of a search under the first of each other setting."""
    if AUTO in axes.threads:
        kinds = KINDS if AUTO in axes.threads_batch or not axes.threads_batch else ("decode",)
    else:
        kinds = ("prefill",)
    (cell, *_) = expand(resolved(axes, Choice(1, 1)), [file.artifact.sha256], zipped=zipped)
    limits = limits_of(chooser.environment, axes.cores, chooser.physical_of)
    kept = _Kept(cell, chooser.environment, limits, kinds)
    if kept.path in chooser.chosen:
        return chooser.chosen[kept.path]
    choice = chooser.chosen[kept.path] = _found(file, cell, kept, limits, kinds, chooser)
    return choice


def _found(file: Prepared, cell: Cell, kept: "_Kept", limits: Limits, kinds: Sequence[str], chooser: Chooser) -> Choice:
    name = f"{file.artifact.model} {file.artifact.level}"
    if limits.most == 1:
        chooser.say(f"threads of {name}: 1, since this process may use no second core")
        return Choice(1, 1)
    if not chooser.fresh and (choice := kept.read()) is not None:
        for line in describe(choice, f"{name}, as chosen before", limits):
            chooser.say(line)
        return choice
    chooser.say(f"choosing the threads of {name}")
    need, have = needed_bytes(file.artifact, cell.config), chooser.available_bytes()
    try:
        if need > have:
            raise MeasureError("memory will not suffice")
        choice = choose(lambda n, kind: measure_rates(file, cell.config, n, kind, chooser), limits, kinds)
    except MeasureError as error:
        # The cells will tell what is wrong; they need some number until then.
        chooser.say(f"cannot choose the threads of {name}, so it gets {limits.fast}: {error}")
        return Choice(limits.fast, limits.fast)
    kept.write(choice)
    for line in describe(choice, name, limits):
        chooser.say(line)
    return choice


def measure_rates(file: Prepared, config: RunConfig, n_threads: int, kind: str, chooser: Chooser) -> list[float]:
    """Run one worker of short token counts and give its repetitions' tokens per second.

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
    answer = chooser.run(Job(path=str(file.path), config=short, reps=_REPS, seed=chooser.seed))
    if answer.measured is None:
        raise MeasureError(answer.failure.message if answer.failure else "the worker gave no answer")
    return [(n_prompt + n_gen) * _NS_PER_S / sample.timed_ns for sample in answer.measured.samples if sample.timed_ns]


class _Kept:
    """Where a choice is kept: a small file named by what the choice depends on."""

    def __init__(self, cell: Cell, environment: Environment, limits: Limits, kinds: Sequence[str]) -> None:
        config = cell.config
        matters = (
            _VERSION,
            cell.artifact_sha256,
            environment.id,
            limits,
            kinds,
            (config.cores, config.type_k, config.type_v, config.flash_attn, config.load_mode, config.repack),
            (config.n_batch, config.n_ubatch, config.device, config.n_gpu_layers),
        )
        self._limits, self._kinds = limits, kinds
        name = hashlib.sha256(msgspec.json.encode(matters)).hexdigest()[:32]
        self.path = cache_dir() / "threads" / f"{name}.json"

    def read(self) -> Choice | None:
        try:
            choice = msgspec.json.decode(self.path.read_bytes(), type=Choice)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return None
        in_bounds = all(1 <= n <= self._limits.most for n in (choice.n_threads, choice.n_threads_batch))
        whole = {tried.kind for tried in choice.tried if tried.rates} >= set(self._kinds)
        return choice if in_bounds and whole else None

    def write(self, choice: Choice) -> None:
        try:
            write_text(self.path, msgspec.json.encode(choice).decode())
        except OSError as error:
            raise UserError(f"cannot write {self.path}: {error.strerror}; make room, or set SLMPROF_CACHE") from error
