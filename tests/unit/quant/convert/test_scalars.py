"""Values that the checkpoint stores as tensors and GGUF as keys."""

from pathlib import Path

import numpy as np
import pytest

from quant.base.errors import UserError
from quant.convert.families import find_family
from quant.convert.safetensors_file import Tensor
from quant.convert.scalars import scalars_by_layer

NAMES = find_family("ApertusForCausalLM").scalars
CONFIG = {"num_hidden_layers": 2}


def tensors(folder: Path, values: np.ndarray, dtype: str = "F32", shape: tuple[int, ...] = ()) -> dict[str, Tensor]:
    """Store values of two layers one after the other, kind by kind."""
    path = folder / "values"
    path.write_bytes(values.tobytes())
    listed = [f"model.layers.{layer}.{name}" for name in NAMES for layer in range(2)]
    return {
        name: Tensor(name, dtype, shape, path, place * values.itemsize)
        for place, name in enumerate(listed[: len(values)])
    }


@pytest.mark.parametrize("shape", [(), (1,)])
def test_each_value_is_read_once_per_layer(tmp_path: Path, shape: tuple[int, ...]) -> None:
    stored = tensors(tmp_path, np.arange(8, dtype=np.float32), shape=shape)
    found = scalars_by_layer(tmp_path, find_family("ApertusForCausalLM"), CONFIG, stored)
    assert list(found.values()) == [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0], [6.0, 7.0]]


def test_bfloat16_is_widened(tmp_path: Path) -> None:
    halves = np.full(8, 0x3F00, dtype=np.uint16)  # 0.5
    found = scalars_by_layer(tmp_path, find_family("ApertusForCausalLM"), CONFIG, tensors(tmp_path, halves, "BF16"))
    assert list(found.values()) == [[0.5, 0.5]] * len(NAMES)


def test_a_family_without_them_reads_nothing(tmp_path: Path) -> None:
    assert scalars_by_layer(tmp_path, find_family("LlamaForCausalLM"), {}, {}) == {}


def test_synthetic_weights_have_none(tmp_path: Path) -> None:
    synthetic = {**CONFIG, "slmprof_synthetic": True}
    assert scalars_by_layer(tmp_path, find_family("ApertusForCausalLM"), synthetic, {}) == {}


@pytest.mark.parametrize(
    ("values", "shape", "message"),
    [
        (np.arange(7, dtype=np.float32), (), "lacks 1 tensors"),
        (np.arange(8, dtype=np.float32), (2,), "must be one value"),
        (np.full(8, np.nan, dtype=np.float32), (), "must be a number"),
    ],
)
def test_what_is_missing_or_no_number_is_refused(
    tmp_path: Path, values: np.ndarray, shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        scalars_by_layer(tmp_path, find_family("ApertusForCausalLM"), CONFIG, tensors(tmp_path, values, shape=shape))
