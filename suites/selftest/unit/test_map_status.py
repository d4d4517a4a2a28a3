"""The status line of a dm-multipath map."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.transport.dm_multipath.status import parse_multipath_status, parse_reserve


@pytest.mark.parametrize(
    ("line", "states"),
    [
        (
            "2 0 0 0 1 1 A 0 2 2 8:0 A 0 0 1 8:16 A 0 0 1",
            {"8:0": "active", "8:16": "active"},
        ),
        (
            "2 0 0 0 1 1 A 0 2 2 8:0 F 1 0 1 8:16 A 0 0 1",
            {"8:0": "failed", "8:16": "active"},
        ),
        (
            "2 0 1 0 2 1 E 0 1 2 8:0 F 12 0 1 E 0 1 2 65:128 A 0 16384 1",
            {"8:0": "failed", "65:128": "active"},
        ),
        ("2 0 0 0 0 0", {}),
        ("", {}),
        ("0 20480 linear 8:0 0", {}),
    ],
)
def test_each_path_has_its_state(line: str, states: dict[str, str]) -> None:
    """One group or several, failures counted or not, no path, no map, another kind of map."""
    assert parse_multipath_status(line) == states


@given(
    st.dictionaries(
        st.tuples(st.integers(0, 4095), st.integers(0, 10**5)),
        st.tuples(st.booleans(), st.integers(0, 999), st.integers(0, 10**6)),
        min_size=1,
    )
)
def test_every_path_of_a_long_line_is_found(
    paths: dict[tuple[int, int], tuple[bool, int, int]],
) -> None:
    """Fail counts and the selector's figures never pass for a state."""
    line = f"2 0 0 0 1 1 A 0 {len(paths)} 2 " + " ".join(
        f"{major}:{minor} {'A' if up else 'F'} {failures} {in_flight} 1"
        for (major, minor), (up, failures, in_flight) in paths.items()
    )
    expected = {
        f"{major}:{minor}": "active" if up else "failed"
        for (major, minor), (up, *_) in paths.items()
    }
    assert parse_multipath_status(line) == expected
    assert parse_reserve(line) == frozenset()
    other = line.removeprefix("2 0 0 0 1 1 A")
    assert parse_reserve(f"2 0 0 0 2 1 E{other} A 0 1 2 4096:0 A 0 0 1") == frozenset(expected)


@pytest.mark.parametrize(
    ("line", "reserve"),
    [
        ("2 0 0 0 1 1 A 0 2 2 8:0 A 0 0 1 8:16 A 0 0 1", set()),
        ("2 0 0 0 2 1 A 0 1 2 8:0 A 0 0 1 E 0 1 2 8:16 A 0 0 1", {"8:16"}),
        ("2 0 0 0 2 1 E 0 1 2 8:0 F 3 0 1 A 0 1 2 8:16 A 0 0 1", {"8:0"}),
        ("2 0 0 0 2 1 E 0 2 2 8:0 A 0 0 1 8:32 A 0 0 1 A 0 1 2 8:16 A 0 0 1", {"8:0", "8:32"}),
        ("2 0 0 0 2 1 A 0 1 0 8:0 A 0 D 0 1 0 8:16 A 0", {"8:16"}),
        ("2 0 0 0 2 1 E 0 1 2 8:0 A 0 0 1 E 0 1 2 8:16 A 0 0 1", None),
        ("2 0 0 0 0 0", None),
        ("", None),
    ],
)
def test_paths_of_groups_that_are_not_in_use_are_in_reserve(
    line: str, reserve: set[str] | None
) -> None:
    """Whatever the selector tells of each path; unknown before the first I/O chose a group."""
    assert parse_reserve(line) == reserve
