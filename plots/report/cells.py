"""The table of cells, column by column: texts to show, numbers to sort by.

Each text is kept once, since most repeat; so a browser opens a page of a hundred thousand cells.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from plots.report.escaping import visible
from profiler.records.cell_summary import CellSummary
from profiler.records.quality import Mean
from profiler.records.span import Span
from profiler.tables.format import SETTINGS, figure, figure_with_range, load_name, thread_counts
from profiler.tables.sustained import steady_in_words
from quant.base.units import format_bytes, format_params

_PLACES = 6  # decimals of a number to sort by


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """One column; `at[row]` is the place of the row's text in `texts`, `keys` is None where texts are sorted."""

    label: str
    about: str
    kind: str  # "text" | "number"
    texts: list[str]
    at: list[int]
    keys: list[float | int | None] | None

    def text(self, row: int) -> str:
        """Return what a cell of the table shows."""
        return self.texts[self.at[row]]


_Made = tuple[str, float | int | None]

# Settings that get a column where cells differ in them.
_SETTINGS = {
    "device": "device",
    **SETTINGS,
    "flash_attn": "flash attention",
    "load_mode": "load mode",
    "label": "build",
}


def columns_of(summaries: Sequence[CellSummary]) -> list[Column]:
    """Return the columns that the cells have something for."""
    differing = _differing(summaries)
    wanted: list[tuple[str, str, Callable[[CellSummary], _Made | str]]] = [
        ("model", "", lambda cell: cell.artifact.model),
        (
            "level",
            "quantization level",
            lambda cell: cell.artifact.level + (" imatrix" if cell.artifact.imatrix_sha256 else ""),
        ),
        ("weights", "synthetic weights are random numbers; a stand-in has another family's shape", _weights),
        ("workload", "", lambda cell: load_name(cell.config)),
        ("threads", "of decode / of prefill", _threads),
        ("decode t/s", "tokens per second, median and range", _figure(lambda cell: cell.decode_tps)),
        ("prefill t/s", "tokens per second, median and range", _figure(lambda cell: cell.prefill_tps)),
        ("TTFT ms", "time to first token, median and range", _figure(lambda cell: cell.ttft_ms)),
        (
            "p95 gap ms",
            "gap between tokens, 95th percentile",
            _number(lambda cell: cell.token_gaps.p95_ms if cell.token_gaps else None),
        ),
        (
            "memory",
            "peak resident size, less the process before the model was opened",
            _size(lambda cell: cell.model_rss_bytes.value if cell.model_rss_bytes else None),
        ),
        ("file", "size of the file", _size(lambda cell: cell.artifact.file_bytes)),
        ("bits", "bits per weight", _number(lambda cell: cell.artifact.bpw, digits=2)),
        ("perplexity", "of the text named below, with its standard error", _with_error(lambda cell: cell.quality.ppl)),
        (
            "KLD",
            "Kullback-Leibler divergence from the model named below, with its standard error",
            _with_error(lambda cell: cell.quality.kld),
        ),
        ("same top", "share of places where the most probable token is that model's", _same_top),
        (
            "accuracy",
            "share of right answers, the mean over the tasks named below, with its standard error",
            _percent_with_error(lambda cell: cell.accuracy.mean),
        ),
        (
            "lost",
            "accuracy lost against the unquantized file on the same items, in points, with a 95 % interval",
            _points(lambda cell: cell.accuracy.loss),
        ),
        ("bandwidth", "MBU: share of the measured read bandwidth that decode used", _share),
        ("J/token", "energy of decode", _number(lambda cell: cell.energy.joules_per_token, digits=3)),
        (
            "J/request",
            "energy of prefill and decode of a request",
            _number(lambda cell: cell.energy.joules_per_request, digits=2),
        ),
        *((_SETTINGS[name], "", _setting(name)) for name in differing),
        ("environment", "", lambda cell: cell.env_id),
        (
            "parameters",
            "unique parameters",
            lambda cell: (format_params(cell.artifact.n_params, cell.artifact.n_params_active), cell.artifact.n_params),
        ),
        ("notes", "what disturbed the cell, or why it has no figures", _notes),
    ]
    made = [_column(label, about, value_of, summaries) for label, about, value_of in wanted]
    needless = {"weights"} if all(_weights(cell) == "real" for cell in summaries) else set()
    if len({cell.env_id for cell in summaries}) < 2:
        needless.add("environment")
    return [
        column for column in made if column.label not in needless and (any(column.texts) or column.label == "notes")
    ]


def _with_error(mean_of: Callable[[CellSummary], Mean | None]) -> Callable[[CellSummary], _Made | str]:
    def read(cell: CellSummary) -> _Made | str:
        mean = mean_of(cell)
        if mean is None:
            return ""
        return (f"{mean.value:.4g}" + (f" ± {mean.se:.1g}" if mean.se else ""), mean.value)

    return read


def _percent_with_error(mean_of: Callable[[CellSummary], Mean | None]) -> Callable[[CellSummary], _Made | str]:
    def read(cell: CellSummary) -> _Made | str:
        mean = mean_of(cell)
        return "" if mean is None else (f"{100 * mean.value:.1f} ± {100 * mean.se:.1f} %", mean.value)

    return read


def _points(span_of: Callable[[CellSummary], Span | None]) -> Callable[[CellSummary], _Made | str]:
    def read(cell: CellSummary) -> _Made | str:
        span = span_of(cell)
        if span is None:
            return ""
        return f"{100 * span.value:.1f} [{100 * span.lo:.1f}, {100 * span.hi:.1f}]", span.value

    return read


def _same_top(cell: CellSummary) -> _Made | str:
    return "" if cell.quality.same_top is None else (f"{cell.quality.same_top:.1%}", cell.quality.same_top)


def _column(
    label: str, about: str, value_of: Callable[[CellSummary], _Made | str], summaries: Sequence[CellSummary]
) -> Column:
    places: dict[str, int] = {}
    at, keys, is_number = [], [], False
    for cell in summaries:
        found = value_of(cell)
        text, key = (found, None) if isinstance(found, str) else found
        is_number = is_number or not isinstance(found, str)
        at.append(places.setdefault(text, len(places)))
        keys.append(round(key, _PLACES) if isinstance(key, float) else key)
    return Column(
        label=label,
        about=about,
        kind="number" if is_number else "text",
        texts=[visible(text) for text in places],
        at=at,
        keys=keys if is_number else None,
    )


def _differing(summaries: Sequence[CellSummary]) -> list[str]:
    """Return the settings in which cells of one load differ; between loads many do."""
    first: dict[tuple[object, ...], CellSummary] = {}
    pairs = [(first.setdefault(cell.config.load, cell), cell) for cell in summaries]
    return [name for name in _SETTINGS if any(_setting_of(one, name) != _setting_of(cell, name) for one, cell in pairs)]


def _weights(cell: CellSummary) -> str:
    shape = (
        f" in the shape of {cell.artifact.standin_for or '?'}"
        if cell.artifact.standin_for != cell.artifact.model
        else ""
    )
    words = "real" if cell.artifact.weights == "real" else f"SYNTHETIC{shape}"
    return words if cell.artifact.standin_family is None else f"{words}, STAND-IN for {cell.artifact.standin_family}"


def _threads(cell: CellSummary) -> _Made:
    return thread_counts(cell.config), cell.config.n_threads * 10_000 + cell.config.n_threads_batch


def _setting_of(cell: CellSummary, name: str) -> object:
    return cell.label if name == "label" else getattr(cell.config, name)


def _setting(name: str) -> Callable[[CellSummary], _Made | str]:
    def value_of(cell: CellSummary) -> _Made | str:
        value = _setting_of(cell, name)
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, int):
            return str(value), value
        if isinstance(value, tuple):
            return ", ".join(map(str, value))
        return "" if value is None else str(value)

    return value_of


def _figure(span_of: Callable[[CellSummary], Span | None]) -> Callable[[CellSummary], _Made]:
    def read(cell: CellSummary) -> _Made:
        span = span_of(cell)
        if span is None:
            return "", None
        return figure(span.value) if cell.rounds < 2 else figure_with_range(span), span.value

    return read


def _number(value_of: Callable[[CellSummary], float | None], *, digits: int = 1) -> Callable[[CellSummary], _Made]:
    def read(cell: CellSummary) -> _Made:
        value = value_of(cell)
        return ("", None) if value is None else (f"{value:.{digits}f}", value)

    return read


def _size(bytes_of: Callable[[CellSummary], float | None]) -> Callable[[CellSummary], _Made]:
    def read(cell: CellSummary) -> _Made:
        n_bytes = bytes_of(cell)
        return ("", None) if n_bytes is None else (format_bytes(n_bytes), n_bytes)

    return read


def _share(cell: CellSummary) -> _Made:
    return ("", None) if cell.mbu is None else (f"{cell.mbu:.0%}", cell.mbu)


def _notes(cell: CellSummary) -> str:
    words = [] if cell.status == "ok" else [f"{cell.status.upper()}: {cell.error or 'no reason recorded'}"]
    words += [steady_in_words(cell)] if cell.sustained else []
    return "; ".join([*words, *([", ".join(cell.flags)] if cell.flags else [])])


def data_of(columns: Sequence[Column]) -> list[dict[str, Any]]:
    """Return the columns as the page's script reads them."""
    return [
        {"label": column.label, "kind": column.kind, "texts": column.texts, "at": column.at, "keys": column.keys}
        for column in columns
    ]
