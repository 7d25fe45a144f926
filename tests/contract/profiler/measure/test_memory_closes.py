"""Memory closes with the real engine: what llama.cpp set aside and the runtime add up to what the system measured.

Every part of the model is many times the tolerance, so one that is counted twice, or not at all, fails the test.
"""

import sys
from pathlib import Path

import pytest

from profiler.analysis.memory_parts import MemoryParts
from profiler.measure.repack_probe import repacking_works
from quant.quantize.levels_of_gguf import quantize
from tests.benchmarks.memory import config_of, parts_of
from tests.support.ggufs import tiny_gguf

MIB = 1 << 20
# Without a part: graph, scheduler, thread stacks, and what the allocator keeps or takes again. 0.4 to 2 MiB were seen.
TOLERANCE_BYTES = 4 * MIB
N_VOCAB, N_UBATCH, FLOAT_BYTES = 32768, 512, 4
N_CTX = 16384
KV_BYTES = N_CTX * 2 * 2 * 256 * 2  # cells, layers, keys and values, kv heads times head size, bytes of an f16

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="only Linux tells which pages of a mapping are resident"
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("memory")
    whole = tiny_gguf(folder / "whole.gguf", n_embd=512, n_ff=4096, n_vocab=N_VOCAB, ftype="F16")
    (made,) = quantize(whole, ["Q4_0"], folder / "levels")
    return made.path


def run(
    file: Path, *, mmap: bool = True, repack: bool = False, n_outputs_max: int = 1, n_ctx: int = N_CTX
) -> MemoryParts:
    return parts_of(file, config_of(mmap, repack, n_outputs_max, n_prompt=4, n_ctx=n_ctx, n_threads=1))


@pytest.mark.parametrize(
    ("mmap", "repack", "n_outputs_max"), [(True, True, 0), (True, False, 1), (False, True, 1), (False, False, 0)]
)
def test_the_parts_add_up_to_what_was_measured(file: Path, mmap: bool, repack: bool, n_outputs_max: int) -> None:
    if repack and not repacking_works():
        pytest.skip("this build crashes in its repacked kernels")
    found = run(file, mmap=mmap, repack=repack, n_outputs_max=n_outputs_max)
    assert abs(found.remainder_bytes) <= TOLERANCE_BYTES, found
    assert found.part("KV cache").resident_bytes == KV_BYTES
    mapped, copied = found.part("weights, mapped"), found.part("weights, copied")
    assert (mapped.resident_bytes > 0, copied.resident_bytes > 0) == (mmap, not mmap)
    if mmap:  # all pages of the mapping are resident, also those that were repacked
        assert mapped.allocated_bytes is not None
        assert mapped.resident_bytes >= mapped.allocated_bytes - MIB


def test_room_for_all_outputs_is_set_aside_and_not_used(file: Path) -> None:
    # A short context, since the attention's mask, a row of it per token of a batch, lies in this buffer too.
    logits_bytes = N_UBATCH * N_VOCAB * FLOAT_BYTES
    all_of_them, one = (run(file, n_outputs_max=n, n_ctx=N_UBATCH).part("compute buffer") for n in (0, 1))
    assert all_of_them.allocated_bytes is not None
    assert one.allocated_bytes is not None
    assert all_of_them.allocated_bytes >= logits_bytes > 2 * one.allocated_bytes
    assert all_of_them.resident_bytes < logits_bytes / 2
