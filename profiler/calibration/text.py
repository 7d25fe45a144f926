"""A calibration as a table for the terminal."""

from collections.abc import Iterator, Sequence

from profiler.records.calibration import Calibration, ProductTime
from profiler.tables.format import columns
from quant.base.text import counted


def render(calibration: Calibration) -> Iterator[str]:
    """Yield a line for each type of weights: how fast they are read, and how fast they are multiplied in a batch."""
    counts = calibration.thread_counts()
    head = ["weights", *(f"decode t{n}" for n in counts), *(f"prefill t{n}" for n in counts)]
    types = list(dict.fromkeys((each.type, each.repacked) for each in calibration.products))
    rows = [head, *(_row(calibration.products, *kind, counts) for kind in types)]
    for cells in columns(rows, [0]):
        yield "  ".join(cells).rstrip()
    yield ""
    yield "decode: GB/s of weights far beyond each cache, one token. prefill: GFLOP/s of products with 512 tokens."
    kinds = {each.kind.split()[0] for each in calibration.nodes}
    threads = ", ".join(map(str, counts))
    yield (
        f"Also timed: {counted(len(calibration.nodes), 'node')} of {counted(len(kinds), 'other operation')}, with "
        f"{threads} threads; took {calibration.took_s:.0f} s."
    )


def _row(products: Sequence[ProductTime], name: str, repacked: bool, counts: Sequence[int]) -> list[str]:
    of_type = [each for each in products if (each.type, each.repacked) == (name, repacked)]
    decode, prefill = [], []
    for n_threads in counts:
        own = [each for each in of_type if each.n_threads == n_threads]
        streamed = max((each for each in own if each.n_tokens == 1), key=lambda each: each.n_bytes, default=None)
        batched = max((each for each in own if each.n_tokens > 1), key=lambda each: each.n_tokens, default=None)
        decode.append(f"{streamed.n_matrix_bytes / streamed.ns:.2f}" if streamed else "")
        prefill.append(f"{2 * batched.n_cols * batched.n_rows * batched.n_tokens / batched.ns:.1f}" if batched else "")
    return [f"{name.upper()}{' repacked' if repacked else ''}", *decode, *prefill]
