"""Did the requested threads run? The CPU time of the timed steps says so, whatever held them back.

llama.cpp's threads spin while they wait for each other, so n threads use n CPUs.
Source: the environment variables of OpenMP 5.2, of GCC's libgomp and of LLVM's libomp.
"""

from collections.abc import Sequence
from typing import NamedTuple

from profiler.records.config import RunConfig
from profiler.records.environment import Environment
from profiler.records.round import Round

_NS_PER_S = 1e9
# Below this share of the CPU time that the threads would use, some of them waited for a CPU.
STARVED_SHARE = 0.85
_LEAST_NS = 10_000_000  # a few time slices of the scheduler: one lost slice is a large share of less

# Variables that hold OpenMP's threads back, and how to see whether a value does.
_LIMITS = ("OMP_THREAD_LIMIT", "KMP_DEVICE_THREAD_LIMIT", "KMP_ALL_THREADS")
_PLACES = ("GOMP_CPU_AFFINITY", "OMP_PLACES", "OMP_PROC_BIND", "KMP_AFFINITY", "KMP_HW_SUBSET")
_UNBOUND = ("false", "disabled", "none")


class CpusGot(NamedTuple):
    """The CPUs that the threads used over the timed steps."""

    cpus: float
    threads: float  # requested; a mean over time where prefill and decode differ


def cpus_got(rounds: Sequence[Round]) -> CpusGot | None:
    """Return the CPUs that the threads of a cell used; None where the system does not count, or too little was timed.

    What the process did between the timed steps counts as used, so the figure is never too low.
    """
    used_ns = timed_ns = requested_ns = 0
    for record in rounds:
        config, in_force = record.cell.config, record.in_force
        # An accelerator library computes the prefill with threads of its own, or none.
        n_batch = config.n_threads_batch if in_force is None or in_force.backends in ((), ("CPU",)) else 1
        for sample in record.samples:
            start_ns, end_ns = sample.before.process_cpu_ns, sample.after.process_cpu_ns
            if config.device != "cpu" or start_ns is None or end_ns is None:
                continue
            used_ns += end_ns - start_ns
            timed_ns += sample.timed_ns
            prefill_ns, decode_ns = sample.prefill_ns or 0, sample.decode_total_ns
            requested_ns += prefill_ns * n_batch + decode_ns * config.n_threads + (sample.sample_ns or 0)
    if timed_ns < _LEAST_NS or not used_ns:  # a counter that stands still does not count
        return None
    return CpusGot(used_ns / timed_ns, requested_ns / timed_ns)


def cpus_allowed(environment: Environment | None, config: RunConfig) -> float:
    """Return the CPUs that the process may use, as far as the system reports."""
    allowed = float("inf") if config.cores is None else len(config.cores)
    if environment is None:
        return allowed
    cpus = environment.cores_logical if environment.affinity is None else len(environment.affinity)
    return min(allowed, cpus, environment.cpu_quota or cpus)


def holding_back(environment: Environment | None, n_threads: int) -> dict[str, str]:
    """Return the variables, with their values, that may keep `n_threads` threads from running at once."""
    if environment is None or environment.threading != "openmp" or n_threads < 2:
        return {}
    return {name: value for name, value in environment.thread_variables.items() if _holds_back(name, value, n_threads)}


def _holds_back(name: str, value: str, n_threads: int) -> bool:
    word = value.strip().lower()
    if name in _LIMITS:
        return word.isdecimal() and int(word) < n_threads
    if name in _PLACES:
        return word not in _UNBOUND
    # Threads that sleep while they wait use fewer CPUs; they also start late.
    return (name, word) in {
        ("OMP_DYNAMIC", "true"),
        ("OMP_DYNAMIC", "1"),
        ("OMP_MAX_ACTIVE_LEVELS", "0"),
        ("OMP_WAIT_POLICY", "passive"),
        ("KMP_BLOCKTIME", "0"),
        ("GOMP_SPINCOUNT", "0"),
    }
