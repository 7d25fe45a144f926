"""Windows, rows and what is kept of them on disk; the expectations are the textbook's formulas in 64 bits."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from profiler.quality.figures import divergence, mean_with_error, perplexity
from profiler.quality.reference import WindowReader, WindowWriter
from profiler.quality.rows import Row
from profiler.quality.worker import first_scored, n_scored

N_VOCAB = 5000


def test_the_second_half_is_scored_but_for_the_last_position() -> None:
    assert (first_scored(512), n_scored(512)) == (256, 255)
    assert (first_scored(9), n_scored(9)) == (4, 4)


def rows(sharpness: float, seed: int) -> Any:
    return (np.random.default_rng(seed).standard_normal(N_VOCAB) * sharpness).astype(np.float32)


def log_softmax(logits: Any) -> Any:
    wide = logits.astype(np.float64)
    wide -= wide.max()
    return wide - math.log(np.exp(wide).sum())


def textbook(base: Any, other: Any) -> float:
    p, q = log_softmax(base), log_softmax(other)
    return float((np.exp(p) * (p - q)).sum())


@pytest.mark.parametrize("sharpness", [0.1, 3.0, 12.0])
@pytest.mark.parametrize("change", [1e-4, 1e-2, 0.3, 3.0])
def test_a_divergence_is_the_textbook_s(sharpness: float, change: float) -> None:
    base = rows(sharpness, 1)
    other = base + rows(change, 2)
    reference, row = Row(N_VOCAB), Row(N_VOCAB)
    reference.read(base, 0)
    assert row.read(other, 17) == pytest.approx(-log_softmax(other)[17], rel=1e-6)
    exact = textbook(base, other)
    assert row.kld(reference.below) == pytest.approx(exact, rel=2e-3, abs=1e-12)
    assert row.kld(row.below) == pytest.approx(0, abs=1e-12)


def test_a_divergence_is_never_negative() -> None:
    row = Row(N_VOCAB)
    for seed in range(20):
        base = rows(4.0, seed)
        other = np.nextafter(base, np.float32(np.inf))
        row.read(base, 0)
        below = row.below.copy()
        row.read(other, 0)
        assert 0 <= row.kld(below) < 1e-10


def test_what_has_no_probability_counts_nothing_unless_it_is_the_right_token() -> None:
    logits = rows(2.0, 3)
    logits[5] = -np.inf
    row = Row(N_VOCAB)
    assert math.isfinite(row.read(logits, 4))
    assert row.kld(row.below.copy()) == pytest.approx(0, abs=1e-12)
    assert row.read(logits, 5) == math.inf


def kept(tmp_path: Path, logits: Any) -> tuple[Any, int]:
    row = Row(N_VOCAB)
    row.read(logits, 0)
    writer = WindowWriter(tmp_path / "window", [3, 1, 2], 2, N_VOCAB)
    writer.put(1, row.below, row.top, np.empty(N_VOCAB, np.float32))
    writer.put(0, row.below, row.top, np.empty(N_VOCAB, np.float32))
    writer.close()
    reader = WindowReader(tmp_path / "window")
    assert (reader.tokens, reader.n_rows, reader.n_vocab) == ([3, 1, 2], 2, N_VOCAB)
    below = np.empty(N_VOCAB, np.float32)
    reader.below(1, below)
    top = reader.top(1)
    reader.close()
    return below, top


@pytest.mark.parametrize("sharpness", [0.0, 0.1, 3.0, 12.0])
def test_a_kept_row_is_as_near_as_its_module_says(tmp_path: Path, sharpness: float) -> None:
    logits = rows(sharpness, 4)
    below, top = kept(tmp_path, logits)
    distance = np.minimum(logits.max().astype(np.float64) - logits, 64)
    reach = distance.max()
    assert top == logits.argmax()
    assert below[top] == 0
    # Half a step of the root r is d' = 2·r·step/2, and 1e-6 of float32's own rounding.
    allowed = np.sqrt(distance * reach) / 65535 + (reach / 65535**2) + 1e-6 * distance
    assert (np.abs(below + distance) <= allowed).all()


@pytest.mark.parametrize("sharpness", [0.1, 3.0, 12.0])
@pytest.mark.parametrize("change", [0.0, 1e-3, 1e-2, 0.3])
def test_keeping_a_row_moves_its_divergence_by_less_than_its_module_says(
    tmp_path: Path, sharpness: float, change: float
) -> None:
    base = rows(sharpness, 5)
    other = base + rows(change, 6)
    below, _ = kept(tmp_path, base)
    row = Row(N_VOCAB)
    row.read(other, 0)
    exact = textbook(base, other)
    assert row.kld(below) == pytest.approx(exact, rel=2e-3, abs=1e-8 + 1e-4 * math.sqrt(2 * exact))


def test_a_file_that_is_truncated_is_not_read(tmp_path: Path) -> None:
    kept(tmp_path, rows(1.0, 7))
    path = tmp_path / "window"
    path.write_bytes(path.read_bytes()[:-1])
    reader = WindowReader(path)
    with pytest.raises(OSError, match="truncated"):
        reader.below(1, np.empty(N_VOCAB, np.float32))
    reader.close()


def test_a_mean_has_its_standard_error() -> None:
    found = mean_with_error([1.0, 2.0, 3.0, 6.0])
    # Squared deviations 4, 1, 0 and 9: their mean 3.5, by three degrees of freedom.
    assert (found.value, found.se) == (3.0, pytest.approx(math.sqrt(3.5 / 3)))
    assert mean_with_error([5.0]).se == 0


def test_figures_of_a_few_tokens() -> None:
    ppl = perplexity([math.log(2), math.log(8)]).ppl
    assert (ppl.value, ppl.se) == (pytest.approx(4), pytest.approx(4 * math.log(2)))
    halves, quarters = [math.log(2)] * 4, [math.log(4)] * 4
    found = divergence(quarters, halves, [0.0, 1.0, 2.0, 3.0], 1)
    assert (found.kld.value, found.kld_p90, found.kld_p99, found.kld_max) == pytest.approx((1.5, 2.7, 2.97, 3))
    assert (found.same_top.value, found.same_top.se) == (0.25, pytest.approx(0.25))  # root of 3/16 by three
    assert found.dp_rms.value == pytest.approx(0.25)
    assert found.log_ppl_ratio.value == pytest.approx(math.log(2))


def test_a_perplexity_beyond_numbers_is_a_number() -> None:
    assert math.isfinite(perplexity([1e6, 2e6]).ppl.se)
