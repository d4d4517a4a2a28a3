"""What the history of runs says about the next."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ReportError
from harness.reporting.durations import recorded_durations

RECORDED = Path(__file__).parent / "recorded" / "allure-3-failover-history.jsonl"


def run(*milliseconds: int, status: str = "passed", **more: Any) -> str:
    """One line of a history, with tests `m.py::T::test_x[0]` and so on."""
    results = {
        str(number): {
            "name": f"Story, [told] [{number}]",
            "fullName": "suites.m.T#test_x",
            "status": status,
            "duration": duration,
            "labels": [
                {"name": "package", "value": "suites.m"},
                {"name": "story", "value": "Story, [told]"},
            ],
            **more,
        }
        for number, duration in enumerate(milliseconds)
    }
    return json.dumps({"testResults": results})


def test_a_recorded_history_is_read_by_node_id() -> None:
    """pytest names the tests by node ID."""
    durations = recorded_durations(RECORDED)
    module = "suites/failover/test_path_loss.py"
    assert len(durations) == 9
    assert durations[f"{module}::test_io_survives_losing_one_path[a-LinkDown]"] == 29.009
    assert durations[f"{module}::test_io_runs_clean_without_a_fault"] == 15.299


def test_the_median_of_the_latest_runs_counts(tmp_path: Path) -> None:
    """One slow run changes little, and old ones nothing."""
    history = tmp_path / "history.jsonl"
    lines = [run(900_000), *(run(ms) for ms in (10_000, 11_000, 90_000, 12_000, 13_000))]
    history.write_text("\n".join(lines) + "\n")
    assert recorded_durations(history) == {"suites/m.py::T::test_x[0]": 12.0}


@pytest.mark.parametrize("status", ["broken", "skipped", "unknown"])
def test_what_did_not_run_through_says_nothing(status: str, tmp_path: Path) -> None:
    history = tmp_path / "history.jsonl"
    history.write_text(run(1, status=status))
    assert recorded_durations(history) == {}


def test_a_title_that_hides_the_parameters_says_nothing(tmp_path: Path) -> None:
    """A test without a known module says nothing, either."""
    history = tmp_path / "history.jsonl"
    history.write_text(run(1, name="Another title") + "\n" + run(1, labels=[]))
    assert recorded_durations(history) == {}


def test_no_history_is_no_knowledge(tmp_path: Path) -> None:
    assert recorded_durations(tmp_path / "none") == {}


@pytest.mark.parametrize("line", ["{", "[]", "{}", '{"testResults": {"a": {}}}', "1"])
def test_another_file_is_refused_with_its_line(line: str, tmp_path: Path) -> None:
    history = tmp_path / "history.jsonl"
    history.write_text(run(1) + "\n" + line + "\n")
    with pytest.raises(ReportError, match=r"history\.jsonl: line 2 "):
        recorded_durations(history)
