"""Each wrong wiring of each ready topology is found by the preflight, with its cause."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.config.ready import topology_names
from suites.selftest.wiring.plants import PLANTS

PLANTED = str(Path(__file__).with_name("planted.py"))
# Far beyond a boot and six plants under emulation; a run that hangs would never end.
_LIMIT_S = 1800
_ENDING_S = 120


def passed(said: str) -> list[str]:
    """The plants of which the test passed, by the summary of `pytest -rA`, sorted.

    Such a line ends in `planted.py::test_a_wrong_wiring_is_…[rp_filter of all NICs]`.
    """
    return sorted(re.findall(r"^PASSED \S*planted\.py::\w+\[(.+)\]$", said, re.MULTILINE))


def test_every_ready_topology_has_plants() -> None:
    """A new one cannot be forgotten."""
    assert sorted(PLANTS) == topology_names()
    assert all(PLANTS.values())


def test_a_plant_counts_if_its_test_passed(tmp_path: Path) -> None:
    """Not if it was skipped, with which pytest ends well, too."""
    (tmp_path / "planted.py").write_text(
        "import pytest\n"
        "@pytest.mark.parametrize('plant', ['the first', 'the other', 'skipped'])\n"
        "def test_it(plant):\n"
        "    if plant == 'skipped':\n"
        "        pytest.skip('planted.py::test_it[skipped]')\n"
    )
    argv = [sys.executable, "-m", "pytest", "planted.py", "-rA", "--rootdir", "."]
    done = subprocess.run(
        argv, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert passed(done.stdout) == ["the first", "the other"]


@pytest.mark.parametrize("topology", PLANTS)
def test_every_wrong_wiring_of_a_topology_is_found(topology: str) -> None:
    """One boot for all of them: each is taken away before the next one is planted.

    A test that was skipped or left out has found nothing.
    """
    argv = [sys.executable, "-m", "pytest", PLANTED, "--topology", topology, "--no-report", "-rA"]
    argv += ["--testbed-scope", "module", "--fork", "false"]
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as pytest_:
        try:
            said, _ = pytest_.communicate(timeout=_LIMIT_S)
        except subprocess.TimeoutExpired:
            said = _ended(pytest_)
    sys.stdout.write(said)
    assert pytest_.returncode == 0
    assert passed(said) == sorted(PLANTS[topology])


def _ended(process: subprocess.Popen[str]) -> str:
    """Ended so that it takes its machines away; killed if it does not end. What it has said."""
    process.send_signal(signal.SIGINT)
    try:
        said, _ = process.communicate(timeout=_ENDING_S)
    except subprocess.TimeoutExpired:
        process.kill()
        said, _ = process.communicate()
    return said
