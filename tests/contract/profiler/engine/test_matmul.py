"""Products on ggml's own backend are what they should be, and the worker of the bandwidth answers."""

import numpy as np
import pytest

from profiler.device.bandwidth_record import READ
from profiler.engine.matmul import MatMul, Weights, synthetic_rows
from profiler.measure.bandwidth import _run
from profiler.measure.bandwidth_worker import TYPES, Job

MIB = 1 << 20


@pytest.mark.parametrize("repack", [True, False])
@pytest.mark.parametrize("name", [*TYPES, "iq4_nl", "iq2_xxs", "mxfp4"])
def test_products_are_those_of_numpy(name, repack):
    product = MatMul(Weights(name, 1024, 64, n_matrices=3), repack=repack)
    try:
        product.set_threads(2)
        found = {}
        for n_tokens, n_matrices in ((1, 3), (20, 1)):
            product.use(n_tokens, n_matrices)
            product.run()
            found[n_tokens] = product.result()
    finally:
        product.close()
    rows = synthetic_rows(1024)
    expected = rows @ rows.T
    # Rows are the activations too: 1024 squares of unit variance. Few bits lose much of the length.
    off = {"f32": 1e-2, "f16": 1e-2, "iq2_xxs": 0.5}.get(name, 0.15) * expected[0, 0]
    assert np.abs(found[1][0] - np.resize(expected[0], 64)).max() < off
    assert found[20].shape == (20, 64)
    assert np.abs(found[20] - np.resize(expected, (20, 8))[:, np.arange(64) % 8]).max() < off


def test_the_worker_measures_every_kernel_at_every_count():
    runs = _run(Job(threads=(1, 2), n_bytes=MIB, repack=True))
    assert [(run.kernel, run.n_threads) for run in runs] == [
        (kernel, n_threads) for kernel in (READ, *(name.upper() for name in TYPES)) for n_threads in (1, 2)
    ]
    assert all(len(run.times_ns) >= 7 and min(run.times_ns) > 0 for run in runs)
