"""Access states: I/O keeps to the optimized path, and goes by the other one only if it must."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

CHOSEN = "clean or a-LinkDown or b-SilentDrop"
DESCRIBED = """
[initiator]
path_grouping_policy = "group_by_prio"

[[networks]]
name = "a"
subnet = "172.16.0.0/24"
portals = [{ address = "172.16.0.1", controller = "c1" }]
initiator = "172.16.0.101"

[[networks]]
name = "b"
subnet = "172.16.1.0/24"
portals = [{ address = "172.16.1.1", controller = "c2" }]
initiator = "172.16.1.101"

[[controllers]]
name = "c1"

[[controllers]]
name = "c2"
access_state = "non-optimized"
"""


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Of each test of a run, by what stands in the test's brackets, or by its name."""
    folder = tmp_path_factory.mktemp("run")
    testbed = folder / "alua.toml"
    testbed.write_text(DESCRIBED)
    argv = [sys.executable, "-m", "pytest", "suites/failover", "-k", CHOSEN]
    argv += ["--testbed", str(testbed), "--reports", str(folder)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    sys.stdout.write(done.stdout)
    documents = map(json.loads, (file.read_text() for file in folder.glob("*/verdicts/*.json")))
    return {document["test"].rpartition("[")[2].rstrip("]"): document for document in documents}


def test_the_promise_is_kept(verdicts: dict[str, Any]) -> None:
    """Whichever path is lost. A host that is busy with other work leaves it unknown."""
    told = {
        lost: [
            f"{check['verdict']}: {check['name']}: {check['message']}"
            for judgement in document["judgements"]
            for check in judgement["checks"]
            if check["verdict"] != "pass"
        ]
        for lost, document in verdicts.items()
    }
    assert list(told.values()) == [[], [], []]
    assert [document["verdict"] for document in verdicts.values()] == ["pass"] * 3


@pytest.mark.parametrize("lost", ["a-LinkDown", "b-SilentDrop"])
def test_the_optimized_path_carries_all_before_and_after(
    verdicts: dict[str, Any], lost: str
) -> None:
    """That is path a."""
    (judgement,) = verdicts[lost]["judgements"]
    (shares,) = (
        check["numbers"] for check in judgement["checks"] if check["name"] == "load shared again"
    )
    assert shares["share_before_a"] > 0.99
    assert shares["share_after_a"] > 0.99
