"""Sizes and durations, written and read."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.units import GIB, KIB, MIB, format_seconds, format_size, parse_size

UNITS = {"B": 1, "kB": 1000, "MB": 1000**2, "GB": 1000**3, "TB": 1000**4}
BINARY_UNITS = {"KiB": KIB, "MiB": MIB, "GiB": GIB, "TiB": 1024 * GIB}


@given(st.integers(min_value=0, max_value=10**15))
def test_a_plain_number_is_a_number_of_bytes(size: int) -> None:
    """With or without quotes, as TOML may hold either."""
    assert parse_size(size) == size
    assert parse_size(str(size)) == size


@given(
    st.integers(min_value=0, max_value=5000),
    st.sampled_from(sorted((UNITS | BINARY_UNITS).items())),
    st.sampled_from(["", " ", "  "]),
    st.sampled_from([str, str.lower, str.upper]),
)
def test_a_size_is_its_number_times_its_unit(
    number: int, unit: tuple[str, int], space: str, spelling: Callable[[str], str]
) -> None:
    """Whatever the case of the unit and the space before it."""
    name, factor = unit
    assert parse_size(f" {number}{space}{spelling(name)} ") == number * factor


@given(st.integers(min_value=0, max_value=1023), st.sampled_from(sorted(BINARY_UNITS)))
def test_a_formatted_size_is_read_back_as_the_same_size(number: int, unit: str) -> None:
    """What is shown to people can be pasted into a configuration."""
    size = number * BINARY_UNITS[unit]
    assert parse_size(format_size(size)) == size


@given(st.integers(min_value=0, max_value=10**15))
def test_a_formatted_size_is_right_to_one_decimal(size: int) -> None:
    """Rounding moves a size by half a tenth of its unit at most."""
    text = format_size(size)
    unit = (UNITS | BINARY_UNITS)[text.split()[1]]
    assert abs(parse_size(text) - size) <= 0.05 * unit + 1


@pytest.mark.parametrize("text", ["", "MiB", "10 parsecs", "-1", "1e6", "1,5 GB", "ten", "1 G B"])
def test_what_is_not_a_size_is_refused_with_the_units_that_are(text: str) -> None:
    """The message quotes the culprit and names units."""
    with pytest.raises(ValueError, match="MiB") as refusal:
        parse_size(text)
    assert repr(text) in str(refusal.value)


def test_fractions_of_a_unit_are_understood() -> None:
    """1.5 GiB is 1536 MiB, 0.5 kB is 500 bytes."""
    assert parse_size("1.5GiB") == 1536 * MIB
    assert parse_size("0.5 kB") == 500


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (10 * MIB, "10.0 MiB"),
        (5000 * GIB, "4.9 TiB"),
    ],
)
def test_a_size_is_shown_in_the_largest_unit_that_it_fills(size: int, text: str) -> None:
    """Bytes have no decimals, other units have one."""
    assert format_size(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.0041, "4 ms"),
        (0.999, "999 ms"),
        (1, "1.00 s"),
        (2.94, "2.94 s"),
        (99.99, "99.99 s"),
        (100, "1 min 40 s"),
        (119.6, "2 min 0 s"),
        (200, "3 min 20 s"),
        (-0.0031, "-3 ms"),
    ],
)
def test_a_duration_is_shown_as_finely_as_it_matters(seconds: float, text: str) -> None:
    """Milliseconds below a second, hundredths below 100 s, then minutes."""
    assert format_seconds(seconds) == text


@given(st.floats(min_value=100, max_value=10**6))
def test_minutes_and_seconds_add_up(seconds: float) -> None:
    """To the nearest second."""
    minutes, _, rest, _ = format_seconds(seconds).split()
    assert abs(int(minutes) * 60 + int(rest) - seconds) <= 0.5


@pytest.mark.parametrize("text", ["8EiB", "9" * 400, f"{'9' * 400}GB", "8388608TiB", 1 << 63])
def test_a_size_beyond_all_disks_is_refused(text: str | int) -> None:
    """It is a mistake like any other."""
    with pytest.raises(ValueError, match=r"is too large|is not a size"):
        parse_size(text)
    assert parse_size("8388607TiB") < 1 << 63


def test_who_writes_no_size_is_told_every_unit() -> None:
    """Each of them is one that is understood."""
    with pytest.raises(ValueError, match="is not a size") as refused:
        parse_size("2 floppies")
    _, _, said = str(refused.value).partition(" with ")
    units = said.replace(" or ", ", ").split(", ")
    assert {"TB", "TiB"} <= set(units)
    assert [parse_size(f"1{unit}") for unit in units]
