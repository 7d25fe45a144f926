"""Sizes, durations and counts as people read and write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant.base.errors import UserError
from quant.base.units import format_bytes, format_duration, format_params, parse_bytes, parse_count, parse_duration_s

KIB, MIB, GIB = 2**10, 2**20, 2**30


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (999 * KIB, "999.0 KiB"),
        (1000 * KIB, "1.0 MiB"),  # four digits before the point become the next unit
        (24 * MIB, "24.0 MiB"),
        (1000 * MIB, "0.98 GiB"),
        (8 * GIB, "8.00 GiB"),
        (5000 * GIB, "5000.00 GiB"),
        (-3 * MIB, "-3.0 MiB"),
    ],
)
def test_sizes_are_powers_of_two(n_bytes: int, text: str) -> None:
    assert format_bytes(n_bytes) == text


@pytest.mark.parametrize(
    ("n_params", "text"),
    [(940_000, "940.0K"), (134_515_008, "134.5M"), (494_032_768, "494.0M"), (1_235_814_400, "1.24B"), (0, "0.0K")],
)
def test_parameters(n_params: int, text: str) -> None:
    assert format_params(n_params) == text


@pytest.mark.parametrize(
    ("active", "text"), [(2_400_000_000, "7.62B, 2.40B active"), (None, "7.62B"), (7_620_000_000, "7.62B")]
)
def test_parameters_of_a_mixture_of_experts(active: int | None, text: str) -> None:
    assert format_params(7_620_000_000, active) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (190, "3 min 10 s"),
        (3600, "1 h 0 min"),
        (7500, "2 h 5 min"),
        (90_000, "25 h 0 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [
        ("1000", 1000),
        ("0", 0),
        ("12b", 12),
        ("512M", 512 * MIB),
        ("512 MiB", 512 * MIB),
        (" 2gib ", 2 * GIB),
        ("1.5GiB", 3 * GIB // 2),
        ("4k", 4 * KIB),
        ("1T", 1024 * GIB),
    ],
)
def test_a_size_is_read(text: str, n_bytes: int) -> None:
    assert parse_bytes(text) == n_bytes


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("30m", 1800), ("30 min", 1800), ("1h", 3600), ("1.5h", 5400), ("500ms", 0.5), ("0s", 0)],
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert parse_duration_s(text) == seconds


@pytest.mark.parametrize(("text", "count"), [("1B", 10**9), ("500M", 5 * 10**8), ("1.7b", 1_700_000_000), ("7", 7)])
def test_a_number_of_parameters_is_read(text: str, count: int) -> None:
    assert parse_count(text) == count


WRONG = ["", " ", "-1", "1,5", "1e3", "GiB", "1 2", "0x10", "1GB!", "nan", "inf", "1.", ".5", "1\n2"]


@pytest.mark.parametrize("text", WRONG)
@pytest.mark.parametrize(
    ("parse", "what"),
    [(parse_bytes, "a size"), (parse_duration_s, "a duration"), (parse_count, "a number of parameters")],
)
def test_what_cannot_be_read_is_named_with_an_example(parse, what: str, text: str) -> None:
    with pytest.raises(UserError, match=f"is not {what}; write it like") as caught:
        parse(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["1GB", "1mb", "5 parsecs"])
def test_units_of_a_thousand_are_no_size(text: str) -> None:
    with pytest.raises(UserError, match="write it like 512MiB or 2GiB"):
        parse_bytes(text)


@pytest.mark.parametrize("parse", [parse_bytes, parse_duration_s, parse_count])
@pytest.mark.parametrize("text", ["9" * 20, "9" * 400])
def test_what_is_too_large_to_compute_with_is_refused(parse, text: str) -> None:
    with pytest.raises(UserError, match="is too large for"):
        parse(text)


def test_a_duration_ends_at_a_year() -> None:
    assert parse_duration_s("8760h") == 365 * 24 * 3600
    with pytest.raises(UserError, match="'8761h' is too large for a duration; write it like 90s, 30m or 1h"):
        parse_duration_s("8761h")


@given(st.integers(0, 2**50))
def test_a_size_in_bytes_is_read_exactly(n_bytes: int) -> None:
    assert parse_bytes(str(n_bytes)) == n_bytes


def test_the_text_of_an_error_is_one_line_that_a_terminal_can_show() -> None:
    assert str(UserError("line\nbreak\r\x1b[31m", 5, "\u2028end ")) == "line break  [31m 5  end"


def test_a_users_error_is_no_longer_than_anybody_reads() -> None:
    whole = "x" * 2000
    assert str(UserError(whole)) == whole
    assert (
        str(UserError("wrong: ", "a" * 5000, " do this")) == "wrong:  " + "a" * 992 + " ... " + "a" * 491 + "  do this"
    )
