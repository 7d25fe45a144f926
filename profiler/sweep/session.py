"""One call of `profile`: sources become files, files and settings become cells, cells become results."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from profiler.analysis.kv_cache import beyond_training
from profiler.analysis.threads_ran import holding_back
from profiler.device.bandwidth_record import kept_elsewhere
from profiler.device.environment import available_memory_bytes, probe_backend, read_environment
from profiler.device.os.system import this_system
from profiler.measure.launch import run_worker
from profiler.measure.repack_probe import repack_in_force
from profiler.measure.worker import Answer, Job
from profiler.records.config import Cell, RunConfig
from profiler.records.environment import Environment
from profiler.results.writer import ResultsWriter
from profiler.sweep.grid import Axes, read_sweep
from profiler.sweep.instruments import Instruments
from profiler.sweep.plan import Options, Plan, history_of
from profiler.sweep.sustain import SustainedSweep
from profiler.sweep.sweep import Outcome, Sweep
from profiler.sweep.thread_choice import ThreadChooser, check_axes
from profiler.sweep.tools import OnMinute, Tools, View
from quant.base.errors import UserError
from quant.base.progress import say
from quant.gguf_io.artifact import Artifact
from quant.sources.prepare import Prepared, PrepareOptions
from quant.sources.resolve import resolve


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What the user requested."""

    sources: tuple[str, ...]
    prepare_options: PrepareOptions
    axes: Axes
    options: Options
    results: Path
    sweep_file: Path | None = None
    zipped: bool = False
    fresh: bool = False


def run_session(request: Request, *, files: Callable[[], list[Prepared]], view: View) -> Outcome:
    """Do all that is not in the results file yet. `files` is called when everything else has been found in order.

    Raises:
        UserError: the input is wrong, or another sweep writes this file.
    """
    grids = _checked_grids(request)
    with ResultsWriter(request.results, fresh=request.fresh, say=say) as writer:
        environment = read_environment(probe_backend())
        check_gpu(grids, environment)
        prepared = files()
        grids = with_working_repack(grids)
        write_environment(writer, environment, request.results)
        for file in prepared:
            write_artifact(writer, file.artifact)
        warn_of_bandwidth(environment)
        instruments = Instruments.of(environment)

        def run(job: Job) -> Answer:
            return run_worker(job, timeout_s=request.options.timeout_s)

        def run_minutes(job: Job, on_minute: OnMinute) -> Answer:
            return run_worker(job, timeout_s=request.options.timeout_s, on_minute=on_minute)

        chooser = ThreadChooser(
            environment=environment,
            run=run,
            available_bytes=available_memory_bytes,
            physical_of=this_system().physical_of,
            seed=request.options.seed,
            fresh=request.fresh,
        )
        cells = [
            _sustained(cell, request.options.sustain_s)
            for grid in grids
            for cell in chooser.cells(grid, prepared, zipped=request.zipped)
        ]
        warn_of_variables(environment, [cell.config for cell in cells])
        _warn_of_contexts(cells, prepared)
        plan = Plan(
            cells=list({cell.key: cell for cell in cells}.values()),
            files={file.artifact.sha256: (file.artifact, file.path) for file in prepared},
            environment=environment,
            options=request.options,
            history=history_of(writer.results, environment.id),
        )
        tools = Tools(
            run=instruments.running(run),
            write=instruments.writing(writer.write),
            available_bytes=available_memory_bytes,
            view=view,
        )
        if request.options.sustain_s:
            return SustainedSweep(plan, tools, instruments.sustaining(run_minutes)).run()
        return Sweep(plan, tools).run()


def _sustained(cell: Cell, sustain_s: int) -> Cell:
    return msgspec.structs.replace(cell, config=msgspec.structs.replace(cell.config, sustain_s=sustain_s))


def _checked_grids(request: Request) -> list[Axes]:
    """Return the lists of every sweep; a wrong value or source is found here, before anything is made."""
    grids = grids_of(request)
    for grid in grids:
        check_axes(grid, zipped=request.zipped)
    for text in request.sources:
        resolve(text)
    return grids


def grids_of(request: Request) -> list[Axes]:
    """Return the lists of each sweep.

    Raises:
        UserError: the sweep file cannot be read.
    """
    return read_sweep(request.sweep_file, request.axes) if request.sweep_file else [request.axes]


def check_gpu(grids: Sequence[Axes], environment: Environment) -> None:
    """Check that there is a GPU where one is requested.

    Raises:
        UserError: there is none.
    """
    wanted = any("gpu" in grid.device for grid in grids)
    if wanted and not any(device.kind in ("gpu", "igpu") for device in environment.devices):
        raise UserError(
            "this build of llama.cpp has no GPU backend; use --device cpu, or reinstall llama-cpp-python with one"
        )


def with_working_repack(grids: list[Axes]) -> list[Axes]:
    """Disable repacking where this build crashes in its repacked kernels."""
    if any(True in grid.repack for grid in grids) and not repack_in_force(True):
        return [msgspec.structs.replace(grid, repack=(False,)) for grid in grids]
    return grids


def write_environment(writer: ResultsWriter, environment: Environment, results: Path) -> None:
    """Write the environment, where the results file does not hold it yet."""
    known = writer.results
    if environment.id not in known.environments:
        if known.environments:
            say(f"{results} also holds rounds of another environment; they are kept apart, not mixed")
        writer.write(environment)
        known.environments[environment.id] = environment


def write_artifact(writer: ResultsWriter, artifact: Artifact) -> None:
    """Write the facts of a file, where the results file does not hold them yet."""
    known = writer.results
    if known.artifacts.get(artifact.sha256) != artifact:
        writer.write(artifact)
        known.artifacts[artifact.sha256] = artifact


def warn_of_variables(environment: Environment, configs: Iterable[RunConfig]) -> None:
    """Report environment variables that keep threads from running."""
    most = max((max(config.n_threads, config.n_threads_batch) for config in configs), default=1)
    if found := holding_back(environment, most):
        listed = ", ".join(f"{name}={value}" for name, value in found.items())
        say(f"{listed} may keep {most} threads from running at once; unset {' '.join(found)}, or see slmprof doctor")


def _warn_of_contexts(cells: Sequence[Cell], prepared: Sequence[Prepared]) -> None:
    longest: dict[str, int] = {}
    for cell in cells:
        longest[cell.artifact_sha256] = max(longest.get(cell.artifact_sha256, 0), cell.config.n_ctx)
    found = [
        beyond_training(file.artifact.model, longest[file.artifact.sha256], file.artifact.shape.n_ctx_train)
        for file in prepared
        if file.artifact.shape is not None and file.artifact.sha256 in longest
    ]
    for line in dict.fromkeys(filter(None, found)):
        say(line)


def warn_of_bandwidth(environment: Environment) -> None:
    """Report that a measured bandwidth is of another state of this device."""
    if kept_elsewhere(environment.id):
        say(
            "the read bandwidth was measured in another state of this device (governor, kernel, variables); run "
            "slmprof doctor --bandwidth in this state to get the MBU of decode"
        )
