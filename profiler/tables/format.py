"""How figures, threads, loads and names are written, in every table and sentence of this program."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

from profiler.records.environment import Environment
from profiler.records.span import Span
from quant.base.text import counted, printable
from quant.base.units import format_bytes, format_duration
from quant.gguf_io.artifact import Artifact

# The settings by which cells of one table may differ, as its columns are called.
SETTINGS = {
    "n_ctx": "context",
    "n_batch": "batch",
    "n_ubatch": "ubatch",
    "n_outputs_max": "outputs",
    "type_k": "K",
    "type_v": "V",
    "flash_attn": "fa",
    "load_mode": "load",
    "repack": "repack",
    "cores": "cores",
    "n_gpu_layers": "GPU layers",
}


class Load(Protocol):
    """What one round does: a RunConfig, or a record with the same fields."""

    @property
    def mode(self) -> str:
        """ "separate" or "request"."""

    @property
    def workload(self) -> str:
        """Its name."""

    @property
    def n_prompt(self) -> int:
        """Tokens of the prompt."""

    @property
    def n_gen(self) -> int:
        """Tokens decoded."""

    @property
    def n_depth(self) -> int:
        """Tokens in the cache before."""

    @property
    def sustain_s(self) -> int:
        """For how long one is repeated after the other; 0 where it is not."""


class Threads(Protocol):
    """With how many threads a cell is measured: a RunConfig, or a record with the same fields."""

    @property
    def n_threads(self) -> int:
        """Of decode."""

    @property
    def n_threads_batch(self) -> int:
        """Of prefill."""


def clean(text: str) -> str:
    """Make untrusted text safe for a terminal and a Markdown cell: no control characters, no bars, no markup."""
    return re.sub(r"([\\|`<>*\[\]])", r"\\\1", printable(text)).strip()


def figure(value: float) -> str:
    """Write a figure with three or four digits."""
    return f"{value:.{_digits(value)}f}"


def figure_with_range(span: Span | None) -> str:
    """Write a figure and its range to the same digit: "20.1 [19.8, 20.4]"; nothing without a figure."""
    if span is None:
        return ""
    digits = _digits(span.value)
    return f"{span.value:.{digits}f} [{span.lo:.{digits}f}, {span.hi:.{digits}f}]"


def joules(value: float | None) -> str:
    """Write an energy with three digits; nothing without one."""
    return "" if value is None else f"{value:.3g}"


def _digits(value: float) -> int:
    return 0 if value >= 1000 else 1 if value >= 10 else 2


def setting(value: object) -> str:
    """Write the value of a setting."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, bool):
        return "on" if value else "off"
    return "any" if value is None else clean(str(value))


def thread_counts(threads: Threads, separator: str = " / ") -> str:
    """Write the threads of decode, and those of prefill where they differ: "2", "2 / 4"."""
    if threads.n_threads_batch == threads.n_threads:
        return str(threads.n_threads)
    return f"{threads.n_threads}{separator}{threads.n_threads_batch}"


def threads_in_words(threads: Threads) -> str:
    """Write the threads with the noun: "1 thread", "2 / 4 threads"."""
    if threads.n_threads_batch == threads.n_threads:
        return counted(threads.n_threads, "thread")
    return f"{thread_counts(threads)} threads"


def load_in_words(load: Load) -> str:
    """Write what one round does."""
    sustained = sustained_in_words(load)
    if load.mode == "request":
        return f"{load.n_prompt} tokens in, {load.n_gen} out, decode at depth {load.n_depth + load.n_prompt}{sustained}"
    return f"prefill of {load.n_prompt} and decode of {load.n_gen} tokens, each at depth {load.n_depth}{sustained}"


def sustained_in_words(load: Load) -> str:
    """Return what follows a load that is sustained; nothing for any other."""
    return f", one after the other for {format_duration(load.sustain_s)}" if load.sustain_s else ""


def load_name(load: Load) -> str:
    """Name a load by its workload, and one of the user's own by its counts."""
    name = load.workload if load.workload != "custom" else f"p{load.n_prompt} n{load.n_gen} d{load.n_depth}"
    return f"{name} sustained" if load.sustain_s else name


def level_names(artifacts: Iterable[Artifact]) -> dict[str, str]:
    """Return a name for each file's level, by sha256; where files share model, level and imatrix, with its hash."""
    files = {artifact.sha256: artifact for artifact in artifacts}
    names = {sha256: clean(each.level) + (" imatrix" if each.imatrix_sha256 else "") for sha256, each in files.items()}
    counts = Counter((each.model, names[sha256]) for sha256, each in files.items())
    return {
        sha256: f"{names[sha256]} {sha256[:6]}" if counts[each.model, names[sha256]] > 1 else names[sha256]
        for sha256, each in files.items()
    }


def synthetic_note(weights: str, standin_for: str | None) -> str:
    """Return what follows a model's size: nothing for real weights."""
    return "" if weights == "real" else f", SYNTHETIC weights in the shape of {clean(standin_for or '?')}"


def listed(names: Sequence[str], most: int) -> str:
    """Join names: "a, b and c"; of more than `most` the rest is counted."""
    shown = list(names) if len(names) <= most else [*names[: most - 1], f"{len(names) - most + 1} more"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def device_line(environment: Environment, backend: str | None = None) -> str:
    """Name the device and its build in a line."""
    board = f"{clean(environment.board)}, " if environment.board else ""
    return (
        f"{board}{clean(environment.cpu_model)}, {environment.cores_physical} cores, "
        f"{format_bytes(environment.memory_bytes)}; llama.cpp {clean(environment.llama_commit)}, "
        f"{clean(environment.threading)} threads, {clean(backend or '+'.join(environment.backends))}"
    )


def columns(rows: Sequence[Sequence[str]], left: Collection[int]) -> list[list[str]]:
    """Pad the cells of a table, so that columns are aligned: those in `left` to the left, all others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        [
            text.ljust(width) if column in left else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in rows
    ]


def aligned(rows: Sequence[Sequence[str]], *, last_left: bool = True) -> list[str]:
    """Write rows as Markdown columns under a head; the first column is left-aligned, and the last with `last_left`."""
    left = {0, len(rows[0]) - 1} if last_left else {0}
    head, *body = columns(rows, left)
    rule = ["-" * len(text) if column in left else "-" * (len(text) - 1) + ":" for column, text in enumerate(head)]
    return ["| " + " | ".join(row) + " |" for row in (head, rule, *body)]
