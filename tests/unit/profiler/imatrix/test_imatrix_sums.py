"""What counts for an importance matrix, and the sums, on numbers small enough to be added by hand."""

import numpy as np
import pytest

from profiler.engine import EngineError
from profiler.imatrix.sums import InputSquares, is_collected, weight_of


@pytest.mark.parametrize(
    ("op", "weight", "n_rows", "kind", "with_output", "answer"),
    [
        ("MUL_MAT", "blk.0.attn_q.weight", 512, "f32", False, True),
        ("MUL_MAT", "blk.0.attn_q.weight", 16, "f32", False, True),
        ("MUL_MAT", "blk.0.attn_q.weight", 15, "f32", False, False),  # too few
        ("MUL_MAT", "blk.0.attn_q.weight", 512, "f16", False, False),
        ("MUL_MAT", "cache_k_l0 (view)", 512, "f32", False, False),  # attention's own, no weight
        ("MUL_MAT", "output.weight", 512, "f32", False, False),
        ("MUL_MAT", "output.weight", 512, "f32", True, True),
        ("MUL_MAT", "token_embd.weight", 512, "f32", True, False),  # a tied output is none
        ("MUL_MAT_ID", "blk.0.ffn_up_exps.weight", 1, "f32", False, True),  # one row per token and expert
        ("ADD", "blk.0.attn_q.bias", 512, "f32", False, False),
    ],
)
def test_what_is_collected(op: str, weight: str, n_rows: int, kind: str, with_output: bool, answer: bool) -> None:
    assert is_collected(op, weight, n_rows, kind, with_output=with_output) is answer


def test_a_copy_on_a_device_counts_as_the_weight() -> None:
    assert weight_of("CUDA0#blk.0.attn_k.weight#0") == "blk.0.attn_k.weight"
    assert weight_of("CUDA0#blk.0.attn_k.weight") == "blk.0.attn_k.weight"
    assert weight_of("blk.0.attn_k.weight") == "blk.0.attn_k.weight"


def matrix(rows: list[list[float]]) -> np.ndarray:
    return np.array(rows, np.float32)[None, None]


def test_squares_are_added_by_column_over_calls() -> None:
    sums = InputSquares()
    sums.add("a", matrix([[1, 2, 0], [3, -4, 0]]), (1, 1))
    sums.add("a", matrix([[2, 0, 0.5]]), (1, 1))
    squares, counts = sums.result()["a"]
    assert squares.tolist() == [[14.0, 20.0, 0.25]]
    assert counts.tolist() == [3]


def test_matrices_in_one_tensor_have_columns_of_their_own_and_one_count() -> None:
    sums = InputSquares()
    # Four matrices of inputs go through a tensor of two in turns: 1 and 3 meet the first, 2 and 4 the second.
    sums.add("a", np.array([[[[1, 0]], [[2, 0]], [[3, 0]], [[4, 1]]]], np.float32), (1, 2))
    squares, counts = sums.result()["a"]
    assert squares.tolist() == [[10.0, 0.0, 20.0, 1.0]]
    assert counts.tolist() == [2]


def test_an_expert_gets_the_rows_of_the_tokens_that_chose_it() -> None:
    sums = InputSquares()
    inputs = np.array([[[1, 2]], [[3, 4]], [[5, 6]]], np.float32)  # the same for both experts of a token
    sums.add_experts("e", inputs, np.array([[0, 2], [2, 0], [2, 3]], np.int32), 4)
    squares, counts = sums.result()["e"]
    assert squares.tolist() == [[10.0, 20.0], [0.0, 0.0], [35.0, 56.0], [25.0, 36.0]]
    assert counts.tolist() == [2, 0, 3, 1]


def test_an_expert_s_own_input_is_not_its_neighbour_s() -> None:
    sums = InputSquares()
    inputs = np.array([[[1], [2]], [[3], [4]]], np.float32)  # one per token and place
    sums.add_experts("e", inputs, np.array([[0, 1], [1, 0]], np.int32), 2)
    squares, counts = sums.result()["e"]
    assert squares.tolist() == [[17.0], [13.0]]  # 1 and 4; 2 and 3
    assert counts.tolist() == [2, 2]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_stops(value: float) -> None:
    with pytest.raises(EngineError, match=r"blk\.0\.x are not finite"):
        InputSquares().add("blk.0.x", matrix([[1, value]]), (1, 1))


def test_another_width_stops() -> None:
    sums = InputSquares()
    sums.add("a", matrix([[1, 2]]), (1, 1))
    with pytest.raises(EngineError, match="a has inputs of another width"):
        sums.add("a", matrix([[1, 2, 3]]), (1, 1))
