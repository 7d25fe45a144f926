"""One call of `profile`: sources become files, files and settings become cells, cells become results."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from profiler.sweep.grid import Axes, read_sweep
from profiler.sweep.sweep import Options, Outcome, View, run_sweep
from quant.base.errors import UserError
from quant.sources.prepare import Prepared, Wishes
from quant.sources.resolve import resolve


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What the user asked for."""

    sources: tuple[str, ...]
    wishes: Wishes
    axes: Axes
    options: Options
    results: Path
    sweep_file: Path | None = None
    zipped: bool = False
    fresh: bool = False


def run_session(
    request: Request, *, files: Callable[[], list[Prepared]], say: Callable[[str], None], view: View
) -> Outcome:
    """Do all that is not in the results file yet. `files` is called when everything else has been found in order.

    Raises:
        UserError: the input is wrong, or another sweep writes this file.
    """
    from profiler.device.bandwidth_record import kept_elsewhere
    from profiler.device.environment import available_memory_bytes, probe_backend, read_environment
    from profiler.device.os import physical_of
    from profiler.measure.launch import run_worker
    from profiler.measure.repack_probe import repack_in_force
    from profiler.results.file import ResultsWriter
    from profiler.sweep.instruments import Beside
    from profiler.sweep.stopping import Stopping
    from profiler.sweep.thread_choice import Chooser, cells_of, check_axes

    axes = read_sweep(request.sweep_file, request.axes) if request.sweep_file else [request.axes]
    for each in axes:
        check_axes(each, zipped=request.zipped)  # a wrong value is found before anything is made
    for text in request.sources:
        resolve(text)
    with ResultsWriter(request.results, fresh=request.fresh, say=say) as writer:
        backend = probe_backend()
        environment = read_environment(backend)
        if any("gpu" in each.device for each in axes) and not any(
            device.kind in ("gpu", "igpu") for device in environment.devices
        ):
            raise UserError(
                "this build of llama.cpp knows no GPU; use --device cpu, or reinstall llama-cpp-python with one"
            )
        prepared = files()
        if any(True in each.repack for each in axes) and not repack_in_force(True, say):
            axes = [msgspec.structs.replace(each, repack=(False,)) for each in axes]
        known = writer.results
        if environment.id not in known.environments:
            if known.environments:
                say(f"{request.results} also holds rounds of another environment; they are kept apart, not mixed")
            writer.write(environment)
        for file in prepared:
            if known.artifacts.get(file.artifact.sha256) != file.artifact:
                writer.write(file.artifact)
        timeout_s, target = request.options.timeout_s, request.options.target
        beside = Beside.of(environment)
        if kept_elsewhere(environment.id):
            say(
                "the read bandwidth was measured in another state of this device (governor, kernel, variables); "
                "slmprof doctor --bandwidth in this one tells what share of it decode uses"
            )
        trusted = [
            record
            for record in known.rounds
            if record.env_id == environment.id and record.status == "ok" and record.doubt is None
        ]
        chooser = Chooser(
            environment=environment,
            run=lambda job: run_worker(job, timeout_s=timeout_s),
            available_bytes=available_memory_bytes,
            say=say,
            physical_of=physical_of,
            seed=request.options.seed,
            fresh=request.fresh,
        )
        cells = [cell for each in axes for cell in cells_of(each, prepared, chooser, zipped=request.zipped)]
        stopping = Stopping(target, request.options.rounds) if target else None
        for record in sorted(trusted, key=lambda record: record.order):
            if stopping:
                stopping.add(record)
        return run_sweep(
            list({cell.key: cell for cell in cells}.values()),
            {file.artifact.sha256: (file.artifact, file.path) for file in prepared},
            environment,
            done={(record.cell.key, record.round) for record in trusted},
            first_order=1 + max((record.order for record in [*known.rounds, *known.anchors]), default=-1),
            options=request.options,
            write=beside.writing(writer.write),
            run=beside.running(lambda job: run_worker(job, timeout_s=timeout_s)),
            available_bytes=available_memory_bytes,
            view=view,
            earlier=[*trusted, *(record for record in known.anchors if record.env_id == environment.id)],
            say=say,
            stopping=stopping,
        )
