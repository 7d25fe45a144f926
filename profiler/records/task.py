"""What one file answers in one task of lm-evaluation-harness."""

import msgspec

from profiler.records.failure import Failure, Status
from quant.base.ints import Count, Int64


class TaskMetric(msgspec.Struct, frozen=True, kw_only=True):
    """A metric over all items, as the harness computes it."""

    name: str  # "acc", "acc_norm", "exact_match", ...
    filter: str  # of the harness, that picks the answer out of a text; "none" mostly
    value: float
    se: float | None = None  # standard error; None where the harness has none
    higher_is_better: bool = True


class TaskItems(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Item by item, in the order of the data."""

    metric: str  # the task's main one
    filter: str
    scores: tuple[float, ...]  # of that metric
    log_likelihoods: tuple[tuple[float, ...], ...] = ()  # of each request of an item, nats, to four decimals


class TaskRecord(msgspec.Struct, frozen=True, kw_only=True, tag="task", tag_field="type"):
    """One file's answers to one task."""

    artifact_sha256: str
    env_id: str
    task: str  # the harness's name
    group: str | None = None  # of tasks that count as one, as those of mmlu
    n_shots: Count  # examples before each question
    n_limit: Int64 | None  # items at most, as asked; None: all
    harness: str  # version of lm_eval
    status: Status
    started_at: str  # UTC, %Y-%m-%dT%H:%M:%SZ
    n_threads: Int64
    n_items: Count = 0
    version: str = ""  # of the task
    prompts_sha256: str | None = None  # of everything that the model was asked
    data_sha256: str | None = None  # of the items
    metrics: tuple[TaskMetric, ...] = ()
    items: TaskItems | None = None
    wall_ns: Int64 | None = None
    peak_rss_bytes: Int64 | None = None  # of the process that ran the model
    error: Failure | None = None

    @property
    def key(self) -> tuple[str, str, int, int | None, str]:
        """What makes two of them the same measurement; it drives resume."""
        return self.artifact_sha256, self.task, self.n_shots, self.n_limit, self.harness
