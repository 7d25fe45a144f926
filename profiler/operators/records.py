"""What is known about the nodes of a graph, and what was seen of them. Raw observations; tables derive the rest."""

import msgspec

PHASES = ("prefill", "decode")


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """What was timed in one go: a node, or two that ggml computes as one; its place in the model and its cost."""

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
    """Neighbouring small groups that were also computed together: what that saves is the cost of being alone."""

    first: int  # places in `groups`
    last: int
    together_ns: tuple[int, ...]  # one per run


class PhaseSeen(msgspec.Struct, frozen=True, kw_only=True):
    """What one process saw of one phase. A run is a whole prefill or one decode step."""

    groups: tuple[Group, ...]  # in the order of the graph
    group_ns: tuple[tuple[int, ...], ...]  # one tuple per observed run, in the order of `groups`
    start_ns: tuple[int, ...]  # when each group of the least disturbed run began
    plain_ns: tuple[int, ...]  # the same runs without an observer, in turns with the observed ones
    depth: int  # tokens in the cache before the first run
    n_tokens: int  # per run
    reps: int  # a repetition is one prefill, and all decode steps after it
    joins: tuple[Join, ...] = ()


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What one process saw."""

    prefill: PhaseSeen
    decode: PhaseSeen
    flash_attn: bool | None
    backends: tuple[str, ...]


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """How to look: token counts and repetitions."""

    n_prefill: int
    n_depth: int
    n_gen: int
    reps: int
    seed: int
