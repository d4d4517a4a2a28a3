"""A planted write that arrives so late that only a second look can find it (`--second-look`)."""

from __future__ import annotations

import json

import pytest

from harness.testbed import Testbed
from harness.topology import Role
from suites.selftest.defects.damage import late_writes
from suites.selftest.defects.plants import assert_detected

_SECOND_LOOK_S = 15.0
_LATE_S = 12.0  # after the last I/O: all was read back by then, and is read again later


def test_writes_that_arrive_once_more_after_everything_was_read_back(
    testbed: Testbed, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the first look all is right; hot blocks were overwritten long before the last I/O."""
    workload = testbed.config.workload.model_copy(update={"second_look_s": _SECOND_LOOK_S})
    config = testbed.config.model_copy(update={"workload": workload})
    monkeypatch.setattr(testbed, "config", config)
    replays = late_writes(testbed, testbed.layout.hot_area, late_s=_LATE_S)
    said: list[bytes] = []
    target = testbed.machine(Role.TARGET)
    with target.background(replays, on_line=said.append) as late:
        with testbed.io(testbed.layout.mixed(seed)) as io:
            io.wait_until_running()
            io.run_for(seconds=4)
            late.send(b"\n")
            io.run_for(seconds=12)
            io.before_read_back(lambda: late.send(b"\n"))
        late.wait(timeout_s=60)
    assert len(json.loads(said[0])) >= 10
    assert_detected(
        "writes that arrive once more after everything was read back",
        io.measurements,
        by="data intact",
        fails="came back at offset ",
    )
