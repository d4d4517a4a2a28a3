"""Real QEMU under libvirt's embedded driver, paused, without a system to boot.

A process can open one embedded root in its life, so each story is told by a process of its
own, which prints what it saw.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.config.uri import EMBEDDED
from harness.deadline import Deadline, poll
from harness.errors import HypervisorError, TimedOut
from harness.hypervisor import connection, qemu_process
from harness.hypervisor import sweep as sweeping
from harness.hypervisor.connection import LONGEST_ROOT, connect
from harness.hypervisor.domain import _names_a_taken_port, missing_program_hint
from harness.hypervisor.sweep import sweep
from harness.testbed.watchdog import DYING_S
from suites.selftest import needs

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


@pytest.fixture
def root() -> Iterator[Path]:
    """A short path, whatever TMPDIR is; with a file that QEMU takes for a kernel."""
    directory = Path(tempfile.mkdtemp(prefix="pathproof-", dir="/tmp"))
    directory.joinpath("kernel").write_bytes(empty_kernel())
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def capabilities(pytestconfig: pytest.Config) -> Path:
    assert pytestconfig.cache is not None
    return Path(pytestconfig.cache.mkdir("libvirt-capabilities"))


def empty_kernel() -> bytes:
    """A bzImage's header (Documentation/arch/x86/boot.rst) and no code."""
    image = bytearray(4096)
    image[0x1F1] = 1  # sectors of the setup code, besides the first
    image[0x202:0x208] = b"HdrS\x0c\x02"  # protocol 2.12
    image[0x211] = 1  # loaded high
    return bytes(image)


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


def test_a_guest_left_behind_by_a_killed_run_is_swept_away(root: Path, capabilities: Path) -> None:
    pid = tell(KILLED, root, capabilities, status=-signal.SIGKILL)
    try:
        assert is_alive(pid)
        assert sweep(root) == ("left-behind",)
        assert not is_alive(pid)
        assert sweep(root) == ()
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
    assert all(name.startswith("process ") for name in sweep(root))
    assert qemus_below(root) == []


def test_a_guest_whose_status_is_damaged_is_swept_away(root: Path, capabilities: Path) -> None:
    pid = tell(KILLED, root, capabilities, status=-signal.SIGKILL)
    (root / "run/qemu/left-behind.xml").write_text("<domstatus")
    assert sweep(root) == (f"process {pid}",)
    assert not is_alive(pid)


def test_others_that_name_the_root_are_left_alone(root: Path) -> None:
    (root / "log").write_text("")
    with subprocess.Popen(["tail", "-f", root / "log"]) as reader:
        assert sweep(root) == ()
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
            patient.setattr(sweeping, "_OWNER_TIMEOUT_S", 0.1)
            with pytest.raises(TimedOut, match=f"process {owner.pid} has it open"):
                sweep(root)
        assert is_alive(pid)
        threading.Timer(0.3, owner.kill).start()
        assert sweep(root) == ("owned",)
    assert not is_alive(pid)


def test_a_root_too_deep_for_sockets_is_refused_before_libvirt_sees_it(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * LONGEST_ROOT)
    with pytest.raises(HypervisorError, match="shorter path"), connect(EMBEDDED, deep):
        pass


def test_a_hypervisor_that_never_answers_is_named(tmp_path: Path) -> None:
    """A listener that accepts and stays silent, as a host behind a full queue does."""
    import socket

    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "s"))
        silent.listen()
        uri = f"qemu+unix:///system?socket={tmp_path}/s"
        with (
            pytest.raises(HypervisorError, match="no answer from libvirt within 1 s") as caught,
            connect(uri, tmp_path, timeout_s=1),
        ):
            pass
    assert uri in str(caught.value)
    assert "virsh --connect" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("Could not set up host forwarding rule 'tcp:127.0.0.1:20005-:22'", True),
        (
            "Could not set up host forwarding rule 'tcp::20005-:22': Address already in use",
            True,
        ),
        ("can't bind ip=127.0.0.1 to socket: Address already in use", True),
        ("qemu: could not open kernel file '/none': No such file or directory", False),
    ],
)
def test_a_taken_port_is_told_from_other_failures(text: str, taken: bool) -> None:
    assert _names_a_taken_port(text) is taken


@pytest.mark.parametrize("why", ["No such file or directory", "Permission denied"])
def test_a_program_that_libvirt_misses_is_named_with_its_package(why: str) -> None:
    """libvirt 9.0 said so, for a file that was gone and for an empty one."""
    said = (
        "operation failed: libvirt:  error : cannot execute binary "
        f"/usr/lib/libvirt/libvirt_iohelper: {why}"
    )
    assert missing_program_hint(said) == (
        "/usr/lib/libvirt/libvirt_iohelper is missing or cannot be run; ./bootstrap installs it "
        "(Debian: libvirt-daemon-common or libvirt-daemon)"
    )
    assert missing_program_hint("operation failed: domain is not running") == ""


@pytest.fixture
def qemu() -> Iterator[tuple[int, str]]:
    """A QEMU that no libvirt started, and the UUID of its guest."""
    number = str(uuid.uuid4())
    argv = ["qemu-system-x86_64", "-uuid", number, "-machine", "none", "-S", "-display", "none"]
    with subprocess.Popen([*argv, "-nodefaults", "-monitor", "none"]) as process:
        yield process.pid, number
        process.kill()


def test_the_process_of_a_guest_of_any_libvirt_here_is_found(qemu: tuple[int, str]) -> None:
    """By its UUID, and by nothing that only its owner may read; not one that only names it."""
    pid, number = qemu
    with subprocess.Popen(["tail", "-f", "/dev/null", "--", "-uuid", number]) as other:
        try:
            deadline = Deadline.after(10)
            poll(lambda: qemu_process.find(number) == pid, what="QEMU is found", deadline=deadline)
            assert not qemu_process.runs(number, other.pid)
        finally:
            other.kill()
    assert not qemu_process.runs(str(uuid.uuid4()), pid)
    assert qemu_process.find(str(uuid.uuid4())) is None


def test_a_process_that_has_ended_is_none(qemu: tuple[int, str]) -> None:
    pid, number = qemu
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert not qemu_process.runs(number, pid)


def test_the_folder_of_all_libvirts_is_made_for_everybody(tmp_path: Path) -> None:
    """Whatever the umask; one that is there stays as it is."""
    folder = tmp_path / "libvirt"
    before = os.umask(0o077)
    try:
        connection._make_run_folder(folder)
        assert folder.stat().st_mode & 0o777 == 0o755
        folder.chmod(0o711)
        connection._make_run_folder(folder)
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o777 == 0o711


def test_a_folder_that_was_left_closed_is_named_with_its_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By an earlier version of this harness, which ran as root."""
    assert connection.closed_folder(tmp_path) == ""
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may enter any
    assert f"as root `chmod 755 {tmp_path}`" in connection.closed_folder(tmp_path)
    assert connection.closed_folder(tmp_path / "none") == ""


@pytest.mark.skipif(bool(needs.no_namespaces()), reason=needs.no_namespaces())
def test_the_embedded_driver_does_not_lock_others_out_of_a_libvirtd_that_comes_later(
    root: Path,
) -> None:
    """Seen in a mount namespace with an empty /run: by itself the driver makes 0700 of it."""
    story = (
        "import sys; from pathlib import Path; from harness.hypervisor.connection import connect\n"
        "with connect('embedded', Path(sys.argv[1])): pass\n"
        "print(oct(Path('/run/libvirt').stat().st_mode & 0o777))"
    )
    script = 'mount -t tmpfs tmpfs /run && exec "$@"'
    argv = [
        "unshare",
        "--mount",
        "sh",
        "-euc",
        script,
        "sh",
        sys.executable,
        "-c",
        story,
        str(root),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=os.environ)
    assert (done.stdout, done.stderr) == ("0o755\n", "")
