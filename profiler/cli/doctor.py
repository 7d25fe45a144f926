"""`slmprof doctor`: the device, and what would spoil a measurement on it."""

import json

import click


@click.command()
@click.option(
    "--json", "as_json", is_flag=True, help="Print JSON: device, build, conditions, findings, energy, ceilings."
)
@click.option(
    "--bandwidth",
    is_flag=True,
    help="Measure and store the read bandwidth of memory and of llama.cpp's kernels; takes half a minute or more. "
    "Later results then report decode's MBU.",
)
def doctor(as_json: bool, bandwidth: bool) -> None:
    """Describe the device and its llama.cpp build, what would spoil a measurement, and the command that fixes it.

    Nothing is changed. The exit status is 0 whatever is found.

    \b
    slmprof doctor
    slmprof doctor --bandwidth
    """
    from profiler.doctor.diagnosis import diagnose, to_object, with_measured_ceiling
    from profiler.doctor.text import render

    diagnosis = diagnose()
    if bandwidth:
        click.echo("measuring the bandwidth: half a minute or more, best on an idle machine", err=True)
        diagnosis = with_measured_ceiling(diagnosis)
    click.echo(json.dumps(to_object(diagnosis), indent=2) if as_json else render(diagnosis))
