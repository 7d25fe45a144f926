"""A comparison as a person reads it: what differs around the figures first, then the differences, then the rest."""

from collections.abc import Sequence

from profiler.analysis.stats import INTERVAL_ROUNDS
from profiler.compare.comparison import ALPHA, CellName, Change, Comparison, Pair, few_rounds
from profiler.compare.figures import BY_NAME
from profiler.tables.format import aligned, clean, load_name, thread_counts, threads_in_words
from quant.base.text import counted
from quant.base.units import format_bytes

WORDS = "the ratios that a permutation test of rounds (rank sum) does not reject"
_LISTED = 20  # of cells without a partner and the like; more are counted


def render_comparison(comparison: Comparison) -> str:
    """Write the whole comparison."""
    blocks = [_environments(comparison)]
    if not comparison.pairs:
        blocks.append(["no cell is in both files"])
    else:
        blocks.append([_headline(comparison)])
        blocks += _tables(comparison)
        blocks.append(_notes(comparison))
    blocks += [_news(comparison), _unmatched(comparison)]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def describe_change(change: Change) -> str:
    """Put a change into words: "decode 4.1 % slower [3.2, 5.0]", "no difference shown", or the ranges."""
    figure = BY_NAME[change.figure]
    if change.lo is None or change.hi is None:
        return f"{figure.title} undecided: ratio within {ranges_of(change)}"
    ends = sorted(((change.lo - 1) * 100, (change.hi - 1) * 100))
    if not change.significant:
        return f"{figure.title} no difference shown [{_signed(ends[0])}, {_signed(ends[1])}] %"
    if change.percent < 0:
        ends = [-ends[1], -ends[0]]
    word = figure.up if change.percent > 0 else figure.down
    return f"{figure.title} {_number(abs(change.percent))} % {word} [{_number(ends[0])}, {_number(ends[1])}]"


def ranges_of(change: Change) -> str:
    """Return the smallest and the largest ratio of any two rounds."""
    return f"{change.new_min / change.base_max:.3f} to {change.new_max / change.base_min:.3f}"


def describe_cell(cell: CellName) -> str:
    """Name a cell in a few words."""
    threads, load = thread_counts(cell, "/"), load_name(cell)
    synthetic = " (synthetic)" if cell.weights != "real" else ""
    imatrix = "+imatrix" if cell.imatrix else ""
    device = f" {cell.device}" if cell.device != "cpu" else ""
    return clean(f"{cell.model}{synthetic} {cell.quant}{imatrix} t{threads} {load}{device}")


def describe_pair(pair: Pair, by: str | None) -> str:
    """Name a pair by the cell they share, and by both where an axis differs."""
    if by is None:
        return describe_cell(pair.base)
    ours, theirs = (_on_axis(cell, by) for cell in (pair.base, pair.new))
    return f"{describe_cell(pair.base)}: {ours} → {theirs}"


def _on_axis(cell: CellName, by: str) -> str:
    if by == "level":
        return clean(cell.quant) + ("+imatrix" if cell.imatrix else "")
    if by == "threads":
        return threads_in_words(cell)
    return clean(cell.device)


def describe_slow_down(pair: Pair, change: Change, by: str | None) -> str:
    """Name a slow-down in a line."""
    return f"{describe_pair(pair, by)}: {describe_change(change)}{_flags(pair)}"


def _number(value: float) -> str:
    return f"{value:.1f}" if abs(value) >= 0.1 or value == 0 else f"{value:.2g}"


def _signed(value: float) -> str:
    return f"{value:+.1f}"


def _environments(comparison: Comparison) -> list[str]:
    lines = []
    for pair in comparison.environments:
        if not pair.differences:
            lines.append(f"same environment ({clean(pair.base)}), {counted(pair.n_pairs, 'matched cell')}")
            continue
        lines.append(
            f"DIFFERENT ENVIRONMENTS ({clean(pair.base)} → {clean(pair.new)}), {counted(pair.n_pairs, 'matched cell')}:"
        )
        lines += [f"- {each.field}: {clean(each.base)} → {clean(each.new)}" for each in pair.differences]
    other = sum(not pair.same_file for pair in comparison.pairs)
    if other and comparison.by != "level":
        lines.append(
            f"other files: {counted(other, 'matched cell')} of the same model, level and imatrix "
            "differ in the file's hash, so more than the speed may have changed"
        )
    return lines


def _headline(comparison: Comparison) -> str:
    changes = [change for pair in comparison.pairs for change in pair.changes]
    shown = [change for change in changes if change.significant]
    undecided = sum(change.p is None for change in changes)
    worse = sum(change.loss_percent > 0 for change in shown)
    words = f"{counted(len(comparison.pairs), 'matched cell')}, {counted(len(changes), 'figure')}: "
    words += f"{worse} worse, {len(shown) - worse} better, {len(changes) - undecided - len(shown)} no difference shown"
    return words + (f", {undecided} undecided (fewer than {INTERVAL_ROUNDS} rounds)" if undecided else "")


def _tables(comparison: Comparison) -> list[list[str]]:
    rows = [["cell", "figure", "base", "new", "ratio", "p adj.", "rounds", "in words [95 %]"]]
    for pair in comparison.pairs:
        for place, change in enumerate(pair.changes):
            cell = describe_pair(pair, comparison.by) if place == 0 else ""
            rows.append(
                [
                    cell,
                    BY_NAME[change.figure].title,
                    _value(change, change.base),
                    _value(change, change.new),
                    f"{change.ratio:.3f}",
                    "" if change.p_adjusted is None else _p(change.p_adjusted),
                    f"{pair.base.rounds}, {pair.new.rounds}",
                    _words(change) + _flags(pair),
                ]
            )
    return [aligned(rows)] if len(rows) > 1 else []


def _words(change: Change) -> str:
    """Describe the change without the figure's name, which has a column."""
    return describe_change(change).removeprefix(f"{BY_NAME[change.figure].title} ")


def _flags(pair: Pair) -> str:
    sides = (("base", pair.base), ("new", pair.new))
    parts = [f"{which}: {', '.join(cell.flags)}" for which, cell in sides if cell.flags]
    return f" (FLAGGED {'; '.join(parts)})" if parts else ""


def _value(change: Change, value: float) -> str:
    if change.figure == "model_rss_bytes":
        return format_bytes(value)
    unit = {"prefill_tps": "t/s", "decode_tps": "t/s", "ttft_ms": "ms", "joules_per_token": "J"}[change.figure]
    return f"{value:.{0 if value >= 1000 else 1 if value >= 10 else 3}f} {unit}"


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else "<0.001"


def _notes(comparison: Comparison) -> list[str]:
    notes = [f"base and new: medians over rounds; ratio: new to base (Hodges-Lehmann), with the interval of {WORDS}"]
    if comparison.n_tests > 1:
        notes.append(
            f"p adj.: {comparison.n_tests} tests taken together by Benjamini and Hochberg; if nothing changed, the "
            f"chance of any difference here is at most {ALPHA:.0%}. The intervals are not adjusted: among so "
            'many, chance alone makes one exclude 1 next to "no difference shown"'
        )
    least = comparison.least_p_adjusted
    if least is not None and least > ALPHA:
        notes.append(
            f"with so many tests, so few rounds cannot show a change of one figure alone (p adj. {least:.2g} at "
            "best), only of several together; measure more rounds (--rounds 10) or compare fewer cells"
        )
    if any(few_rounds(pair) for pair in comparison.pairs):
        notes.append(
            f"fewer than {INTERVAL_ROUNDS} rounds on a side decide nothing: the range is that of any round to any "
            f"other; measure more with --rounds {INTERVAL_ROUNDS}"
        )
    if comparison.stopped_early:
        notes.append("a --target chose the number of some rounds; the intervals here do not allow for such a stop")
    notes.append(
        "the rounds are of one run each: what changes from run to run (heat, other programs) looks like a difference; "
        "comparing a run with its own repetition shows how large that is"
    )
    return [f"- {note}" for note in notes]


def _news(comparison: Comparison) -> list[str]:
    lines = []
    for pair in comparison.pairs:
        ours, theirs = pair.base.status, pair.new.status
        if (ours, theirs) == ("ok", "ok"):
            continue
        name = describe_pair(pair, comparison.by)
        if ours == "ok":
            lines.append(f"NEW: {name} {theirs} only in the new results: {clean(pair.new.error or '?')}")
        elif theirs == "ok":
            lines.append(f"NEW: {name} no longer {ours}, as it was in the base: {clean(pair.base.error or '?')}")
        else:
            lines.append(f"{name} {ours} in the base, {theirs} in the new results: {clean(pair.new.error or '?')}")
    return _some(lines)


def _unmatched(comparison: Comparison) -> list[str]:
    lines = []
    for which, cells in (("base", comparison.only_base), ("new", comparison.only_new)):
        if cells:
            lines.append(f"only in the {which} results: {counted(len(cells), 'cell')}")
            lines += _some([f"- {describe_cell(cell)}" for cell in cells])
    for cells in comparison.ambiguous:
        lines.append(
            f"not compared: {describe_cell(cells[0])} is there {len(cells)} times, on several devices or in "
            "several files; compare results of one device each"
        )
    return lines


def _some(lines: Sequence[str]) -> list[str]:
    more = len(lines) - _LISTED
    return list(lines) if more <= 0 else [*lines[:_LISTED], f"… and {more} more (--json has all)"]
