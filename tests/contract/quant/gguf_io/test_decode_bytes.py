"""What a decoded token reads, of real files and against gguf's own reader."""

import gguf
import pytest

from quant.gguf_io.artifact import describe
from tests.support.ggufs import tiny_gguf


@pytest.mark.parametrize("tied", [True, False])
def test_the_embedding_counts_only_where_it_is_the_output_too(tmp_path, monkeypatch, tied):
    monkeypatch.setenv("SLMPROF_CACHE", str(tmp_path / "cache"))
    path = tiny_gguf(tmp_path / "m.gguf", tied=tied)
    sizes = {tensor.name: int(tensor.n_bytes) for tensor in gguf.GGUFReader(path).tensors}
    assert ("output.weight" in sizes) != tied
    expected = sum(sizes.values()) - (0 if tied else sizes["token_embd.weight"])
    assert describe(path).decode_weight_bytes == expected
