"""The sums of squares of each matrix's inputs, column by column.

llama.cpp adds in float32, row by row; here it is float64, so the two differ by the former's rounding.
Source of the rules: IMatrixCollector::collect_imatrix in tools/imatrix/imatrix.cpp of the pinned llama.cpp.
"""

import numpy as np
from numpy.typing import NDArray

from profiler.engine import EngineError
from quant.gguf_io.imatrix_writer import InputSums

MIN_ROWS = 16  # fewer are skipped, as in llama-imatrix: the few rows of a last layer are no sample


def is_collected(op: str, weight: str, n_rows: int, input_type: str, *, with_output: bool) -> bool:
    """Return whether a node's input is collected: a matrix of a block, experts, and on request the output matrix."""
    if op == "MUL_MAT_ID":
        return True
    if op != "MUL_MAT" or n_rows < MIN_ROWS or input_type != "f32":
        return False
    return weight.startswith("blk.") or (with_output and weight == "output.weight")


def weight_of(name: str) -> str:
    """Return a weight's own name: a copy on a device is called like CUDA0#blk.0.attn_k.weight#0."""
    return name.split("#")[1] if "#" in name else name


class InputSquares:
    """The sums so far, by the weight's name."""

    def __init__(self) -> None:
        self._squares: dict[str, NDArray[np.float64]] = {}
        self._counts: dict[str, NDArray[np.int64]] = {}

    def add(self, weight: str, inputs: NDArray[np.float32], n_matrices: tuple[int, int]) -> None:
        """Add the input of a matrix, or of several in one tensor, which have one count.

        Args:
            inputs: (n3, n2, rows, columns).
            n_matrices: of the weight, (n3, n2); an input of more goes through them in turn.
        """
        n3, n2, n_rows, n_columns = inputs.shape
        n_outer, n_inner = n_matrices
        squares, counts = self._at(weight, (n_outer * n_inner, n_columns), 1)
        for i3 in range(n3):
            for i2 in range(n2):
                matrix = (i3 % n_outer) * n_inner + i2 % n_inner
                squares[matrix] += _squares(inputs[i3, i2])
        counts += n3 * n2 * n_rows // (n_outer * n_inner)
        _check(weight, squares)

    def add_experts(self, weight: str, inputs: NDArray[np.float32], chosen: NDArray[np.int32], n_experts: int) -> None:
        """Add the input of experts.

        Args:
            inputs: (tokens, one or the number of experts used, columns).
            chosen: (tokens, experts used), the experts' numbers.
        """
        squares, counts = self._at(weight, (n_experts, inputs.shape[2]), n_experts)
        for slot in range(chosen.shape[1]):
            rows = inputs[:, slot % inputs.shape[1]]
            for expert in np.unique(chosen[:, slot]):
                squares[expert] += _squares(rows[chosen[:, slot] == expert])
        counts += np.bincount(chosen.reshape(-1), minlength=n_experts)
        _check(weight, squares)

    def _at(self, weight: str, shape: tuple[int, int], n_counts: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        squares = self._squares.setdefault(weight, np.zeros(shape))
        counts = self._counts.setdefault(weight, np.zeros(n_counts, np.int64))
        if squares.shape != shape:
            raise EngineError("decode", f"{weight} has inputs of another width than before")
        return squares, counts

    def result(self) -> dict[str, InputSums]:
        """Return all sums, each with as many rows as it has counts."""
        return {
            name: InputSums(squares.reshape(self._counts[name].size, -1), self._counts[name])
            for name, squares in self._squares.items()
        }


def _squares(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = rows.astype(np.float64)
    result: NDArray[np.float64] = np.einsum("ij,ij->j", wide, wide)
    return result


def _check(weight: str, squares: NDArray[np.float64]) -> None:
    if not np.isfinite(squares).all():
        raise EngineError("decode", f"the inputs of {weight} are not finite; the model or its file is damaged")
