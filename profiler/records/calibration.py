"""What a device takes for single operations: measured by `slmprof calibrate`, from which speeds are predicted."""

import msgspec


class ProductTime(msgspec.Struct, frozen=True, kw_only=True):
    """Equal matrices of weights, each multiplied with the same activations."""

    type: str  # ggml's type of the weights, "Q4_K"
    repacked: bool
    n_cols: int  # weights in a row
    n_rows: int
    n_matrices: int
    n_tokens: int
    n_threads: int
    ns: float  # of one matrix, the median of several passes over all

    @property
    def n_bytes(self) -> int:
        """Of all matrices."""
        return self.n_matrices * self.n_matrix_bytes

    n_matrix_bytes: int


class NodeTime(msgspec.Struct, frozen=True, kw_only=True):
    """Another node of a graph."""

    kind: str  # profiler/predict/kinds.py
    n_tokens: int  # of the graph that it was taken from
    work: int  # bytes moved, or operations
    n_threads: int
    n_sharing: float = 1.0  # of attention: query heads that share a head of the cache
    ns: float


class Yardstick(msgspec.Struct, frozen=True, kw_only=True):
    """The same product, timed again and again between the operations: how steady the device was."""

    n_threads: int
    ns: float


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """All times of one environment."""

    env_id: str
    measured_at: str  # UTC, %Y-%m-%dT%H:%M:%SZ
    took_s: float
    products: tuple[ProductTime, ...]
    nodes: tuple[NodeTime, ...]
    yardsticks: tuple[Yardstick, ...] = ()

    def thread_counts(self) -> tuple[int, ...]:
        """Return the measured thread counts, smallest first."""
        return tuple(sorted({each.n_threads for each in self.products}))
