"""Importance matrices in the old binary form, and rows that are all zero."""

import struct

import gguf
import numpy as np
import pytest

from quant.base.errors import UserError
from quant.gguf_io.imatrix import keys_of, open_imatrix, read_imatrix, zero_rows


def _entry(name: bytes, n_calls: int, values: list[float]) -> bytes:
    head = struct.pack("<i", len(name)) + name + struct.pack("<ii", n_calls, len(values))
    return head + np.array(values, "<f4").tobytes()


def _legacy(*entries: bytes, end: bytes = b"") -> bytes:
    return struct.pack("<i", len(entries)) + b"".join(entries) + end


END = struct.pack("<ii", 7, 9) + b"words.txt"


def test_it_is_read_as_llama_quantize_reads_it(tmp_path):
    path = tmp_path / "imatrix.dat"
    path.write_bytes(_legacy(_entry(b"a", 2, [2.0, 4.0, 0.0]), _entry(b"b", 0, [3.0]), end=END))
    opened = open_imatrix(path)
    assert (opened.n_chunks, opened.dataset) == (7, "words.txt")
    means = read_imatrix(opened)
    assert {name: values.tolist() for name, values in means.items()} == {"a": [1.0, 2.0, 0.0], "b": [3.0]}
    assert keys_of(opened, "0" * 64)["quantize.imatrix.entries_count"] == 2


@pytest.mark.parametrize("end", [b"", END[:4], END[:6]])
def test_the_text_s_name_may_be_missing(tmp_path, end):
    path = tmp_path / "imatrix.dat"
    path.write_bytes(_legacy(_entry(b"a", 1, [1.0]), end=end))
    assert open_imatrix(path).dataset is None
    assert open_imatrix(path).n_chunks == (7 if end else 0)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0",
        _legacy(),
        struct.pack("<i", 1 << 30),
        _legacy(_entry(b"a", 1, [1.0]))[:-1],
        _legacy(_entry(b"", 1, [1.0])),
        _legacy(_entry(b"a\x1b[2J", 1, [1.0])),
        _legacy(_entry(b"\xff", 1, [1.0])),
        _legacy(_entry(b"a", -1, [1.0])),
        _legacy(_entry(b"a", 1, [])),
        _legacy(struct.pack("<i", 1) + b"a" + struct.pack("<ii", 1, 1 << 30)),
        _legacy(struct.pack("<i", -5) + b"a"),
    ],
)
def test_what_is_cut_or_impossible_is_one_line(tmp_path, content):
    path = tmp_path / "imatrix.dat"
    path.write_bytes(content)
    with pytest.raises(UserError, match="is not an importance matrix"):
        open_imatrix(path)


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_impossible_values_are_damage(tmp_path, value):
    path = tmp_path / "imatrix.dat"
    path.write_bytes(_legacy(_entry(b"a", 1, [1.0, value])))
    with pytest.raises(UserError, match="damaged entry for a"):
        read_imatrix(open_imatrix(path))


def test_rows_that_are_all_zero_are_ones_and_counted(tmp_path):
    path = tmp_path / "imatrix.gguf"
    writer = gguf.GGUFWriter(path, "imatrix")
    writer.add_string("general.type", "imatrix")
    writer.add_array("imatrix.datasets", ["words.txt"])
    writer.add_uint32("imatrix.chunk_count", 4)
    writer.add_uint32("imatrix.chunk_size", 512)
    for name, sums, counts in (
        ("experts", [[0.0, 0.0], [2.0, 0.0], [0.0, 0.0], [8.0, 8.0]], [2.0, 2.0, 0.0, 4.0]),
        ("dense", [[0.0, -0.0]], [5.0]),
        ("good", [[0.0, 5.0]], [5.0]),
    ):
        writer.add_tensor(f"{name}.in_sum2", np.array(sums, np.float32))
        writer.add_tensor(f"{name}.counts", np.array(counts, np.float32).reshape(-1, 1))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    opened = open_imatrix(path)
    assert zero_rows(opened) == {"experts": 1, "dense": 1}  # no token chose the third expert, which is no surprise
    means = {name: values.tolist() for name, values in read_imatrix(opened).items()}
    assert means == {"experts": [1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 2.0, 2.0], "dense": [1.0, 1.0], "good": [0.0, 1.0]}


def test_the_old_form_with_only_zeros_is_ones(tmp_path):
    path = tmp_path / "imatrix.dat"
    path.write_bytes(_legacy(_entry(b"a", 3, [0.0, 0.0])))
    assert zero_rows(open_imatrix(path)) == {"a": 1}
    assert read_imatrix(open_imatrix(path))["a"].tolist() == [1.0, 1.0]
