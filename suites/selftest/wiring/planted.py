"""Wrong wirings of the topology that the run names; `test_wiring.py` runs it once for each."""

from __future__ import annotations

import sys

import pytest

from harness.deadline import Deadline, poll
from harness.errors import PreflightFailed
from harness.preflight import run
from harness.testbed import Testbed
from suites.selftest.wiring.plants import PLANTS, filled_in


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    metafunc.parametrize("plant", PLANTS[metafunc.config.getoption("topology")])


@pytest.fixture(autouse=True)
def _settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was planted is there for good."""
    monkeypatch.setattr(run, "_UNCHANGED_S", 5.0)


def test_a_wrong_wiring_is_found_with_its_cause(testbed: Testbed, plant: str) -> None:
    """With a cure; once it is taken away, nothing is found."""
    found = PLANTS[testbed.config.topology or ""][plant]
    text = filled_in(testbed, found.says)
    with found.planted(testbed):
        # A session lives on for a moment, and so does what the kernel knows of its neighbours.
        failure = poll(
            lambda: preflight_failure(testbed, text), what=text, deadline=Deadline.after(30)
        )
    assert all(problem.cure for problem in failure.problems)
    testbed.wait_for_all_but(())
    testbed.preflight()


def preflight_failure(testbed: Testbed, text: str) -> PreflightFailed | None:
    """What the preflight says, if the cause with that text is among it."""
    try:
        testbed.preflight()
    except PreflightFailed as failure:
        sys.stdout.write(f"\n{failure}\n")
        return failure if any(text in problem.cause for problem in failure.problems) else None
    return None
