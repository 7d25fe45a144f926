"""`slmprof calibrate`: what this device takes for each operation, from which estimate predicts speeds."""

import click


@click.command()
@click.option(
    "-t",
    "--threads",
    metavar="LIST",
    help="Threads like 1,2,4 or 1-4; speeds are predicted for these.  [default: 1,2,4,… up to the physical cores]",
)
@click.option(
    "--budget",
    metavar="TIME",
    default="90s",
    help="Time for everything; the types of the usual levels come first.",
)
def calibrate(threads: str | None, budget: str) -> None:
    """Time this device's operations, so that slmprof estimate predicts speeds.

    Products of each type of weights, attention at several depths, and the other operations of today's models are timed
    one by one, with no model downloaded. It takes a minute, best on an idle machine, and is kept for this environment:
    another llama.cpp, kernel or governor needs another one.

    \b
    slmprof calibrate
    slmprof calibrate -t 4 --budget 60s
    """
    from profiler.calibration.run import calibrate as run
    from profiler.calibration.text import render
    from profiler.device.environment import available_memory_bytes, physical_cores, probe_backend, read_environment
    from profiler.measure.repack_probe import repack_in_force
    from profiler.records.config import MAX_THREADS
    from profiler.sweep.grid import default_threads
    from quant.base.ints import parse_ints
    from quant.base.units import parse_duration_s

    counts = default_threads(physical_cores())
    if threads is not None:
        counts = parse_ints(threads, "-t", least=1, most=MAX_THREADS)
    budget_s = parse_duration_s(budget)
    env_id = read_environment(probe_backend()).id
    click.echo("timing this device's operations: a minute, best on an idle machine", err=True)
    found = run(
        env_id,
        counts,
        repack=repack_in_force(True),
        budget_s=budget_s,
        available_bytes=available_memory_bytes(),
    )
    for line in render(found):
        click.echo(line)
