"""The answer at the top of a report: what `slmprof recommend` chooses for the load under which most was measured."""

from collections.abc import Sequence

import msgspec

from plots.canvas.panels import Panel, panels
from profiler.recommend.choose import recommend
from profiler.recommend.limits import limits_text
from profiler.recommend.reasons import bar_in_words, weights_text
from profiler.recommend.records import Candidate, Choice, Criteria, Prefer, Recommendation
from profiler.recommend.rule import goal_of
from profiler.records.cell_summary import CellSummary
from profiler.tables.format import load_in_words
from quant.base.text import counted
from quant.base.units import format_bytes

_RUNNERS_UP = 4  # of one model
_NEAR_MISSES = 2
_MODELS = 8  # more are no answer but a table, which follows anyway


class AnswerRow(msgspec.Struct, frozen=True, kw_only=True):
    """One file at its best setting."""

    cell: CellSummary
    is_best: bool  # of its model
    costs: str  # compared with the best one, in words


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What to use, as far as the results show."""

    headline: str
    reasons: list[str]
    rows: list[AnswerRow]  # the best of each model, each followed by its runners-up
    chosen: CellSummary | None = None  # the headline's


class _Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """The choices of one load, and what they were made from."""

    criteria: Criteria
    load: list[Choice]  # one per model
    fitting: list[Choice]  # those with a choice, in the order in which they are shown
    cells: dict[tuple[str, str], CellSummary]  # by environment and cell_key

    @property
    def by_speed(self) -> bool:
        """Whether the fastest wins, and not the best quality or a product."""
        return self.criteria.order is None and goal_of(self.criteria.limits) == "speed"

    def cell_of(self, choice: Choice, candidate: Candidate | None = None) -> CellSummary:
        """Return the summary of a candidate, by default of the chosen one."""
        found = candidate or choice.chosen
        assert found is not None
        return self.cells[choice.env_id, found.cell_key]


def answer(
    summaries: Sequence[CellSummary],
    criteria: Criteria | None = None,
    *,
    quality_problem: str | None = None,
) -> Answer:
    """Choose among the cells.

    Args:
        summaries: the cells.
        criteria: None where nothing was requested.
        quality_problem: why measured quality is in no cell.

    Raises:
        UserError: a limit is on a figure that was not measured.
    """
    cells = summaries
    if criteria is None:
        usable = [cell for cell in summaries if cell.status == "ok" and cell.decode_tps is not None]
        if not usable:
            return Answer(
                headline="No choice: no decode was measured",
                reasons=[f"None of {len(summaries)} cells has a decode rate."],
                rows=[],
            )
        cells, criteria = max(panels(usable), key=_worth).cells, Criteria()
    found = _chosen(cells, recommend(cells, criteria), criteria)
    if not found.load:
        return Answer(headline="No choice: no cell is measured", reasons=[], rows=[])
    return Answer(
        headline=_headline(found),
        reasons=[*_why(found), *_quality(found, quality_problem), *_missing(found, summaries)],
        rows=_rows(found),
        chosen=found.cell_of(found.fitting[0]) if found.fitting else None,
    )


def _worth(panel: Panel) -> tuple[int, bool]:
    """Prefer the load with the most cells, and of equals a request."""
    return (len(panel.cells), panel.cells[0].config.mode == "request")


def _chosen(cells: Sequence[CellSummary], found: Recommendation, criteria: Criteria) -> _Chosen:
    by_key = {(cell.env_id, cell.cell_key): cell for cell in cells}
    load = _fullest(found)
    by_speed = criteria.order is None and goal_of(criteria.limits) == "speed"

    def place(each: Choice) -> tuple[float, str]:
        """Put the fastest model first without limits, else the largest."""
        assert each.chosen is not None
        speed = each.chosen.speed.value if each.chosen.speed else 0.0
        return -speed if by_speed else -each.n_params, each.model

    return _Chosen(
        criteria=criteria, load=load, fitting=sorted((each for each in load if each.chosen), key=place), cells=by_key
    )


def _fullest(found: Recommendation) -> list[Choice]:
    """Return the choices of the device and load with the most fitting models, then with the most cells."""
    loads: dict[tuple[object, ...], list[Choice]] = {}
    for each in found.choices:
        key = (each.env_id, each.device, each.mode, each.workload, each.n_prompt, each.n_gen, each.n_depth)
        loads.setdefault(key, []).append(each)

    def worth(load: list[Choice]) -> tuple[int, int, bool]:
        n_chosen = sum(each.chosen is not None for each in load)
        return n_chosen, sum(each.n_considered for each in load), load[0].mode == "request"

    return max(loads.values(), key=worth, default=[])


def _headline(found: _Chosen) -> str:
    if not found.fitting:
        return "No choice: no cell meets the limits"
    n_fitting, n_models = len(found.fitting), len(found.load)
    first = reached(found.cell_of(found.fitting[0]))
    if n_models == 1:
        return first
    if found.by_speed:
        return f"{first}, the fastest of {n_models} models"
    if n_fitting == 1:
        return f"{first}, the only one of {n_models} models that meets the limits"
    return f"{first}, the largest of {n_fitting} models that meet the limits"


def reached(cell: CellSummary) -> str:
    """Return a cell's name and what it reaches."""
    threads = counted(cell.config.n_threads, "thread")
    memory = "" if cell.model_rss_bytes is None else f" in {format_bytes(cell.model_rss_bytes.value)} of memory"
    synthetic = "" if cell.artifact.weights == "real" else " (synthetic weights)"
    speed = "" if cell.decode_tps is None else f": {cell.decode_tps.value:.3g} tokens/s"
    return f"{cell.artifact.model} at {cell.artifact.level}{synthetic} with {threads}{speed}{memory}"


def _why(found: _Chosen) -> list[str]:
    """Return how the choice was made."""
    criteria, first = found.criteria, found.load[0]
    bases = {each.quality_basis for each in found.load}
    bar = "kld" in bases, "bpw" in bases
    if found.by_speed and criteria.limits.max_kld is None:
        reasons = [f"No limit given, so the fastest decode wins, of cells {bar_in_words(*bar)}."]
    else:
        order = "the best quality, then the fastest, then the smallest"
        if found.by_speed:
            order = "the fastest"
        elif isinstance(criteria.order, Prefer):
            order = f"weights {weights_text(criteria.order)}"
        reasons = [f"Limits: {limits_text(criteria.limits) or 'none'}; order: {order}."]
        if len(found.fitting) == 1:
            reasons.append(f"Chosen because {found.fitting[0].reason}.")
    for each in found.fitting[:_MODELS]:
        named = f"{each.model}: " if len(found.fitting) > 1 else ""
        reasons += [f"{named}{line}." if named else f"{line[0].upper()}{line[1:]}." for line in each.disturbed]
    if not found.fitting:
        for each in found.load[:_MODELS]:
            reasons.append(f"{each.model}: {each.reason}." + (f" To get one: {each.relax.text}." if each.relax else ""))
    return [*reasons, f"Workload {first.workload}: {load_in_words(first)}."]


def _quality(found: _Chosen, quality_problem: str | None) -> list[str]:
    """Return what is known of quality: between models nothing, between levels what was measured."""
    reasons = []
    if len(found.fitting) > 1:
        reasons.append(
            "Larger models mostly answer better, which nothing here measures: choose the model by what it must be able "
            "to do. Each model's own choice follows."
        )
    if quality_problem and found.by_speed:
        reasons.append(f"{quality_problem[:1].upper()}{quality_problem[1:]}.")
    elif found.by_speed and all(cell.quality.kld is cell.quality.ppl is None for cell in found.cells.values()):
        reasons.append("Quality was not measured: fewer bits per weight cost quality, which nothing here shows.")
    elif not found.by_speed and any(each.quality_basis == "bpw" for each in found.fitting):
        reasons.append("Quality was not measured for all cells: more bits per weight are taken as better.")
    if any(each.weights != "real" for each in found.load):
        reasons.append("SYNTHETIC weights: speed and memory are those of the shape; quality is unknown.")
    return reasons


def _missing(found: _Chosen, summaries: Sequence[CellSummary]) -> list[str]:
    """Return which cells were not considered or are not shown."""
    reasons = []
    measured = [cell for cell in summaries if cell.status == "ok"]
    if n_bad := len(summaries) - len(measured):
        reasons.append(f"Failed or skipped: {counted(n_bad, 'cell')}.")
    loads = {
        (cell.env_id, cell.config.device, cell.config.mode, cell.config.workload, cell.config.n_depth)
        for cell in measured
    }
    if n_other := max(0, len(loads) - 1):
        more = f"{counted(n_other, 'more device')} or workload{'' if n_other == 1 else 's'}"
        reasons.append(f"The results hold {more}, which the table shows; slmprof recommend answers for each.")
    if len(found.fitting) > _MODELS:
        order = "fastest" if found.by_speed else "largest"
        reasons.append(f"Only the {_MODELS} {order} of {len(found.fitting)} models are shown here; the table has all.")
    return reasons


def _rows(found: _Chosen) -> list[AnswerRow]:
    if not found.fitting:
        return [row for each in found.load[:_MODELS] for row in _missed(each, found)]
    rows = []
    for each in found.fitting[:_MODELS]:
        rows.append(_row(found.cell_of(each), each.reason, is_best=True))
        for other in each.runners_up[:_RUNNERS_UP]:
            rows.append(_row(found.cell_of(each, other.candidate), other.text))
        rows += _missed(each, found)
    return rows


def _missed(choice: Choice, found: _Chosen) -> list[AnswerRow]:
    return [
        _row(
            found.cell_of(choice, each.candidate),
            f"does not meet the limits: {' and '.join(miss.needs for miss in each.misses)}",
        )
        for each in choice.near_misses[:_NEAR_MISSES]
    ]


def _row(cell: CellSummary, costs: str, *, is_best: bool = False) -> AnswerRow:
    mark = f"disturbed ({', '.join(cell.flags)}): " if cell.flags else ""
    return AnswerRow(cell=cell, is_best=is_best, costs=mark + costs)
