"""The tables that runs write into docs/targets.md."""

from __future__ import annotations

import pytest

from suites.conformance.tables import CAPABILITIES, FIGURES, PAGE, Table

TABLE = Table(("one", "other"))
EMPTY = f"# Page\n\ntext\n\n{TABLE.header}\nmore text\n\n| kind | x |\n|---|---|\n"


def test_a_row_is_made_and_its_cells_filled_one_after_the_other() -> None:
    """What was not seen is a dash; what was seen before stays."""
    once = TABLE.updated(EMPTY, "tgt", {"other": "yes"})
    assert once == EMPTY.replace("|---|---|---|\n", "|---|---|---|\n| tgt | - | yes |\n")
    twice = TABLE.updated(once, "tgt", {"one": "no"})
    assert "| tgt | no | yes |\n\nmore text\n\n| kind | x |\n|---|---|\n" in twice


def test_rows_are_in_the_order_of_their_kinds() -> None:
    """However runs followed each other, the page is the same."""
    first = TABLE.updated(TABLE.updated(EMPTY, "tgt", {"one": "1"}), "lio", {"one": "2"})
    assert first == TABLE.updated(TABLE.updated(EMPTY, "lio", {"one": "2"}), "tgt", {"one": "1"})
    assert "| lio | 2 | - |\n| tgt | 1 | - |\n" in first


def test_a_table_may_be_the_last_of_the_page() -> None:
    """Nothing is below it."""
    text = TABLE.updated(TABLE.header, "lio", {"one": "1"})
    assert text == f"{TABLE.header}| lio | 1 | - |\n"
    assert TABLE.updated(text, "lio", {}) == text


def test_a_page_without_the_table_is_refused() -> None:
    """Rather than left as it was."""
    with pytest.raises(ValueError, match=r"no table \| kind \| one \| other \|"):
        TABLE.updated("# Page\n", "lio", {})


@pytest.mark.parametrize("table", [CAPABILITIES, FIGURES])
def test_the_page_has_the_tables(table: Table) -> None:
    """With these columns."""
    assert table.header in PAGE.read_text()
