"""The initiator logs out: what is flushed, and what stays behind is told."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.config import Config
from harness.config.credentials import ChapConfig
from harness.config.profiles import FAST
from harness.errors import CommandTimedOut, InitiatorError
from harness.topology import plan
from harness.transport import IscsiInitiator
from harness.transport.dm_multipath import multipath_conf
from suites.selftest.unit.scripted_machine import Answer, Asked, ScriptedMachine

TOPOLOGY = plan(Config())


def initiator(
    answer: Callable[[Asked], Answer], credentials: ChapConfig | None = None
) -> tuple[IscsiInitiator, ScriptedMachine]:
    machine = ScriptedMachine(answer)
    return IscsiInitiator(machine, TOPOLOGY, FAST, ("3600",), credentials), machine


def test_a_login_that_failed_leaves_nothing_to_log_out_of() -> None:
    """That is no failure: statuses and words are those of open-iscsi 2.1.8."""

    def answer(asked: Asked) -> Answer:
        if asked.argv[:3] == ("iscsiadm", "--mode", "discoverydb"):
            portal = TOPOLOGY.portals[0].portal
            said = f"iscsiadm: Discovery record [{portal.address},{portal.port}] not found."
            return Answer(stderr=said, status=6)
        if asked.argv[0] == "iscsiadm":
            word = "records" if "delete" in asked.argv else "matching sessions"
            return Answer(stderr=f"iscsiadm: No {word} found", status=21)
        return Answer()

    one, machine = initiator(answer)
    one.log_out()
    assert len(machine.asked) == 5


def test_a_map_that_is_not_there_is_not_flushed(tmp_path: Path) -> None:
    """`multipath -f` fails for want of it; one that is there is flushed by its name."""
    tool = tmp_path / "multipath"
    tool.write_text("#!/bin/sh\necho flushed $*\nexit 1\n")
    tool.chmod(0o755)
    device = tmp_path / "3600"
    for is_there, says in ((False, (0, "")), (True, (1, "flushed -f -R 10 3600\n"))):
        if is_there:
            device.touch()
        argv = multipath_conf.flush_argv(str(device))
        environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == says


def test_what_a_logout_leaves_behind_is_one_error() -> None:
    """It names each thing, after everything was tried."""

    def answer(asked: Asked) -> Answer:
        if "--logout" in asked.argv:
            return Answer(stderr="iscsiadm: initiator reported error (9)", status=9)
        if asked.argv[0] == "sh":
            raise CommandTimedOut(machine="i", argv=asked.argv, stdout="", stderr="", elapsed_s=90)
        if "discoverydb" in asked.argv:
            return Answer(stderr="iscsiadm: cannot lock the records", status=6)
        return Answer()

    one, machine = initiator(answer)
    with pytest.raises(InitiatorError) as caught:
        one.log_out()
    text = str(caught.value)
    assert text.startswith("scripted: logging out left something behind:\n")
    for part in ("multipath -f", "--logout: exit status 9: iscsiadm: initiator", "cannot lock"):
        assert part in text
    assert len(machine.asked) == 5
