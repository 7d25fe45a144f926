"""Which cell drift control measures, and how often: the cheapest, for at most a tenth of the sweep's time."""

import math
import random
from collections.abc import Callable, Iterable, Sequence

import msgspec

from profiler.records.config import Cell
from profiler.sweep.plan import Plan, Turn
from quant.gguf_io.artifact import Artifact

N_OPENING = 2
# What drift control may add to the time of a sweep, by estimate: where it would add more it measures less often.
MAX_SHARE = 0.10
_MAX_CANDIDATES = 3

# For ranking cells and bounding that share only: bytes per second of one thread, and the time of one prompt token as a
# share of one generated token's.
_BYTES_PER_S, _PREFILL_SHARE, _START_S = 10e9, 0.1, 1.0


class Reference(msgspec.Struct, frozen=True):
    """A cell to measure between rounds."""

    cell: Cell
    every: int  # rounds of all cells from one reading to the next


def candidates(plan: Plan, turns: Sequence[Turn]) -> list[Reference]:
    """Return cells to try as the reference, the cheapest first and one per file; none where a sweep is too short."""
    cells = {turn.cell.key: turn.cell for turn in turns}
    if len(cells) < 2:
        return []
    costs_s = {key: cost_s(plan.artifact(cell), cell, plan.options.reps) for key, cell in cells.items()}
    turn_costs_s = [costs_s[turn.cell.key] for turn in turns]
    n_rounds = len({turn.round for turn in turns})
    found: dict[str, Reference] = {}  # by file: one that cannot be measured fails under any setting
    for cell in rank(cells.values(), lambda each: costs_s[each.key], plan.options.seed):
        every = spacing(turn_costs_s, n_rounds, costs_s[cell.key])
        if every is None or len(found) == _MAX_CANDIDATES:
            break
        found.setdefault(cell.artifact_sha256, Reference(cell, every))
    return list(found.values())


def cost_s(artifact: Artifact, cell: Cell, reps: int) -> float:
    """Estimate roughly the seconds that a process of a cell takes."""
    config = cell.config
    step_s = artifact.tensor_bytes / _BYTES_PER_S
    prefill_s = _PREFILL_SHARE * step_s * config.n_prompt / config.n_threads_batch
    depth_s = _PREFILL_SHARE * step_s * config.n_depth / config.n_threads_batch
    decode_s = step_s * config.n_gen / config.n_threads
    return _START_S + 10 * step_s + depth_s + (1 + reps) * prefill_s + reps * decode_s


def rank(cells: Iterable[Cell], cost_of: Callable[[Cell], float], seed: int) -> list[Cell]:
    """Order cells by cost, the cheapest first; the seed decides between equals."""
    ordered = sorted(cells, key=lambda cell: cell.key)
    random.Random(f"anchor:{seed}").shuffle(ordered)
    return sorted(ordered, key=cost_of)


def spacing(turn_costs_s: Sequence[float], n_rounds: int, reference_cost_s: float) -> int | None:
    """Return after how many rounds to measure the reference cell; None where any number exceeds its share."""
    for every in range(1, n_rounds + 1):
        n_runs = N_OPENING + math.ceil(n_rounds / every)
        if n_runs * reference_cost_s <= MAX_SHARE * sum(turn_costs_s):
            return every
    return None
