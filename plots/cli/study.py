"""`slmprof study`: whole studies in one command. It is part of plots because it draws."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from profiler.cli.options import PATH, threads_option
from quant.base.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plots.survey.measure import Watch
    from plots.survey.plan import SurveyModels
    from profiler.cli.progress.view import SweepView

_BUDGET = "30m"


@click.group()
def study() -> None:
    """Repeat a published study on this board.

    \b
    slmprof study survey -o survey/
    """


@study.command()
@click.option("--measure", "how", flag_value="measure", help="Predict no speed, only measure.")
@click.option("--predict", "how", flag_value="predict", help="Measure nothing more, only predict; needs slmprof "
              "calibrate.")  # fmt: skip
@click.option("--models", "listed", metavar="LIST", help="Only these models, comma-separated: names of slmprof models, "
              "hub ids, folders or config.json.  [default: the 20 of the survey's figure 7]")  # fmt: skip
@threads_option
@click.option("--budget", metavar="TIME", default=_BUDGET, help="Time for making files and measuring: no round begins "
              "after it. The same command again goes on.")  # fmt: skip
@click.option("-o", "--output", "folder", type=PATH, required=True, help="The folder for all output.")
def survey(how: str | None, listed: str | None, threads: int | None, budget: str, folder: Path) -> int:
    """Repeat the runtime figures of a survey of small language models on this board.

    The survey (arXiv 2409.15790) measured 20 models on one Jetson: 50 tokens in, 50 out, 4-bit files. This measures the
    same load with synthetic weights, so nothing is downloaded: latency and memory against parameters (its figure 7),
    quantization levels (8), operators (10) and memory by part and context (11), each over the published values. Its
    findings become questions with this board's answers. What a question compares is measured first; what the budget
    leaves is predicted, with a range, once slmprof calibrate has timed this device. A sixth of a budget of two
    minutes or more sustains one model's load without a pause (9).

    The folder gets survey.html, survey.md, charts/ with a CSV file beside each figure, results.jsonl and
    operators.json. Files of models are made in models/ and deleted once measured.

    \b
    slmprof study survey -o survey/
    slmprof study survey --predict -t 4 -o survey/
    slmprof study survey --models qwen1.5-0.5b,qwen2-0.5b --measure --budget 2h -o survey/
    """
    from plots.survey.gather import gather
    from plots.survey.run import SurveyRequest, run_survey
    from plots.survey.write import write_survey
    from profiler.device.environment import physical_cores
    from quant.base.progress import say
    from quant.base.units import parse_duration_s

    n_threads = threads or physical_cores()
    request = SurveyRequest(
        models=_models(listed),
        n_threads=n_threads,
        folder=folder,
        budget_s=parse_duration_s(budget),
        measures=how != "predict",
        predicts=how != "measure",
        command=_command(how, listed, budget, n_threads, folder),
    )
    ran = run_survey(request, _watch())
    found = gather(ran, request.command)
    for note in found.notes:
        say(note)
    for path in write_survey(found, folder):
        click.echo(path)
    return 1 if ran.ended.n_failed else 0


def _models(listed: str | None) -> "SurveyModels":
    """Return the models by the names that their records have.

    Raises:
        UserError: a source is unknown, or two have one name.
    """
    from plots.survey.plan import survey_models
    from quant.sources.prepare import model_name, refuse_equal_names
    from quant.sources.resolve import resolve

    if listed is None:
        return survey_models()
    sources = [resolve(text.strip()) for text in listed.split(",")]
    refuse_equal_names(sources)
    if gguf := next((source for source in sources if source.kind == "gguf"), None):
        raise UserError(f"{gguf.text} is a file already; study makes files of a shape: pass a name or a config.json")
    return survey_models({model_name(source, None): source.text for source in sources})


def _command(how: str | None, listed: str | None, budget: str, n_threads: int, folder: Path) -> str:
    """Return the command to type again; a page to share holds no paths, so folders are their names."""
    parts = ["slmprof study survey", f"-t {n_threads} --budget {shlex.quote(budget)}"]
    parts += [f"--{how}"] if how else []
    names = [text.strip() for text in listed.split(",")] if listed else []
    names = ["/".join(Path(name).parts[-2:]) if Path(name).exists() else name for name in names]
    parts += [f"--models {shlex.quote(','.join(names))}"] if names else []
    return " ".join([*parts, f"-o {shlex.quote(folder.absolute().name or 'survey')}"])


def _watch() -> "Watch":
    from contextlib import contextmanager

    from plots.survey.measure import Watch
    from profiler.cli.progress.bar import progress_bar
    from profiler.cli.progress.view import sweep_view
    from quant.base.progress import watch

    @contextmanager
    def view() -> "Iterator[SweepView]":
        with sweep_view() as shown, watch(say=shown.say):
            yield shown

    return Watch(view=view, making=progress_bar)
