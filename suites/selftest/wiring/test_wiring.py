"""Each wrong wiring of each ready topology is found by the preflight, with its cause."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from suites.selftest.wiring.plants import PLANTS

PLANTED = str(Path(__file__).with_name("planted.py"))


@pytest.mark.parametrize("topology", PLANTS)
def test_every_wrong_wiring_of_a_topology_is_found(topology: str) -> None:
    """One boot for all of them: each is taken away before the next one is planted."""
    argv = [sys.executable, "-m", "pytest", PLANTED, "--topology", topology, "--no-report", "-rA"]
    argv += ["--testbed-scope", "module", "--fork", "false"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    sys.stdout.write(done.stdout)
    assert done.returncode == 0, done.stderr
