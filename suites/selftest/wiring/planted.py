"""Wrong wirings of the topology that the run names; `test_wiring.py` runs it once for each."""

from __future__ import annotations

import sys

import pytest

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
    with found.planted(testbed), pytest.raises(PreflightFailed) as caught:
        testbed.preflight()
    sys.stdout.write(f"\n{caught.value}\n")
    causes = [problem.cause for problem in caught.value.problems]
    assert any(text in cause for cause in causes), f"{text!r} is not among {causes}"
    assert all(problem.cure for problem in caught.value.problems)
    testbed.map.wait_for_paths(active=len(testbed.topology.paths))
    testbed.preflight()
