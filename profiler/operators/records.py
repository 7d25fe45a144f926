"""The groups of nodes that are timed, and raw observations of them; everything else is derived."""

import msgspec


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Nodes timed as one: a single node, or two that ggml fuses; with its part of the model and its cost."""

    op: str
    name: str
    weight: str | None = None  # the tensor of the file that it reads
    weight_type: str | None = None
    layer: int | None = None
    module: str
    n_bytes: int  # read and written, each operand once; of decode steps, the mean
    n_flops: int  # of matrix products; 0 for all else
    is_noop: bool = False
    is_threaded: bool = True  # ggml wakes all threads for it


class Join(msgspec.Struct, frozen=True, kw_only=True):
    """Small neighbouring groups that were also computed together; the difference is what separating them costs."""

    first: int  # indices in `groups`
    last: int
    together_ns: tuple[int, ...]  # one per run


class PhaseObservation(msgspec.Struct, frozen=True, kw_only=True):
    """One phase as one process observed it. A run is a whole prefill or one decode step."""

    groups: tuple[Group, ...]  # in the order of the graph
    group_ns: tuple[tuple[int, ...], ...]  # one tuple per observed run, in the order of `groups`
    start_ns: tuple[int, ...]  # when each group of the fastest run began
    plain_ns: tuple[int, ...]  # the same runs without an observer, in turn with the observed ones
    depth: int  # tokens in the cache before the first run
    n_tokens: int  # per run
    reps: int  # a repetition is one prefill, and all decode steps after it
    joins: tuple[Join, ...] = ()


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """Both phases as one process observed them."""

    prefill: PhaseObservation
    decode: PhaseObservation
    flash_attn: bool | None
    backends: tuple[str, ...]


class ObservationSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Token counts and repetitions."""

    n_prefill: int
    n_depth: int
    n_gen: int
    reps: int
    seed: int
