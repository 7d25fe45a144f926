"""Predictions from a planted device: each operation takes what a formula says, and the prediction finds it again."""

import math

import msgspec
import pytest

from profiler.predict.graph_time import GraphTimes
from profiler.predict.records import GraphWork, NodeWork, ProductWork
from profiler.predict.speed import ERROR, Load, Predictor
from profiler.predict.work import Stored, graph_work
from profiler.records.calibration import Calibration, NodeTime, ProductTime, Yardstick
from profiler.records.graph import Node, Tensor

OVERHEAD_NS, ROW_NS, WEIGHT_NS = 500.0, 10.0, 0.05
BATCH_NS = 0.02  # of a multiplication
BYTES = 0.5  # per weight
CACHED = ((1024, 256), (1024, 2048), (4096, 512))


def added_ns(n_bytes: float) -> float:
    """What streaming adds per byte: nothing up to 16 MiB, then more with each doubling."""
    return 0.02 * max(0.0, math.log2(n_bytes / (1 << 24)))


def one_token_ns(n_cols: int, n_rows: int, read_bytes: float) -> float:
    """A product with one token on the planted device."""
    in_cache = OVERHEAD_NS + n_rows * (ROW_NS + n_cols * WEIGHT_NS)
    return in_cache + n_cols * n_rows * BYTES * added_ns(read_bytes)


def product(n_cols: int, n_rows: int, *, n_matrices: int = 1, n_tokens: int = 1, ns: float) -> ProductTime:
    n_bytes = round(n_cols * n_rows * BYTES)
    return ProductTime(type="q4_0", repacked=True, n_cols=n_cols, n_rows=n_rows, n_matrices=n_matrices,
                       n_matrix_bytes=n_bytes, n_tokens=n_tokens, n_threads=1, ns=ns)  # fmt: skip


def calibration() -> Calibration:
    """What calibrating the planted device would find."""
    cached = [product(cols, rows, ns=one_token_ns(cols, rows, 1)) for cols, rows in CACHED]
    one = 2048 * 2048 * BYTES
    streamed = [product(2048, 2048, n_matrices=n, ns=one_token_ns(2048, 2048, n * one)) for n in (8, 64)]
    batched = [product(1024, 1024, n_tokens=n, ns=1024 * 1024 * n * BATCH_NS) for n in (8, 64, 512)]
    batched.append(product(4096, 512, n_tokens=512, ns=4096 * 512 * 512 * BATCH_NS * 0.9))
    nodes = [
        NodeTime(kind=kind, n_tokens=n, work=work, n_threads=1, ns=300.0 + work * per)
        for kind, per in (("MUL", 0.1), ("FLASH_ATTN_EXT f16/f16 64", 0.01))
        for n in (1, 512)
        for work in (1000 * n, 8000 * n)
    ]
    return Calibration(env_id="e", measured_at="", took_s=1.0, products=(*cached, *streamed, *batched),
                       nodes=tuple(nodes))  # fmt: skip


def work(n_cols: int, n_rows: int, n_tokens: float = 1.0) -> ProductWork:
    return ProductWork(type="q4_0", repacked=True, n_cols=n_cols, n_rows=n_rows,
                       n_bytes=round(n_cols * n_rows * BYTES), n_tokens=n_tokens)  # fmt: skip


@pytest.mark.parametrize(("n_cols", "n_rows"), [(576, 192), (2048, 8192), (8192, 2048)])
@pytest.mark.parametrize("copies", [1, 20])
def test_products_with_one_token(n_cols: int, n_rows: int, copies: int) -> None:
    graph = GraphWork(n_tokens=1, products=((work(n_cols, n_rows), copies),), nodes=())
    read = min(max(graph.read_bytes, 1 << 24), 64 << 21)
    expected = copies * one_token_ns(n_cols, n_rows, read)
    assert GraphTimes(calibration(), 1).ns(graph, 0) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("n_tokens", [8, 50, 512])
def test_products_in_a_batch(n_tokens: int) -> None:
    times = GraphTimes(calibration(), 1)
    narrow = GraphWork(n_tokens=n_tokens, products=((work(512, 700, n_tokens), 3),), nodes=())
    assert times.ns(narrow, 0) == pytest.approx(3 * 512 * 700 * n_tokens * BATCH_NS)
    wide = GraphWork(n_tokens=n_tokens, products=((work(4096, 700, n_tokens), 1),), nodes=())
    assert times.ns(wide, 0) == pytest.approx(4096 * 700 * n_tokens * BATCH_NS * 0.9)


def test_other_nodes_and_attention_to_what_is_there() -> None:
    times = GraphTimes(calibration(), 1)
    mul = GraphWork(n_tokens=1, products=(), nodes=((NodeWork(kind="MUL", work=4000), 2),))
    assert times.ns(mul, 0) == pytest.approx(2 * 700.0)
    kind = "FLASH_ATTN_EXT f16/f16 64"
    attention = GraphWork(n_tokens=1, products=(), nodes=((NodeWork(kind=kind, work=100_000, n_positions=1000), 1),))
    whole, half, beyond = (times.ns(attention, depth) for depth in (999, 499, 5000))
    assert half == pytest.approx(whole / 2)
    assert beyond == whole
    assert times.unknown(mul) == set()
    strange = GraphWork(n_tokens=1, products=(), nodes=((NodeWork(kind="SSM_SCAN", work=1000), 1),))
    assert times.unknown(strange) == {"SSM_SCAN"}
    assert times.ns(strange, 0) > 0


def test_speeds_of_a_load() -> None:
    batch = GraphWork(n_tokens=512, products=((work(1024, 1024, 512), 4),), nodes=())
    one = GraphWork(n_tokens=1, products=((work(1024, 1024), 4),), nodes=())
    load = Load(n_prompt=1280, n_gen=100, n_depth=0, is_request=True, n_threads=1, n_threads_batch=1)
    found = Predictor(calibration(), load).speeds([batch, one])
    assert found is not None
    assert found.prefill_tps.value == pytest.approx(1e9 / (4 * 1024 * 1024 * BATCH_NS))
    assert found.ttft_ms is not None
    assert found.ttft_ms.value == pytest.approx(1280 * 4 * 1024 * 1024 * BATCH_NS / 1e6)
    assert found.decode_tps.lo < found.decode_tps.value < found.decode_tps.hi
    assert load.first_depth == 1280
    assert load.decode_depth == 1330
    assert Predictor(calibration(), load).speeds([]) is None


def tensor(name: str, shape: tuple[int, int, int, int], op: str = "NONE", kind: str = "f32") -> Tensor:
    return Tensor(name=name, op=op, type=kind, shape=shape, block_elements=1, block_bytes=4)


def test_work_of_a_graph_counts_equal_nodes_and_the_experts_that_are_used() -> None:
    x = tensor("x", (64, 1, 1, 1), "MUL")
    dense = Node(op="MUL_MAT", label="MUL_MAT", result=tensor("y", (32, 1, 1, 1)),
                 sources=(tensor("a.weight", (64, 32, 1, 1)), x))  # fmt: skip
    ids = tensor("ids", (2, 1, 1, 1), "ARGSORT", "i32")
    routed = Node(op="MUL_MAT_ID", label="MUL_MAT_ID", result=tensor("z", (32, 2, 1, 1)),
                  sources=(tensor("e.weight", (64, 32, 8, 1)), x, ids))  # fmt: skip
    free = Node(op="VIEW", label="VIEW", result=x, sources=(x,))
    mul = Node(op="MUL", label="MUL", result=x, sources=(x, x))
    found = graph_work([dense, dense, routed, free, mul], 1, lambda name: Stored("q4_0", 8000, repacked=False))
    by_matrices = {each.n_matrices: (each, count) for each, count in found.products}
    assert by_matrices[1][1] == 2
    assert (by_matrices[2][0].n_bytes, by_matrices[2][0].n_tokens, by_matrices[2][1]) == (1000, 1.0, 1)
    assert found.read_bytes == 2 * 8000 + 2 * 1000
    assert [(each.kind, count) for each, count in found.nodes] == [("MUL", 1)]


@pytest.mark.parametrize(("sharing", "expected"), [(1, 40.0), (2, 30.0), (4, 25.0), (8, 25.0)])
def test_attention_by_how_many_query_heads_share_what_is_read(sharing: float, expected: float) -> None:
    kind = "FLASH_ATTN_EXT f16/f16 64"
    nodes = tuple(
        NodeTime(kind=kind, n_tokens=1, work=100, n_threads=1, n_sharing=n, ns=20.0 + 20.0 / n) for n in (1, 4)
    )
    times = GraphTimes(msgspec.structs.replace(calibration(), nodes=nodes), 1)
    node = NodeWork(kind=kind, work=100, n_sharing=sharing)
    assert times.ns(GraphWork(n_tokens=1, products=(), nodes=((node, 1),)), 0) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("yardsticks", "expected"), [((), 1.645 * ERROR), ((1.0,) * 9, 1.645 * ERROR), ((1.0, 1.2, 0.8) * 9, 0.354)]
)
def test_the_range_is_wider_on_a_device_that_was_unsteady(yardsticks: tuple[float, ...], expected: float) -> None:
    batch = GraphWork(n_tokens=512, products=((work(1024, 1024, 512), 4),), nodes=())
    one = GraphWork(n_tokens=1, products=((work(1024, 1024), 4),), nodes=())
    load = Load(n_prompt=512, n_gen=100, n_depth=0, is_request=False, n_threads=1, n_threads_batch=1)
    times = (*tuple(Yardstick(n_threads=1, ns=ns) for ns in yardsticks), Yardstick(n_threads=2, ns=9.0))
    found = Predictor(msgspec.structs.replace(calibration(), yardsticks=times), load).speeds([batch, one])
    assert found is not None
    assert found.decode_tps.hi / found.decode_tps.value - 1 == pytest.approx(expected, abs=1e-3)
    assert found.ttft_ms is None


def test_a_load_with_an_operation_that_was_not_timed_has_a_wide_range() -> None:
    strange = (NodeWork(kind="SSM_SCAN", work=1000), 1)
    batch = GraphWork(n_tokens=512, products=((work(1024, 1024, 512), 4),), nodes=())
    one = GraphWork(n_tokens=1, products=((work(1024, 1024), 4),), nodes=(strange,))
    load = Load(n_prompt=512, n_gen=100, n_depth=0, is_request=False, n_threads=1, n_threads_batch=1)
    found = Predictor(calibration(), load).speeds([batch, one])
    assert found is not None
    assert found.prefill_tps.hi / found.prefill_tps.value - 1 == pytest.approx(1.645 * ERROR)
    assert found.decode_tps.hi / found.decode_tps.value - 1 == pytest.approx(0.5)
