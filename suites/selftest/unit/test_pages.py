"""What runs write into the repository, and how the report calls the tests of its suites."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from suites import pages
from suites.conformance import tables
from suites.selftest.defects import plants, test_mended

SUITES = Path(__file__).parents[2]
TOLD_OF = [path for path in sorted(SUITES.glob("*/test_*.py")) if path.parent.name != "selftest"]
# Words that begin what only goes on from the name of the test.
HALF = re.compile(r"(And|At|Before|By|From|Figures|In|It|Of|On|Or|Then|To|Which|Whichever|With)\b")


@pytest.fixture
def unasked() -> Iterator[None]:
    yield
    asked(False)


def asked(update_docs: bool) -> None:
    config: Any = SimpleNamespace(getoption={"update_docs": update_docs}.__getitem__)
    pages.heed(config)


@pytest.mark.usefixtures("unasked")
def test_a_run_writes_into_the_docs_only_if_it_is_asked_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever only runs the tests has a clean checkout afterwards."""
    targets, detection = tmp_path / "targets.md", tmp_path / "detection.md"
    monkeypatch.setattr(tables, "PAGE", targets)
    monkeypatch.setattr(plants, "PAGE", detection)
    before = f"{tables.CAPABILITIES.header}", f"{plants._HEADER}| a plant | x | fail | y |\n"
    for update_docs in (False, True):
        targets.write_text(before[0])
        detection.write_text(before[1])
        asked(update_docs)
        tables.CAPABILITIES.note("lio", {"CHAP": "yes"})
        plants.forget_detection("a plant")
        plants.note_detection("another", by="x", verdict="fail", says="z", message="so z")
        changed = (targets.read_text(), detection.read_text()) != before
        assert changed is update_docs
    assert "| lio | - | - | - | - | yes | - |" in targets.read_text()
    assert detection.read_text() == f"{plants._HEADER}| another | x | fail | so z |\n"


@pytest.mark.usefixtures("unasked")
def test_a_row_goes_before_it_is_known_whether_enough_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If less was found this time, the share of an earlier run does not stay."""
    page = tmp_path / "detection.md"
    page.write_text(f"{plants._HEADER}| a plant | data intact | fail | 20 of 20 found |\n")
    monkeypatch.setattr(plants, "PAGE", page)
    monkeypatch.setattr(test_mended, "run_clean", lambda *_, **__: None)
    monkeypatch.setattr(test_mended, "prove_writes", lambda _: SimpleNamespace(wrong=()))
    asked(True)
    nothing: Any = SimpleNamespace(layout=SimpleNamespace(write_area=None))
    with pytest.raises(AssertionError):
        test_mended.test_how_surely_short_damage_is_found(nothing, 1, "stale", "a plant", 2.0)
    assert page.read_text() == plants._HEADER


@pytest.mark.parametrize("path", TOLD_OF, ids=lambda path: path.name)
def test_titles_in_the_report_are_sentences_of_their_own(path: Path) -> None:
    """The first line of a test's docstring is all that a reader of the report sees."""
    titles = titles_in(path.read_text())
    assert titles
    assert {name: title for name, title in titles.items() if is_half(title)} == {}


def test_a_title_that_only_goes_on_from_the_name_is_seen() -> None:
    """So is one that is missing, or that breaks off at the end of its line."""
    source = """
def test_one():
    "And then some."
def test_two(): ...
class TestMore:
    def test_three(self):
        '''A sentence that goes on
        in the next line.'''
    def test_four(self):
        "Item 5 is a sentence, though In begins it."
def helper():
    "Of no concern"
"""
    titles = titles_in(source)
    assert titles.keys() == {"test_one", "test_two", "test_three", "test_four"}
    assert [name for name, title in titles.items() if is_half(title)] == [
        "test_one",
        "test_two",
        "test_three",
    ]


def titles_in(source: str) -> dict[str, str]:
    """What the report calls each test of a file."""
    return {
        node.name: (ast.get_docstring(node) or "").partition("\n")[0]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def is_half(title: str) -> bool:
    return not title.endswith(".") or bool(HALF.match(title))
