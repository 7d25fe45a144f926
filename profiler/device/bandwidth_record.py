"""The ceilings of a device, measured, never nominal: how fast it reads memory, and ggml's kernels weights.

Decode is bound by memory: a token reads every weight once, so bytes per token over the device's read bandwidth is the
time that no engine can undercut. `slmprof doctor --bandwidth` measures it and keeps it with the environment's id.
"""

import msgspec

from profiler.analysis.stats import median
from quant.base.files import cache_dir, write_text

READ = "read"  # the kernel that reads and does next to nothing with it
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
        """The fastest pass: a ceiling is what was reached, not what is usual."""
        return self.n_bytes * _NS_PER_S / min(self.times_ns)

    @property
    def median_bytes_per_s(self) -> float:
        """The pass in the middle; far below the best one the machine was busy."""
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
        """Give the measured thread counts, smallest first."""
        return tuple(sorted({run.n_threads for run in self.runs}))

    def best_read(self, n_threads: int) -> KernelRun | None:
        """Give the run that read the fastest with exactly this many threads, of whatever kernel."""
        # A mat-vec reads its weights as truly as a plain read does: what any kernel reached is reachable.
        runs = [run for run in self.runs if run.n_threads == n_threads]
        return max(runs, key=lambda run: run.best_bytes_per_s, default=None)

    def read_bytes_per_s(self, n_threads: int) -> float | None:
        """Give the read bandwidth at the smallest measured count from `n_threads` on: that of fewer is no limit.

        None where the count lies outside of what was measured.
        """
        counts = self.thread_counts()
        if not counts or not counts[0] <= n_threads <= counts[-1]:
            return None
        run = self.best_read(min(count for count in counts if count >= n_threads))
        return run.best_bytes_per_s if run else None


def load_ceiling(env_id: str) -> Ceiling | None:
    """Give what `doctor --bandwidth` measured in this environment; None where it did not run."""
    try:
        kept = msgspec.json.decode((cache_dir() / "ceiling" / f"{env_id}.json").read_bytes(), type=Ceiling)
    except (OSError, msgspec.DecodeError):
        return None
    sound = all(run.times_ns and min(run.times_ns) > 0 for run in kept.runs)
    return kept if kept.env_id == env_id and sound else None


def kept_elsewhere(env_id: str) -> bool:
    """Tell whether the bandwidth was measured in other states of this device only: its governor, say, was another."""
    kept = [path.stem for path in (cache_dir() / "ceiling").glob("*.json")]
    return bool(kept) and env_id not in kept


def keep_ceiling(ceiling: Ceiling) -> None:
    """Keep it for later runs; a newer one takes its place."""
    write_text(cache_dir() / "ceiling" / f"{ceiling.env_id}.json", msgspec.json.encode(ceiling).decode())
