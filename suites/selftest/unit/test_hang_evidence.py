"""What is collected when I/O hangs: each thing for itself, and for a bounded time."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from harness.errors import MachineError, SeveralFailed, defects
from harness.hypervisor.domain import SYSRQ_KEYS
from harness.machine import LocalMachine
from harness.testbed import hang_evidence
from harness.testbed.hang_evidence import SYSRQ_SCRIPT, TASKS_SCRIPT, gather
from harness.testbed.protocols import MeasuredTestbed
from harness.topology import Role


class Answering:
    """A testbed that hangs where multipath is asked, and fails where the device mapper is."""

    machines = tuple(Role)

    def __init__(self, *, silent: Role | None = None) -> None:
        self.silent = silent
        self.keys: dict[Role, str] = {}
        self.never = threading.Event()
        attachment = SimpleNamespace(hang_evidence=self._of_map)
        initiator = SimpleNamespace(hang_evidence=lambda _: {"sessions": lambda: "none"})
        self.initiators = {Role.INITIATOR: initiator}
        planned = SimpleNamespace(name="lun0", machine=Role.INITIATOR)
        self.maps = (SimpleNamespace(planned=planned, attachment=attachment),)

    def _of_map(self, _: float) -> dict[str, Callable[[], str]]:
        return {"device mapper": self._fail, "multipath -ll": self._hang}

    def _fail(self) -> str:
        raise MachineError("connection lost")

    def _hang(self) -> str:
        self.never.wait()
        return ""

    def machine(self, role: Role) -> SimpleNamespace:
        def sh(script: str, *, timeout_s: float) -> SimpleNamespace:
            return SimpleNamespace(stdout=f"{role}: {script.split(maxsplit=1)[0]}")

        return SimpleNamespace(sh=sh)

    def observer(self, role: Role) -> SimpleNamespace:
        return SimpleNamespace(
            answers=lambda _: role is not self.silent, kernel_texts=("one", "two")
        )

    def domain(self, role: Role) -> SimpleNamespace:
        def press(keys: str) -> None:
            self.keys[role] = keys

        return SimpleNamespace(describe=lambda: "libvirt: running", press_sysrq=press)

    def console(self, role: Role) -> str:
        return "sysrq: Show backtrace of all active CPUs" if role in self.keys else "quiet"


def test_evidence_is_bounded_and_one_item_does_not_spoil_another() -> None:
    """One hangs, one fails, and the rest is there."""
    testbed = Answering()
    started = time.monotonic()
    found = gather(cast(MeasuredTestbed, testbed), 0.3)
    assert time.monotonic() - started < 3
    testbed.never.set()
    assert found["multipath -ll"] == "not to be had: multipath -ll: not within 0 s"
    assert found["sessions"] == "none"
    assert found["device mapper"] == "not to be had: connection lost"
    assert found["initiator blocked tasks"] == "initiator: for"
    assert found["target kernel stacks"] == "target: level=$(cut"
    assert found["initiator kernel log"] == "one\ntwo"
    assert found["target virtual machine"] == "libvirt: running"
    assert found["initiator console"] == "quiet"
    assert testbed.keys == {}


def test_a_programming_error_is_no_evidence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where an error of the lab hides it."""

    def console(_: Role) -> str:
        try:
            raise TypeError("x")
        finally:
            raise MachineError("connection lost")

    testbed = Answering()
    testbed.never.set()
    monkeypatch.setattr(testbed, "console", console)
    with pytest.raises(SeveralFailed) as raised:
        gather(cast(MeasuredTestbed, testbed), 5)
    assert {type(one) for one in defects(raised.value)} == {TypeError}


def test_a_silent_machine_is_asked_over_its_keyboard() -> None:
    testbed = Answering(silent=Role.TARGET)
    testbed.never.set()
    found = gather(cast(MeasuredTestbed, testbed), 5)
    assert testbed.keys == {Role.TARGET: "9wl"}
    assert set(testbed.keys[Role.TARGET]) <= set(SYSRQ_KEYS)
    assert "Show backtrace" in found["target kernel stacks"]


def test_a_silent_machine_that_ignores_its_keyboard_holds_nothing_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A processor that stands still answers nothing."""
    monkeypatch.setattr(hang_evidence, "_LAST_LINE", "never")
    testbed = Answering(silent=Role.INITIATOR)
    testbed.never.set()
    assert (
        "its console ends" in gather(cast(MeasuredTestbed, testbed), 1)["initiator kernel stacks"]
    )


@pytest.mark.parametrize("name", ["fio", "fio-3.41"])
def test_the_tasks_of_fio_are_listed_with_their_state(tmp_path: Path, name: str) -> None:
    """By a shell on this very host; `sleep` under the name of fio."""
    sleep = shutil.which("sleep")
    assert sleep is not None
    shutil.copy2(sleep, tmp_path / name)
    with subprocess.Popen([tmp_path / name, "60"]) as stand_in:
        said = LocalMachine().sh(TASKS_SCRIPT).stdout
        stand_in.kill()
    assert f"{stand_in.pid} ({name}) S" in said.splitlines()


def test_stacks_stay_off_the_console_and_its_level_is_put_back(tmp_path: Path) -> None:
    """Printed there, they would stop an emulated machine for more than a second."""
    printk, trigger, asked = (tmp_path / name for name in ("printk", "trigger", "asked"))
    printk.write_text("7\t4\t1\t7\n")
    script = SYSRQ_SCRIPT.replace("/proc/sys/kernel/printk", str(printk))
    script = script.replace("/proc/sysrq-trigger", f"{trigger}; cat {printk} >>{asked}")
    LocalMachine().sh(script)
    assert asked.read_text().split() == ["1", "1"]
    assert printk.read_text().split() == ["7"]
