"""Patterns mean what they mean to multipathd, which has them from the C library."""

from __future__ import annotations

import pytest

from harness.transport.dm_multipath.posix_regex import found_in


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("LIO", "LIO-ORG", True),
        ("^LIO$", "LIO-ORG", False),
        ("^disk[[:digit:]]+$", "disk12", True),
        ("^disk[[:digit:]]+$", "diskette", False),
        ("(COMPAQ|HP)", "HPE", True),
        (r"\d", "5", False),
        ("", "anything", True),
    ],
)
def test_a_pattern_is_searched_for(pattern: str, text: str, *, found: bool) -> None:
    """Anywhere in the text, unless it is anchored; `re` would take some of them otherwise."""
    assert found_in(pattern, text) is found


@pytest.mark.parametrize("pattern", ["*", "(", "[a", "a{2,1}"])
def test_what_is_no_pattern_is_found_nowhere(pattern: str) -> None:
    """multipathd treats a section whose pattern it cannot compile in the same way."""
    assert not found_in(pattern, "*([aa")
