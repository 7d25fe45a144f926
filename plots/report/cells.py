"""The table of cells, column by column: texts to show, numbers to sort by.

Each text is kept once, since most repeat; so a hundred thousand cells stay a page that a browser opens.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from plots.canvas.escaping import visible
from profiler.records.cell_summary import CellSummary
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
        """Give what a cell shows."""
        return self.texts[self.at[row]]


_Made = tuple[str, float | int | None]

# Settings that get a column where cells differ in them.
_SETTINGS = {
    "device": "device",
    "n_ctx": "context",
    "n_batch": "batch",
    "n_ubatch": "ubatch",
    "n_outputs_max": "outputs",
    "type_k": "K",
    "type_v": "V",
    "flash_attn_asked": "flash attention",
    "load_mode": "load mode",
    "repack": "repack",
    "cores": "cores",
    "n_gpu_layers": "GPU layers",
    "label": "build",
}


def columns_of(summaries: Sequence[CellSummary]) -> list[Column]:
    """Make the columns that the cells have something for."""
    differing = _differing(summaries)
    wanted: list[tuple[str, str, Callable[[CellSummary], _Made | str]]] = [
        ("model", "", lambda cell: cell.model),
        ("level", "quantization level", lambda cell: cell.quant + (" imatrix" if cell.imatrix else "")),
        ("weights", "made-up weights are synthetic; a stand-in has another family's shape", _weights),
        ("workload", "", _load),
        ("threads", "of decode / of prefill", _threads),
        ("decode t/s", "tokens per second, median and range", _figure("decode_tps")),
        ("prefill t/s", "tokens per second, median and range", _figure("prefill_tps")),
        ("TTFT ms", "time to first token, median and range", _figure("ttft_ms")),
        ("p95 gap ms", "gap between tokens, 95th percentile", _number("itl_p95_ms")),
        ("memory", "peak resident size less the process before the model was opened", _size("model_rss_bytes")),
        ("file", "size of the file", _size("file_bytes")),
        ("bits", "bits per weight", _number("bpw", digits=2)),
        ("perplexity", "of the text named below, with its standard error", _with_error("ppl")),
        ("KLD", "KL divergence from the unquantized model, with its standard error", _with_error("kld")),
        ("same top", "share of places where the most probable token is the unquantized model's", _same_top),
        ("bandwidth", "share of the measured read bandwidth that decode used", _share),
        ("J/token", "energy of decode", _number("joules_per_token", digits=3)),
        *((_SETTINGS[name], "", _setting(name)) for name in differing),
        ("environment", "", lambda cell: cell.env_id),
        ("parameters", "unique parameters", lambda cell: (format_params(cell.n_params), cell.n_params)),
        ("notes", "what disturbed the cell, or why it has no figures", _notes),
    ]
    made = [_column(label, about, value_of, summaries) for label, about, value_of in wanted]
    needless = {"weights"} if all(_weights(cell) == "real" for cell in summaries) else set()
    if len({cell.env_id for cell in summaries}) < 2:
        needless.add("environment")
    return [
        column for column in made if column.label not in needless and (any(column.texts) or column.label == "notes")
    ]


def _with_error(name: str) -> Callable[[CellSummary], _Made | str]:
    def read(cell: CellSummary) -> _Made | str:
        value, error = getattr(cell, name), getattr(cell, f"{name}_se")
        if value is None:
            return ""
        return (f"{value:.4g}" + (f" ± {error:.1g}" if error else ""), value)

    return read


def _same_top(cell: CellSummary) -> _Made | str:
    return "" if cell.same_top is None else (f"{cell.same_top:.1%}", cell.same_top)


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
    """Name the settings in which cells of one load differ; between loads many do."""
    first: dict[tuple[object, ...], CellSummary] = {}
    pairs = [(first.setdefault(_load_of(cell), cell), cell) for cell in summaries]
    return [name for name in _SETTINGS if any(getattr(one, name) != getattr(cell, name) for one, cell in pairs)]


def _load_of(cell: CellSummary) -> tuple[object, ...]:
    return (cell.mode, cell.workload, cell.n_prompt, cell.n_gen, cell.n_depth)


def _weights(cell: CellSummary) -> str:
    shape = f" in the shape of {cell.standin_for or '?'}" if cell.standin_for != cell.model else ""
    words = "real" if cell.weights == "real" else f"SYNTHETIC{shape}"
    return words if cell.standin_family is None else f"{words}, STAND-IN for {cell.standin_family}"


def _load(cell: CellSummary) -> str:
    if cell.workload != "custom":
        return cell.workload
    return f"p{cell.n_prompt} n{cell.n_gen} d{cell.n_depth}"


def _threads(cell: CellSummary) -> _Made:
    apart = f" / {cell.n_threads_batch}" if cell.n_threads_batch != cell.n_threads else ""
    return f"{cell.n_threads}{apart}", cell.n_threads * 10_000 + cell.n_threads_batch


def _setting(name: str) -> Callable[[CellSummary], _Made | str]:
    def value_of(cell: CellSummary) -> _Made | str:
        value = getattr(cell, name)
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, int):
            return str(value), value
        if isinstance(value, tuple):
            return ", ".join(map(str, value))
        return "" if value is None else str(value)

    return value_of


def _figure(name: str) -> Callable[[CellSummary], _Made]:
    def value_of(cell: CellSummary) -> _Made:
        middle = getattr(cell, name)
        if middle is None:
            return "", None
        lo, hi = getattr(cell, f"{name}_lo"), getattr(cell, f"{name}_hi")
        if lo is None or hi is None:
            lo, hi = getattr(cell, f"{name}_min"), getattr(cell, f"{name}_max")
        digits = 0 if middle >= 1000 else 1 if middle >= 10 else 2
        spread = "" if lo is None or hi is None or cell.rounds < 2 else f" [{lo:.{digits}f}, {hi:.{digits}f}]"
        return f"{middle:.{digits}f}{spread}", middle

    return value_of


def _number(name: str, *, digits: int = 1) -> Callable[[CellSummary], _Made]:
    def value_of(cell: CellSummary) -> _Made:
        value = getattr(cell, name)
        return ("", None) if value is None else (f"{value:.{digits}f}", value)

    return value_of


def _size(name: str) -> Callable[[CellSummary], _Made]:
    def value_of(cell: CellSummary) -> _Made:
        value = getattr(cell, name)
        return ("", None) if value is None else (format_bytes(value), value)

    return value_of


def _share(cell: CellSummary) -> _Made:
    return ("", None) if cell.utilisation is None else (f"{cell.utilisation:.0%}", cell.utilisation)


def _notes(cell: CellSummary) -> str:
    words = [] if cell.status == "ok" else [f"{cell.status.upper()}: {cell.error or 'no reason is told'}"]
    return "; ".join([*words, *([", ".join(cell.flags)] if cell.flags else [])])


def data_of(columns: Sequence[Column]) -> list[dict[str, Any]]:
    """Give the columns as the page's script reads them."""
    return [
        {"label": column.label, "kind": column.kind, "texts": column.texts, "at": column.at, "keys": column.keys}
        for column in columns
    ]
