"""Real QEMU under libvirt's embedded driver, paused, without a system to boot.

A process can open one embedded root in its life, so each story is told by a process of its
own, which prints what it saw.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.errors import TimedOut
from harness.hypervisor import leftovers
from harness.hypervisor.leftovers import end_leftovers
from harness.testbed.watchdog import DYING_S

PROLOGUE = """
import json, os, signal, sys
from dataclasses import replace
from pathlib import Path
from harness.errors import HypervisorError
from harness.config.uri import EMBEDDED
from harness.hypervisor.connection import connect
from harness.hypervisor.domain import PortTaken, running, start
from harness.hypervisor.domain_xml import DomainSpec, Nic, TcpCable
from harness.hypervisor.ports import lease_ports

root, capabilities = Path(sys.argv[1]), Path(sys.argv[2])
NEAR, FAR = "52:54:00:00:00:0a", "52:54:00:00:00:0b"

def spec(name, ports):
    return DomainSpec(
        name=name, uuid="3b0b3ea0-1f0c-4d2a-9f0a-0d8f5b0e6a01", accel="tcg", cpus=1,
        memory_bytes=16 << 20, kernel=root / "kernel", initrd=None, cmdline="", disks=(),
        nics=(
            Nic(NEAR, TcpCable(ports[0], listens=True), 9000),
            Nic(FAR, TcpCable(ports[0], listens=False)),
        ),
        ssh_port=ports[2], management_mac="52:54:00:00:00:0c", console_log=root / "console.log",
    )

def connected():
    return connect(EMBEDDED, root, capabilities_cache=capabilities)

def message(action):
    try:
        action()
    except HypervisorError as error:
        return [type(error).__name__, str(error)]
"""
LINKS_AND_ERRORS = """
def plugged(domain, mac):
    (interface,) = (one for one in domain.handle.XMLDesc().split("<interface")[1:] if mac in one)
    return "<link state='down'/>" not in interface

with lease_ports(6) as ports, connected() as connection:
    with running(connection, spec("one", ports), paused=True) as domain:
        pid = domain.pid
        links = [(plugged(domain, NEAR), plugged(domain, FAR))]
        for up in (False, True):
            domain.set_link(NEAR, up=up)
            links.append((plugged(domain, NEAR), plugged(domain, FAR)))
        paused = not domain.is_running
        domain.resume()
        resumed = domain.is_running
        domain.pause()
        twin = replace(spec("two", ports), uuid="3b0b3ea0-1f0c-4d2a-9f0a-0d8f5b0e6a02")
        taken = message(lambda: start(connection, twin, paused=True))
        unbootable = replace(spec("two", ports[3:]), uuid=twin.uuid, kernel=root / "none")
        refused = message(lambda: start(connection, unbootable, paused=True))
        unknown = message(lambda: domain.set_link("52:54:00:00:00:ff", up=False))
    domain.destroy()
    with connect(EMBEDDED, root) as again:
        same_root = again.versions
other_root = message(lambda: connect(EMBEDDED, root.parent / "other").__enter__())
print(json.dumps(dict(
    pid=pid, links=links, paused=paused, resumed=resumed, taken=taken, refused=refused,
    unknown=unknown, ended=domain.pid is None and not domain.is_running,
    same_root=same_root, other_root=other_root,
)))
"""
STANDING_STILL = """
import time
with lease_ports(3) as ports, connected() as connection:
    with running(connection, spec("still", ports), paused=True) as domain:
        paused = domain.standstill
        described = domain.describe()
        domain.resume()
        runs = domain.standstill
        domain.press_sysrq("9wl")
        os.kill(domain.pid, signal.SIGSTOP)
        while not (stopped := domain.standstill):
            time.sleep(0.01)
        began = time.monotonic()
        domain.destroy()
        took_s = time.monotonic() - began
    gone = domain.standstill
print(json.dumps(dict(
    paused=paused, runs=runs, stopped=stopped, gone=gone, described=described, took_s=took_s
)))
"""
LIMITED = """
from harness.hypervisor.domain_xml import Disk
(root / "disk").write_bytes(bytes(1 << 20))
with lease_ports(3) as ports, connected() as connection:
    with_disk = replace(spec("limited", ports), disks=(Disk(root / "disk", "raw", "lun0"),))
    with running(connection, with_disk, paused=True) as domain:
        limits = [domain.disk_limits("vda")]
        for wanted in ((1, 0), (0, 40), (0, 0)):
            domain.limit_disk("vda", *wanted)
            limits.append(domain.disk_limits("vda"))
        unknown = message(lambda: domain.limit_disk("vdb", 1, 0))
print(json.dumps(dict(limits=limits, unknown=unknown)))
"""
KILLED = """
with lease_ports(3) as ports, connected() as connection:
    print(json.dumps(start(connection, spec("left-behind", ports), paused=True).pid), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
OWNED = """
with lease_ports(3) as ports, connected() as connection:
    print(start(connection, spec("owned", ports), paused=True).pid, flush=True)
    sys.stdin.read()
"""
LEARNING = """
with connected() as connection:
    connection.libvirt.getDomainCapabilities()
"""


@pytest.fixture(scope="session")
def capabilities(pytestconfig: pytest.Config) -> Path:
    assert pytestconfig.cache is not None
    return Path(pytestconfig.cache.mkdir("libvirt-capabilities"))


def tell(story: str, *arguments: Path, status: int = 0) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", PROLOGUE + story, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(harness.__file__).parent.parent,
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert not done.stderr, "libvirt must not write to standard error"
    return json.loads(done.stdout)


def is_alive(pid: int) -> bool:
    try:
        return "qemu" in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False


def test_a_guest_is_cabled_started_refused_a_twin_and_gone(root: Path, capabilities: Path) -> None:
    saw = tell(LINKS_AND_ERRORS, root, capabilities)
    assert saw["links"] == [[True, True], [False, True], [True, True]]
    assert saw["paused"]
    assert saw["resumed"]
    assert saw["taken"][0] == "PortTaken"
    assert saw["refused"][0] == "HypervisorError"
    assert f"{root}/none" in saw["refused"][1]
    assert "there are 52:54:00:00:00:0a, 52:54:00:00:00:0b" in saw["unknown"][1]
    assert saw["ended"]
    assert not is_alive(saw["pid"])
    assert [file.name for file in root.glob("run/qemu/*.pid")] == ["driver.pid"]
    assert not list(root.glob("run/qemu/*.xml"))
    assert set(saw["same_root"]) == {"libvirt", "QEMU"}
    assert "one in the life of a process" in saw["other_root"][1]
    assert list(capabilities.glob("*.xml"))


def test_a_guest_that_stands_still_says_why_and_can_be_ended(
    root: Path, capabilities: Path
) -> None:
    """Also if QEMU itself was stopped, and hears no SIGTERM: that takes libvirt 10 s."""
    saw = tell(STANDING_STILL, root, capabilities)
    assert saw["paused"] == "the hypervisor says that it is paused"
    assert "libvirt: paused" in saw["described"]
    assert re.search(r"QEMU: process \d+, state S ", saw["described"])
    assert saw["runs"] == ""
    assert saw["stopped"] == "QEMU's process was stopped"
    assert saw["gone"] == "the hypervisor says that it is gone"
    assert saw["took_s"] < DYING_S


def test_a_limit_of_a_disk_is_what_qemu_says_of_it(root: Path, capabilities: Path) -> None:
    """Each takes the place of the one before."""
    saw = tell(LIMITED, root, capabilities)
    assert saw["limits"] == [[0, 0], [1, 0], [0, 40], [0, 0]]
    assert saw["unknown"][0] == "HypervisorError"
    assert "limit what passes to and from vdb" in saw["unknown"][1]


def test_a_guest_left_behind_by_a_killed_run_is_swept_away(root: Path, capabilities: Path) -> None:
    pid = tell(KILLED, root, capabilities, status=-signal.SIGKILL)
    try:
        assert is_alive(pid)
        assert end_leftovers(root) == ("left-behind",)
        assert not is_alive(pid)
        assert end_leftovers(root) == ()
    finally:
        if is_alive(pid):
            os.kill(pid, signal.SIGKILL)


def qemus_below(root: Path) -> list[int]:
    """The processes of QEMU whose command lines name the folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            program, _, arguments = (process / "cmdline").read_bytes().partition(b"\0")
            if b"qemu" in program and os.fsencode(root) in arguments:
                found.append(int(process.name))
    return found


def test_a_qemu_that_libvirt_keeps_no_record_of_is_swept_away(root: Path, tmp_path: Path) -> None:
    """It is asked what it can do, and would wait for ever for more questions."""
    argv = [sys.executable, "-c", PROLOGUE + LEARNING, str(root), str(tmp_path)]
    with subprocess.Popen(argv, cwd=Path(harness.__file__).parent.parent) as learning:
        while not list(root.glob("lib/qemu/qmp-*/qmp.pid")):
            assert learning.poll() is None
            time.sleep(0.01)
        learning.kill()
    assert qemus_below(root)
    assert all(name.startswith("process ") for name in end_leftovers(root))
    assert qemus_below(root) == []


def test_a_guest_whose_status_is_damaged_is_swept_away(root: Path, capabilities: Path) -> None:
    pid = tell(KILLED, root, capabilities, status=-signal.SIGKILL)
    (root / "run/qemu/left-behind.xml").write_text("<domstatus")
    assert end_leftovers(root) == (f"process {pid}",)
    assert not is_alive(pid)


def test_others_that_name_the_root_are_left_alone(root: Path) -> None:
    (root / "log").write_text("")
    with subprocess.Popen(["tail", "-f", root / "log"]) as reader:
        assert end_leftovers(root) == ()
        assert reader.poll() is None
        reader.kill()


def test_a_root_is_swept_once_its_owner_has_ended(
    root: Path, capabilities: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two stories: one that goes on, and one that dies while it is waited for."""
    argv = [sys.executable, "-c", PROLOGUE + OWNED, str(root), str(capabilities)]
    with subprocess.Popen(
        argv,
        cwd=Path(harness.__file__).parent.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        with monkeypatch.context() as patient:
            patient.setattr(leftovers, "_OWNER_TIMEOUT_S", 0.1)
            with pytest.raises(TimedOut, match=f"process {owner.pid} has it open"):
                end_leftovers(root)
        assert is_alive(pid)
        threading.Timer(0.3, owner.kill).start()
        assert end_leftovers(root) == ("owned",)
    assert not is_alive(pid)
