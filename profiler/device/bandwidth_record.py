"""The measured ceilings of a device: how fast it reads memory, and how fast ggml's kernels read weights.

Decode is bound by memory: a token reads every weight once, so bytes per token over the device's read bandwidth is the
lower bound of any engine's time. `slmprof doctor --bandwidth` measures it and keeps it with the environment's id.
"""

import msgspec

from profiler.analysis.stats import median
from quant.base.kept import KeptJson

READ = "read"  # the kernel that reads and computes next to nothing
_NS_PER_S = 1e9


class KernelRun(msgspec.Struct, frozen=True, kw_only=True):
    """One kernel at one thread count: how long each pass over the same bytes took."""

    kernel: str  # "read", or the ggml type of the weights: "F32", "Q4_K", ...
    n_threads: int
    n_bytes: int  # read in one pass, a multiple of the last cache
    n_weights: int = 0  # of a mat-vec; a multiplication and an addition each
    buffer: str | None = None  # ggml's buffer type: "CPU_REPACK" where the weights were repacked
    times_ns: tuple[int, ...]

    @property
    def best_bytes_per_s(self) -> float:
        """Of the fastest pass: a ceiling is what was reached, not what is typical."""
        return self.n_bytes * _NS_PER_S / min(self.times_ns)

    @property
    def median_bytes_per_s(self) -> float:
        """Of the median pass; when it is far below the fastest one, the machine was busy."""
        return self.n_bytes * _NS_PER_S / median(self.times_ns)

    @property
    def best_flop_per_s(self) -> float | None:
        """Floating-point operations per second of the fastest pass; None where nothing was multiplied."""
        return 2 * self.n_weights * _NS_PER_S / min(self.times_ns) if self.n_weights else None


class Ceiling(msgspec.Struct, frozen=True, kw_only=True):
    """What one environment reached."""

    env_id: str
    measured_at: str  # UTC, %Y-%m-%dT%H:%M:%SZ
    runs: tuple[KernelRun, ...]

    def thread_counts(self) -> tuple[int, ...]:
        """Return the measured thread counts, smallest first."""
        return tuple(sorted({run.n_threads for run in self.runs}))

    def best_read(self, n_threads: int) -> KernelRun | None:
        """Return the run that read fastest with exactly this many threads, of any kernel."""
        # A mat-vec reads its weights as a plain read does: what any kernel reached is reachable.
        runs = [run for run in self.runs if run.n_threads == n_threads]
        return max(runs, key=lambda run: run.best_bytes_per_s, default=None)

    def read_bytes_per_s(self, n_threads: int) -> float | None:
        """Return the read bandwidth at the smallest measured count that is at least `n_threads`; fewer are no bound.

        None where the count is outside of what was measured.
        """
        counts = self.thread_counts()
        if not counts or not counts[0] <= n_threads <= counts[-1]:
            return None
        run = self.best_read(min(count for count in counts if count >= n_threads))
        return run.best_bytes_per_s if run else None


def load_ceiling(env_id: str) -> Ceiling | None:
    """Return what `doctor --bandwidth` measured in this environment; None where it did not run."""
    ceiling = _kept(env_id).read()
    if ceiling is None or ceiling.env_id != env_id:
        return None
    is_valid = all(run.times_ns and min(run.times_ns) > 0 for run in ceiling.runs)
    return ceiling if is_valid else None


def kept_elsewhere(env_id: str) -> bool:
    """Return whether the bandwidth was measured in other states of this device only, such as another governor."""
    kept = [path.stem for path in _kept(env_id).path.parent.glob("*.json")]
    return bool(kept) and env_id not in kept


def keep_ceiling(ceiling: Ceiling) -> None:
    """Keep the ceilings for later runs, in the place of older ones.

    Raises:
        UserError: the cache folder cannot be written.
    """
    _kept(ceiling.env_id).write(ceiling)


def _kept(env_id: str) -> KeptJson[Ceiling]:
    return KeptJson(f"ceiling/{env_id}.json", Ceiling)
