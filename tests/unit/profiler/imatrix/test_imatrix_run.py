"""How windows are read for an importance matrix, and the file that is written."""

from collections.abc import Sequence
from pathlib import Path

import gguf
import numpy as np
import pytest

from profiler.imatrix.run import parts_of, read_windows
from quant.gguf_io.imatrix import keys_of, open_imatrix, read_imatrix
from quant.gguf_io.imatrix_writer import InputSums, write_imatrix


@pytest.mark.parametrize(
    ("n_ctx", "n_vocab", "parts"),
    [
        (512, 1024, [512]),
        (2048, 1024, [512] * 4),
        (512, 151_936, [103, 103, 102, 102, 102]),  # 110 tokens' logits are 64 MiB
        (33, 10_000_000, [17, 16]),  # none under 16, which llama-imatrix leaves out
        (32, 10_000_000, [32]),
    ],
)
def test_a_window_is_split_where_its_logits_are_large(n_ctx: int, n_vocab: int, parts: list[int]) -> None:
    assert parts_of(n_ctx, n_vocab) == parts


class Reader:
    """An engine that records its calls."""

    bos_token = None

    def __init__(self) -> None:
        self.calls: list[object] = []

    def clear(self) -> None:
        self.calls.append("clear")

    def prefill_every(self, tokens: Sequence[int]) -> None:
        self.calls.append(list(tokens))


def test_each_window_is_read_from_an_empty_cache_in_its_parts() -> None:
    engine = Reader()
    read_windows(engine, [[1, 2, 3], [4, 5, 6]], [2, 1], engine.calls.append)
    assert engine.calls == ["clear", [1, 2], [3], 1, "clear", [4, 5], [6], 2]


def test_the_file_is_read_by_gguf_and_by_the_quantizer(tmp_path: Path) -> None:
    path = tmp_path / "imatrix.gguf"
    sums = {
        "blk.0.b.weight": InputSums(np.array([[8.0, 2.0, 0.5]]), np.array([4])),
        "blk.0.a.weight": InputSums(np.array([[3.0, 6.0], [0.0, 0.0]]), np.array([3, 0])),
    }
    write_imatrix(path, sums, dataset="mine.txt", n_chunks=2, n_tokens_per_chunk=512)
    reader = gguf.GGUFReader(path)
    keys = {key: field.contents() for key, field in reader.fields.items() if not key.startswith("GGUF.")}
    assert keys == {
        "general.type": "imatrix",
        "imatrix.datasets": ["mine.txt"],
        "imatrix.chunk_count": 2,
        "imatrix.chunk_size": 512,
    }
    assert [(each.name, each.shape.tolist(), each.data.tolist()) for each in reader.tensors] == [
        ("blk.0.a.weight.in_sum2", [2, 2], [[3.0, 6.0], [0.0, 0.0]]),
        ("blk.0.a.weight.counts", [1, 2], [[3.0], [0.0]]),
        ("blk.0.b.weight.in_sum2", [3], [8.0, 2.0, 0.5]),
        ("blk.0.b.weight.counts", [1], [4.0]),
    ]
    opened = open_imatrix(path)
    means = {name: values.tolist() for name, values in read_imatrix(opened).items()}
    # An expert that no token chose matters like any other.
    assert means == {"blk.0.a.weight": [1.0, 2.0, 1.0, 1.0], "blk.0.b.weight": [2.0, 0.5, 0.125]}
    assert keys_of(opened, "0" * 64) == {
        "quantize.imatrix.file": "imatrix.gguf",
        "quantize.imatrix.dataset": "mine.txt",
        "quantize.imatrix.entries_count": 2,
        "quantize.imatrix.chunks_count": 2,
        "slmprof.imatrix.sha256": "0" * 64,
    }
