"""The mat-vec on ggml's own backend computes what it should, and the worker answers."""

import numpy as np
import pytest

from profiler.device.bandwidth_record import READ
from profiler.engine.matvec import MatVec, synthetic_rows
from profiler.measure.bandwidth import _run
from profiler.measure.bandwidth_worker import TYPES, Job

MIB = 1 << 20


@pytest.mark.parametrize("repack", [True, False])
@pytest.mark.parametrize("name", TYPES)
def test_the_product_is_that_of_numpy(name, repack):
    mat_vec = MatVec(name, 2 * MIB, repack=repack)
    try:
        mat_vec.set_threads(2)
        mat_vec.run()
        found = mat_vec.result().reshape(-1, 64)
    finally:
        mat_vec.close()
    rows = synthetic_rows()
    expected = rows @ rows[0]
    # The first row is the vector itself: 4096 squares of unit variance. Four bits lose a few percent of the length.
    assert np.abs(found - expected).max() < (1e-2 if name in ("f32", "f16") else 0.1) * expected[0]
    assert mat_vec.n_weights == found.size * 4096
    assert mat_vec.n_bytes <= 2 * MIB or found.shape[0] == 1


def test_the_worker_measures_every_kernel_at_every_count():
    runs = _run(Job(threads=(1, 2), n_bytes=MIB, repack=True))
    assert [(run.kernel, run.n_threads) for run in runs] == [
        (kernel, n_threads) for kernel in (READ, *(name.upper() for name in TYPES)) for n_threads in (1, 2)
    ]
    assert all(len(run.times_ns) >= 7 and min(run.times_ns) > 0 for run in runs)
