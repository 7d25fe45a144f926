"""Sweeps on small files and workers that a test hands in, and a view that keeps what it was called with."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from profiler.measure.worker import Answer, Job
from profiler.records.config import Cell
from profiler.records.record import Record
from profiler.records.round import Round
from profiler.sweep.plan import History, Options, Plan, Turn
from profiler.sweep.stopping import Met
from profiler.sweep.sweep import Outcome, Sweep
from profiler.sweep.tools import Tools
from quant.base.progress import watch
from tests.support.cells import artifact
from tests.support.summaries import ENVIRONMENT

AVAILABLE_BYTES = 8 << 30


class Seen:
    """A view that shows nothing and keeps everything."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.lines: list[str] = []
        self.begun = (0, 0)  # turns to do, turns done before
        self.n_more = self.n_references = 0
        self.stops: list[tuple[str, int, int]] = []  # cell key, rounds, turns spared

    def started(self, n_turns: int, n_done: int) -> None:
        self.begun = (n_turns, n_done)
        self.events.append(("started", n_turns, n_done))

    def more(self, n_turns: int) -> None:
        self.n_more += n_turns
        self.events.append(("more", n_turns))

    def turn(self, turn: Turn, artifact: Any) -> None:
        self.events.append(("turn", turn.cell.key, turn.round))

    def finished(self, record: Round, artifact: Any, left_s: float | None) -> None:
        self.events.append(("finished", record.status, left_s))

    def reference(self, record: Round) -> None:
        self.n_references += 1

    def met(self, turn: Turn, artifact: Any, met: Met, n_spared: int) -> None:
        self.stops.append((turn.cell.key, met.n_rounds, n_spared))


def sweep(
    cells: Sequence[Cell],
    models: Path | dict[str, Path],
    options: Options,
    *,
    run: Callable[[Job], Answer],
    write: Callable[[Record], None],
    history: History | None = None,
    **tools: Any,
) -> Outcome:
    """Sweep cells; `models` is the path of every file, or a path for each sha256."""
    paths = models if isinstance(models, dict) else {cell.artifact_sha256: models for cell in cells}
    plan = Plan(
        cells=cells,
        files={sha256: (artifact(sha256), path) for sha256, path in paths.items()},
        environment=ENVIRONMENT,
        options=options,
        history=history or History(),
    )
    tools = {"available_bytes": lambda: AVAILABLE_BYTES, "view": Seen()} | tools
    with watch(say=tools["view"].lines.append):
        return Sweep(plan, Tools(run=run, write=write, **tools)).run()
