"""The content of a report, gathered once; html.py and markdown.py only write it down."""

import shlex
from collections.abc import Sequence

import msgspec

from plots.report.answer import Answer, AnswerRow, answer
from plots.report.cautions import Caution, cautions, name_of
from plots.report.cells import Column, columns_of
from plots.report.charts import Chart, Charts, charts_of
from plots.report.facts import Facts, environments_of, files_of, methods_of
from plots.report.picked import answer_of_picks, commands_of_picks, race_charts_of
from plots.report.rerun import rerun_commands
from plots.report.setup import setup_of
from profiler.analysis.quality_by_file import comparable
from profiler.analysis.summarise import summarise_and_warn
from profiler.deploy.make import deploy_of
from profiler.pick.session import Pick
from profiler.recommend.records import Criteria
from profiler.records.cell_summary import CellSummary
from profiler.results.file import Results
from profiler.tables.format import figure, thread_counts
from profiler.tasks.table import TaskTable, tables_of
from quant.base.errors import UserError
from quant.base.text import counted
from quant.base.units import format_bytes

_MOST_COMMANDS = 20
_MOST_FILES = 60
_MOST_NOTES = 6
_NAMED_MODELS = 3
_FIRST_ROWS = 50  # as many as a page of the table
_CHOICE_NAMES = ("file", "threads", "decode t/s", "prefill t/s", "TTFT ms", "memory", "file size", "against the best")


class ShownChoice(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the answer's table."""

    file: str
    figures: list[str]
    costs: str
    is_best: bool


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a report, in the order in which it is read. All texts are still as the results have them."""

    title: str
    subtitle: str
    setup: list[tuple[str, str]]  # device, workloads, rounds: what all charts and tables share
    synthetic: str | None
    results_name: str
    summaries: list[CellSummary]
    answer: Answer
    choice_names: list[str]
    choices: list[ShownChoice]
    races: list[Chart]  # of picks
    charts: list[Chart]
    charts_note: str | None
    columns: list[Column]
    tasks: list[TaskTable]  # what files answered
    notices: list[str]  # what is odd about the files themselves, and what disturbed rounds without moving a figure
    cautions: list[Caution]
    environments: list[Facts]
    files: list[tuple[str, str]]
    methods: list[tuple[str, str]]
    commands: list[str]
    show_commands: list[str]
    runs: list[tuple[str, list[str]]]  # what runs the choice: for which program, and its lines

    @property
    def n_cells(self) -> int:
        """All rows of the table."""
        return len(self.summaries)

    @property
    def first_rows(self) -> list[list[str]]:
        """The rows that are there before any script runs."""
        return [[column.text(row) for column in self.columns] for row in range(min(_FIRST_ROWS, len(self.summaries)))]


def gather(
    results: Results,
    *,
    results_name: str = "results.jsonl",
    draw: bool = True,
    criteria: Criteria | None = None,
    asked: str = "",
    picks: Sequence[Pick] = (),
) -> Report:
    """Summarize results and draw their charts; `results_name` is the name, without a folder, that commands use.

    `asked` are the options of the criteria, as they were typed; `criteria` is None where there are none.
    With `picks` their answer is the report's, and their races are drawn first.

    Raises:
        UserError: a limit asks for what nobody measured.
    """
    summaries, messages = summarise_and_warn(results)
    found = answer_of_picks(picks, summaries) if picks else _answer(results, summaries, criteria)
    names = shlex.split(results_name)
    commands = rerun_commands(results, summaries, output=names[0] if len(names) == 1 else "results.jsonl")
    left = len(commands) - _MOST_COMMANDS
    choice_names, choices = _table_of(found.rows)
    columns, warnings = columns_of(summaries), cautions(results, summaries, messages)
    drawn = charts_of(results, summaries) if draw else Charts(cells=summaries)
    return Report(
        title=_title(summaries),
        subtitle=_subtitle(results, summaries),
        setup=setup_of(results.environments, drawn.cells, summaries),
        synthetic=_synthetic(summaries),
        results_name=results_name,
        summaries=summaries,
        answer=found,
        choice_names=choice_names,
        choices=choices,
        races=race_charts_of(picks) if draw else [],
        charts=drawn.charts,
        charts_note=drawn.note,
        columns=columns,
        tasks=tables_of(results),
        notices=[
            *(f"{notice[:1].upper()}{notice[1:]}." for notice in results.warnings),
            *_disturbed_rounds(summaries),
        ],
        cautions=warnings,
        environments=environments_of(results, summaries),
        files=files_of(results, summaries, _MOST_FILES),
        methods=methods_of(summaries, results),
        commands=commands[:_MOST_COMMANDS] + ([f"# and {left} more commands"] if left > 0 else []),
        show_commands=[
            *commands_of_picks(picks),
            f"slmprof report {results_name}{asked and ' '}{asked} -o report.html",
            *([f"slmprof recommend {results_name} {asked}"] if asked else []),
            f"slmprof show {results_name}",
            f"slmprof plot {results_name} -o charts",
        ],
        runs=_runs(found.chosen, criteria),
    )


def _answer(results: Results, summaries: Sequence[CellSummary], criteria: Criteria | None) -> Answer:
    problem = comparable(results).problem
    if problem and criteria is not None and criteria.limits.max_kld is not None:
        raise UserError(problem)
    return answer(summaries, criteria, quality_problem=problem)


def _runs(chosen: CellSummary | None, criteria: Criteria | None) -> list[tuple[str, list[str]]]:
    """Return what runs the chosen cell, with its file in models/, where `slmprof run` puts files."""
    if chosen is None:
        return []
    name = chosen.artifact.file_name.rpartition("/")[2]
    found = deploy_of(chosen, model_path=f"models/{name}", n_ctx=criteria.limits.n_ctx if criteria else None)
    if found is None:
        return []
    texts = {
        "llama-server": found.llama_server,
        "llama-cli": found.llama_cli,
        "Ollama's Modelfile": found.modelfile,
        "A models file of llama-server": found.models_ini,
        "llama-cpp-python": found.python,
    }
    return [(title, text.splitlines()) for title, text in texts.items()]


def _disturbed_rounds(summaries: Sequence[CellSummary]) -> list[str]:
    found = [f"{name_of(cell)}: {note}." for cell in summaries for note in cell.notes]
    left = len(found) - _MOST_NOTES
    more = [f"{counted(left, 'more note')} of this kind: see slmprof show."] if left > 0 else []
    return [*found[:_MOST_NOTES], *more]


def _title(summaries: Sequence[CellSummary]) -> str:
    models = list(dict.fromkeys(cell.artifact.model for cell in summaries))
    if not models:
        return "no cells"
    named = ", ".join(models[:_NAMED_MODELS])
    left = len(models) - _NAMED_MODELS
    return named if left <= 0 else f"{named} and {counted(left, 'more model')}"


def _subtitle(results: Results, summaries: Sequence[CellSummary]) -> str:
    boards = list(
        dict.fromkeys(
            environment.board or environment.cpu_model
            for cell in summaries
            if (environment := results.environments.get(cell.env_id)) is not None
        )
    )
    days = sorted({cell.started_at[:10] for cell in summaries if cell.started_at})
    parts = [counted(len(summaries), "cell")]
    parts.append(f"on {', '.join(boards[:_NAMED_MODELS])}" + (" and others" if len(boards) > _NAMED_MODELS else ""))
    if days:
        parts.append(f"measured {days[0]}" + (f" to {days[-1]}" if len(days) > 1 else ""))
    return ", ".join(part for part in parts if part != "on ")


def _synthetic(summaries: Sequence[CellSummary]) -> str | None:
    n_synthetic = sum(cell.artifact.weights != "real" for cell in summaries)
    if not n_synthetic:
        return None
    which = "all cells" if n_synthetic == len(summaries) else f"{n_synthetic} of {len(summaries)} cells"
    return f"Synthetic weights in {which}: random numbers in the model's shape, for speed and memory only."


def _table_of(choices: Sequence[AnswerRow]) -> tuple[list[str], list[ShownChoice]]:
    """Return the answer's table, without the columns that nothing was measured for."""
    rows = [_figures(choice.cell) for choice in choices]
    kept = [place for place in range(6) if any(row[place] for row in rows)]
    names = [_CHOICE_NAMES[0], *(_CHOICE_NAMES[1 + place] for place in kept), _CHOICE_NAMES[-1]]
    shown = [
        ShownChoice(
            file=f"{choice.cell.artifact.model} {choice.cell.artifact.level}"
            + ("" if choice.cell.artifact.weights == "real" else " (synthetic)"),
            figures=[row[place] for place in kept],
            costs=choice.costs,
            is_best=choice.is_best,
        )
        for choice, row in zip(choices, rows, strict=True)
    ]
    return names, shown


def _figures(cell: CellSummary) -> list[str]:
    memory = cell.model_rss_bytes
    return [
        thread_counts(cell.config),
        *(figure(span.value) if span else "" for span in (cell.decode_tps, cell.prefill_tps, cell.ttft_ms)),
        format_bytes(memory.value) if memory else "",
        format_bytes(cell.artifact.file_bytes),
    ]
