"""Connections to libvirt, what their errors mean, and the processes and folders behind them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.config.uri import EMBEDDED
from harness.deadline import Deadline, poll
from harness.errors import HypervisorError
from harness.hypervisor import connection, qemu_process
from harness.hypervisor.connection import LONGEST_ROOT, connect
from harness.hypervisor.domain import _names_a_taken_port, missing_program_hint
from suites.selftest import needs


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
