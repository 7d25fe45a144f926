"""What the processes of `tasks` tell each other: the command, the harness, and the model."""

import msgspec

from profiler.records.failure import Failure

LEAST_CELLS = 1024  # inputs are computed in parts of so many tokens: a pass over the weights is then shared by many

TaskKey = tuple[str, str, int, int | None, str]


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """The first message: the file, and how it is run."""

    path: str
    n_threads: int
    repack: bool
    n_ctx: int | None  # the longest input in tokens; None: as the model was trained
    state_bytes: int  # of its recurrent layers, of one sequence


class Pair(msgspec.Struct, frozen=True, array_like=True):
    """A continuation to score after a context."""

    context: str
    continuation: str


class Continue(msgspec.Struct, frozen=True, array_like=True):
    """A context to continue greedily."""

    context: str
    stops: tuple[str, ...]
    n_new: int


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """Requests of one kind."""

    pairs: tuple[Pair, ...] = ()
    texts: tuple[str, ...] = ()  # whole texts, to score
    continuations: tuple[Continue, ...] = ()


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """Progress, or the answer."""

    n_done: int | None = None  # None: this is the answer
    scores: tuple[tuple[float, bool], ...] = ()
    sums: tuple[float, ...] = ()  # log-likelihoods of whole texts
    texts: tuple[str, ...] = ()
    peak_rss_bytes: int | None = None
    failure: Failure | None = None


class Wanted(msgspec.Struct, frozen=True):
    """A task or a group of the harness, as asked for."""

    name: str
    group: str | None  # of tasks that count as one
    shots: tuple[int, ...] | None  # None: its own


class HarnessOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Which task files, and what they may do."""

    names: tuple[str, ...]  # of tasks and groups
    include: str | None  # folder
    trust_include: bool
    execute_code: bool


class TaskFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file to ask."""

    sha256: str
    name: str  # in progress lines
    model: Model


class TasksJob(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of which files."""

    files: tuple[TaskFile, ...]
    wanted: tuple[Wanted, ...]
    n_limit: int | None  # items of a task at most
    timeout_s: float | None  # of one task of one file
    env_id: str
    known: tuple[TaskKey, ...]  # answered before


class TaskProgress(msgspec.Struct, frozen=True, kw_only=True, tag="progress", tag_field="type"):
    """How far a task is."""

    what: str
    n_done: int  # requests
    n_requests: int


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """The harness knows its tasks; or what the user asked for wrongly."""

    problem: str | None = None


class TasksAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The end."""

    n_known: int  # tasks of files that were answered before
