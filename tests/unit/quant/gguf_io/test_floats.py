"""Conversions between the three float types: every bit is that of gguf's, of numpy's, or written out here."""

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quant.gguf_io.floats import convert_floats, n_overflowed

BF16 = gguf.GGMLQuantizationType.BF16
F16_LARGEST = 65504.0
F16_TIE = 65520.0  # halfway between the largest float16 and what would follow it
EDGES = (
    0x00000000, 0x80000000,  # zeros
    0x00000001, 0x80000001, 0x007FFFFF, 0x00400000,  # subnormals of float32
    0x00800000, 0x7F7FFFFF, 0xFF7FFFFF,  # smallest normal, largest
    0x7F800000, 0xFF800000,  # infinities
    0x7F800001, 0xFF800001, 0x7F80FFFF, 0x7FC00000, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FA00000,  # NaNs, signalling ones too
    0x3F800000, 0x3F807FFF, 0x3F808000, 0x3F808001,  # 1.0, and below, at and above the tie to 1.0
    0x3F817FFF, 0x3F818000, 0x3F818001,  # the next tie goes up, to the even neighbour
    0x7F7F7FFF, 0x7F7F8000,  # the largest bfloat16, and the tie to infinity
    0x33800000, 0x33000000, 0x33000001, 0x387FC000, 0x38800000,  # float16's subnormals: least, tie to 0, above, largest
    0x477FE000, 0x477FEFFF, 0x477FF000,  # float16's largest, below the tie to infinity, the tie
)  # fmt: skip


def _f32(*bits: int) -> np.ndarray:
    return np.array(bits, np.uint32).view(np.float32)


def _bits(values: np.ndarray) -> list[int]:
    return values.view(np.uint32 if values.dtype == np.float32 else np.uint16).tolist()


# --- float32 to bfloat16


@pytest.mark.parametrize(
    ("f32", "bf16"),
    [
        (0x3F800000, 0x3F80),  # 1.0
        (0x3F807FFF, 0x3F80),  # under the tie: down
        (0x3F808000, 0x3F80),  # the tie: to the even neighbour, down
        (0x3F808001, 0x3F81),  # above the tie: up
        (0x3F818000, 0x3F82),  # the tie: to the even neighbour, up
        (0xBF818000, 0xBF82),  # the same below zero
        (0x3FFFFFFF, 0x4000),  # rounding up carries into the exponent
        (0x00000000, 0x0000),
        (0x80000000, 0x8000),  # the sign of zero stays
        (0x00000001, 0x0000),  # the least subnormal
        (0x00008001, 0x0001),  # a subnormal stays one
        (0x007FFFFF, 0x0080),  # the largest subnormal becomes the smallest normal
        (0x7F7FFFFF, 0x7F80),  # the largest number rounds to infinity
        (0xFF7FFFFF, 0xFF80),
        (0x7F800000, 0x7F80),
        (0xFF800000, 0xFF80),
        (0x7FC00000, 0x7FC0),
        (0x7F800001, 0x7FC0),  # a NaN whose bits lie in the lower half stays a NaN
        (0xFF800001, 0xFFC0),
        (0x7FFFFFFF, 0x7FFF),  # rounding would carry into the sign
        (0xFFFFFFFF, 0xFFFF),
    ],
)
def test_bfloat16_rounds_to_the_nearest_and_ties_to_even(f32, bf16):
    assert _bits(convert_floats(_f32(f32), "F32", "BF16")) == [bf16]


@settings(deadline=None)
@given(st.lists(st.one_of(st.integers(0, (1 << 32) - 1), st.sampled_from(EDGES)), min_size=1, max_size=64))
def test_bfloat16_has_the_bits_of_ggufs_quantizer(bits):
    values = _f32(*bits)
    expected = gguf.quants.quantize(values, BF16).view(np.uint16)
    assert _bits(convert_floats(values, "F32", "BF16")) == expected.tolist()


# --- bfloat16 to float32


def test_every_bfloat16_becomes_the_float32_that_gguf_gives():
    every = np.arange(1 << 16, dtype=np.uint16)
    expected = gguf.quants.dequantize(every.view(np.uint8), BF16)
    assert np.array_equal(convert_floats(every, "BF16", "F32").view(np.uint32), expected.view(np.uint32))


def test_every_bfloat16_is_itself_after_float32():
    every = np.arange(1 << 16, dtype=np.uint16)
    back = convert_floats(convert_floats(every, "BF16", "F32"), "F32", "BF16")
    signalling = ((every & 0x7F80) == 0x7F80) & ((every & 0x7F) != 0) & ((every & 0x40) == 0)
    assert np.array_equal(back[~signalling], every[~signalling])
    assert np.array_equal(back[signalling], every[signalling] | 0x40)  # made quiet, still a NaN


# --- float16


@pytest.mark.parametrize(
    ("value", "f16"),
    [
        (1.0, 0x3C00),
        (1 + 2**-11, 0x3C00),  # the tie: down to the even neighbour
        (1 + 2**-11 + 2**-20, 0x3C01),
        (1 + 3 * 2**-11, 0x3C02),  # the tie: up
        (-(1 + 3 * 2**-11), 0xBC02),
        (2**-14, 0x0400),  # the smallest normal
        (2**-14 - 2**-24, 0x03FF),  # the largest subnormal
        (2**-24, 0x0001),  # the least subnormal
        (2**-25, 0x0000),  # the tie between it and zero
        (2**-25 + 2**-40, 0x0001),
        (3 * 2**-25, 0x0002),
        (-(2**-26), 0x8000),  # too small: zero with its sign
        (1e-45, 0x0000),
        (F16_LARGEST, 0x7BFF),
        (65519.996, 0x7BFF),  # under the tie to infinity
        (F16_TIE, 0x7C00),
        (-F16_TIE, 0xFC00),
        (3e38, 0x7C00),
        (np.inf, 0x7C00),
        (-np.inf, 0xFC00),
    ],
)
def test_float16_rounds_to_the_nearest_and_ties_to_even(value, f16):
    assert _bits(convert_floats(np.array([value], np.float32), "F32", "F16")) == [f16]


@settings(deadline=None)
@given(st.lists(st.one_of(st.integers(0, (1 << 32) - 1), st.sampled_from(EDGES)), min_size=1, max_size=64))
def test_float16_has_the_bits_of_numpys_and_a_nan_stays_one(bits):
    values = _f32(*bits)
    made = convert_floats(values, "F32", "F16")
    with np.errstate(all="ignore"):
        expected = values.astype(np.float16)
    numbers = ~np.isnan(values)
    assert np.array_equal(made.view(np.uint16)[numbers], expected.view(np.uint16)[numbers])
    assert np.isnan(made[~numbers]).all()


def test_every_float16_becomes_its_float32_and_is_itself_again():
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    wide = convert_floats(every, "F16", "F32")
    assert wide.dtype == np.float32
    numbers = ~np.isnan(every)
    assert np.array_equal(wide[numbers], every[numbers].astype(np.float64))
    assert np.isnan(wide[~numbers]).all()
    back = convert_floats(wide, "F32", "F16")
    assert np.array_equal(back.view(np.uint16)[numbers], every.view(np.uint16)[numbers])


def test_every_bfloat16_becomes_float16_as_its_float32_does():
    every = np.arange(1 << 16, dtype=np.uint16)
    made = convert_floats(every, "BF16", "F16")
    with np.errstate(all="ignore"):
        expected = (every.astype(np.uint32) << 16).view(np.float32).astype(np.float16)
    assert np.array_equal(made, expected, equal_nan=True)
    assert np.array_equal(np.signbit(made), np.signbit(expected))


def test_every_float16_becomes_bfloat16_as_its_float32_does():
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    made = convert_floats(every, "F16", "BF16")
    expected = gguf.quants.quantize(every.astype(np.float32), BF16).view(np.uint16)
    assert np.array_equal(made, expected)


@pytest.mark.parametrize(("kind", "numpy_type"), [("F32", np.float32), ("F16", np.float16), ("BF16", np.uint16)])
def test_the_same_type_is_the_same_array(kind, numpy_type):
    values = np.arange(3).astype(numpy_type)
    assert convert_floats(values, kind, kind) is values


def test_no_values_stay_no_values():
    assert convert_floats(np.empty(0, np.uint16), "BF16", "F16").size == 0
    assert n_overflowed(np.empty(0, np.uint16), "BF16", np.empty(0, np.float16), "F16") == 0


# --- what was lost


@pytest.mark.parametrize(
    ("values", "n_lost", "n_lost_from_bf16"),
    [
        ([1.0, -1.0, 65280.0], 0, 0),
        ([F16_LARGEST, 65519.0], 0, 2),  # bfloat16 has already made 65536 of them
        ([F16_TIE], 1, 1),
        ([-1e30, 1.0, 1e6, 7e4], 3, 3),
        ([np.inf, -np.inf, np.nan], 0, 0),  # what was not finite is not lost
        ([np.inf, 1e5, np.nan, -1e5], 2, 2),
        ([1e-30], 0, 0),  # small values become zero, which is no overflow
    ],
)
def test_finite_values_that_become_infinite_are_counted(values, n_lost, n_lost_from_bf16):
    f32 = np.array(values, np.float32)
    assert n_overflowed(f32, "F32", convert_floats(f32, "F32", "F16"), "F16") == n_lost
    bf16 = gguf.quants.quantize(f32, BF16).view(np.uint16)
    assert n_overflowed(bf16, "BF16", convert_floats(bf16, "BF16", "F16"), "F16") == n_lost_from_bf16


@pytest.mark.parametrize(("source", "target"), [("F16", "F16"), ("F32", "BF16"), ("F32", "F32"), ("BF16", "F32")])
def test_no_other_pair_of_types_overflows(source, target):
    values = {"F16": np.array([np.inf], np.float16), "F32": _f32(0x7F7F0000), "BF16": np.array([0x7F7F], np.uint16)}
    given_values = values[source]
    assert n_overflowed(given_values, source, convert_floats(given_values, source, target), target) == 0
