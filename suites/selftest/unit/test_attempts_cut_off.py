"""An attempt that no other can follow, or whose next one is interrupted, is the one that counts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from suites.selftest.unit.again_suite import BUSY, HEAD, ONCE, run

ENDS = (
    HEAD
    + """
def test_ends_the_run(judge, attempt, request):
    request.session.shouldstop = "enough"
    judge(failover(), saying("unknown")).require()
"""
)
BREAKS = (
    HEAD
    + """
def test_clean_up_breaks(judge, broken_clean_up, attempt):
    judge(failover(), saying("unknown")).require()

def test_after(): pass
"""
)


@pytest.mark.parametrize(
    ("tests", "option"),
    [(ENDS, "--keep"), (ENDS, "--keep-on-failure"), (BREAKS, "--keep-on-failure")],
    ids=["ends", "ends with a failure", "clean-up breaks"],
)
def test_an_attempt_that_no_other_can_follow_is_kept(
    tmp_path: Path, tests: str, option: str
) -> None:
    """Its testbed is there until that is known."""
    ran = run(tmp_path, "--no-report", option, tests=tests)
    assert ran.said.count("kept: pathproof-1") == 1, ran.said
    assert "rerun" not in ran.said
    assert not re.search(r"[0-9] passed", ran.said)  # nothing runs after it
    assert len([one for one in ran.noted if one == "testbed"]) == 1


def test_a_testbed_that_cannot_be_removed_is_an_error_of_the_lab(tmp_path: Path) -> None:
    """And the attempt counts."""
    hangs = '    pathlib.Path("hangs").touch()\n    verdict = '
    tests = HEAD + "import pathlib\n" + ONCE.replace("    verdict = ", hangs)
    ran = run(tmp_path, "--no-report", tests=tests)
    assert "the machines cannot be removed" in ran.said
    assert re.search(r"=+ 2 errors in", ran.said), ran.said
    assert ran.noted == ["supply", "testbed", "test_busy_once", "supply gone"]


INTERRUPTED = (
    ONCE.replace('if attempt == 1 else "pass"', "if attempt == 1 else interrupted()")
    + """
def interrupted():
    raise KeyboardInterrupt
"""
)
CLEANING_UP = (
    ONCE.replace("judge, attempt", "judge, interrupted_clean_up, attempt")
    + """
import pytest
@pytest.fixture
def interrupted_clean_up():
    yield
    raise KeyboardInterrupt
"""
)


@pytest.mark.parametrize("tests", [INTERRUPTED, CLEANING_UP], ids=["in the next", "before it"])
def test_an_attempt_counts_if_the_next_is_interrupted(tmp_path: Path, tests: str) -> None:
    """With all its evidence: it is unknown, and no test was measured again to the end."""
    ran = run(tmp_path, tests=HEAD + tests)
    assert ran.done.returncode == pytest.ExitCode.INTERRUPTED
    (verdict,) = ran.verdicts("*.json").values()
    assert (verdict.attempt, verdict.verdict.value) == (1, "unknown")
    assert ran.verdicts("earlier/*.json") == {}
    (result,) = ran.results("test_busy_once")
    assert BUSY in result["statusDetails"]["message"]
    (properties,) = ran.folder.glob("reports/out/2*/results/environment.properties")
    rows = properties.read_text()
    assert "Verdict=unknown: of 1 test 1 unknown\n" in rows
    assert f"0 failed, 1 unknown | test_busy_once: {BUSY}" in rows
    assert "\ntest_busy_once: 2.94 s of 4.00 s" in ran.said
    assert not any(line.startswith("measured again") for line in ran.ending)
