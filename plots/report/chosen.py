"""The answer of a report for stated limits: what `slmprof recommend` chooses, in a report's words."""

from collections.abc import Mapping, Sequence

import msgspec

from plots.report.answer import Answer, Choice, headline
from profiler.recommend.choose import recommend
from profiler.recommend.limits import words
from profiler.recommend.reasons import weights
from profiler.recommend.records import Candidate, Limits, Prefer, Recommendation
from profiler.recommend.records import Choice as Chosen
from profiler.records.cell_summary import CellSummary
from quant.gguf_io.artifact import Artifact

_RUNNERS_UP = 4  # of one model
_NEAR_MISSES = 2
_MODELS = 8

# Without limits the best quality is always the largest file, which is no answer; so all three count alike.
BALANCED = Prefer(speed=1, memory=1, quality=1)


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What a report is asked to choose by."""

    limits: Limits = Limits()
    prefer: Prefer | None = None
    flagged: bool = False

    @property
    def is_empty(self) -> bool:
        """Nothing was asked for."""
        return self == Wish()


def answer_by_quality(summaries: Sequence[CellSummary], artifacts: Mapping[str, Artifact]) -> Answer:
    """Weigh speed, memory and measured divergence alike, for results that hold all three and no stated limits."""
    return chosen_answer(summaries, artifacts, Wish(prefer=BALANCED))


def chosen_answer(summaries: Sequence[CellSummary], artifacts: Mapping[str, Artifact], wish: Wish) -> Answer:
    """Choose as `slmprof recommend` does, for the load under which most was measured.

    Raises:
        UserError: a limit asks for what nobody measured.
    """
    found = recommend(summaries, wish.limits, prefer=wish.prefer, flagged=wish.flagged, artifacts=artifacts)
    load = _fullest(found)
    if not load:
        return Answer(headline="No choice: no cell is measured", reasons=[], choices=[])
    cells = {(cell.env_id, cell.cell_key): cell for cell in summaries}
    fitting = sorted((each for each in load if each.chosen), key=lambda each: (-each.n_params, each.model))
    choices: list[Choice] = []
    for each in fitting[:_MODELS]:
        choices += _choices_of(each, cells)
    if not fitting:
        for each in load[:_MODELS]:
            choices += _misses_of(each, cells)
    return Answer(
        headline=_headline(fitting, cells, n_models=len(load)),
        reasons=[*_reasons(found, load, fitting, wish), *_disturbed(load, cells, wish)],
        choices=choices,
    )


def _disturbed(load: Sequence[Chosen], cells: Mapping[tuple[str, str], CellSummary], wish: Wish) -> list[str]:
    """Say so where cells that something disturbed may be chosen, and one was."""
    chosen = [cells[each.env_id, each.chosen.cell_key] for each in load if each.chosen]
    flags = sorted({flag for cell in chosen for flag in cell.flags})
    if not wish.flagged or not flags:
        return []
    return [
        f"Flagged cells count as well, as was asked for, and some are chosen ({', '.join(flags)}): see the warnings."
    ]


def _fullest(found: Recommendation) -> list[Chosen]:
    """Take the choices of the device and load under which most fits, then most was measured."""
    loads: dict[tuple[object, ...], list[Chosen]] = {}
    for each in found.choices:
        key = (each.env_id, each.device, each.mode, each.workload, each.n_prompt, each.n_gen, each.n_depth)
        loads.setdefault(key, []).append(each)

    def worth(load: list[Chosen]) -> tuple[int, int, bool]:
        n_chosen = sum(each.chosen is not None for each in load)
        return n_chosen, sum(each.n_considered for each in load), load[0].mode == "request"

    return max(loads.values(), key=worth, default=[])


def _headline(fitting: Sequence[Chosen], cells: Mapping[tuple[str, str], CellSummary], n_models: int) -> str:
    if not fitting:
        return "No choice: nothing keeps the limits"
    first = fitting[0]
    assert first.chosen is not None
    among = ""
    if n_models > 1:
        among = (
            f", the largest of {len(fitting)} models" if len(fitting) > 1 else f", the only one of {n_models} models"
        )
        among += " that keeps the limits" if len(fitting) == 1 else " that keep the limits"
    return headline(cells[first.env_id, first.chosen.cell_key]) + among


def _reasons(found: Recommendation, load: Sequence[Chosen], fitting: Sequence[Chosen], wish: Wish) -> list[str]:
    told = words(wish.limits)
    order = (
        f"weights {weights(wish.prefer)}" if wish.prefer else "the best quality, then the fastest, then the smallest"
    )
    reasons = [f"Asked for: {told or 'no limit'}; {order}."]
    if len(fitting) == 1:
        reasons.append(f"Chosen since {fitting[0].reason}.")
    if not fitting:
        for each in load[:_MODELS]:
            reasons.append(f"{each.model}: {each.reason}." + (f" To get one: {each.relax.text}." if each.relax else ""))
    first = load[0]
    work = (
        f"{first.n_prompt} tokens in and {first.n_gen} out"
        if first.mode == "request"
        else f"prefill of {first.n_prompt} and decode of {first.n_gen} tokens, each at depth {first.n_depth}"
    )
    reasons.append(f"Workload {first.workload}: {work}.")
    if len(fitting) > 1:
        reasons.append(
            "Larger models mostly answer better, and nothing here measures that; each model's own choice stands below."
        )
    if fitting and any(each.quality_basis == "bpw" for each in fitting):
        reasons.append("Quality was not measured for all: more bits per weight stand in for it.")
    if any(each.weights != "real" for each in load):
        reasons.append(
            "SYNTHETIC weights: speed and memory are those of the shape; nothing is said about what a model can do."
        )
    if n_left := sum(len(each.left_out) for each in load):
        reasons.append(
            f"Disturbed, failed or skipped, and so not considered: {n_left} cell{'s' if n_left > 1 else ''}."
        )
    n_other = len({(each.env_id, each.device, each.mode, each.workload, each.n_depth) for each in found.choices}) - 1
    if n_other:
        reasons.append(
            f"The results hold {n_other} more device{'' if n_other == 1 else 's'} or workload"
            f"{'' if n_other == 1 else 's'}, which the table shows; slmprof recommend answers for each."
        )
    if len(fitting) > _MODELS:
        reasons.append(f"The {_MODELS} largest of {len(fitting)} models stand here; the table has all.")
    return reasons


def _choices_of(choice: Chosen, cells: Mapping[tuple[str, str], CellSummary]) -> list[Choice]:
    assert choice.chosen is not None
    made = [Choice(cell=_cell(choice, choice.chosen, cells), is_best=True, costs=choice.reason)]
    for each in choice.runners_up[:_RUNNERS_UP]:
        made.append(Choice(cell=_cell(choice, each.candidate, cells), is_best=False, costs=each.text))
    return made + _misses_of(choice, cells)


def _misses_of(choice: Chosen, cells: Mapping[tuple[str, str], CellSummary]) -> list[Choice]:
    return [
        Choice(
            cell=_cell(choice, each.candidate, cells),
            is_best=False,
            costs="does not keep the limits: " + " and ".join(miss.needs for miss in each.misses),
        )
        for each in choice.near_misses[:_NEAR_MISSES]
    ]


def _cell(choice: Chosen, candidate: Candidate, cells: Mapping[tuple[str, str], CellSummary]) -> CellSummary:
    return cells[choice.env_id, candidate.cell_key]
