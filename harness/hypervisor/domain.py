"""A running guest."""

from __future__ import annotations

import os
import re
import select
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.errors import HypervisorError
from harness.hypervisor import helper, qemu_process, subreaper
from harness.hypervisor.accel import DEVICE
from harness.hypervisor.connection import Connection
from harness.hypervisor.domain_xml import DomainSpec, render
from harness.hypervisor.qemu_user import explaining, qemu_user, slow_start
from harness.steps import Spent, step

# libvirt sends SIGKILL after 10 s and waits for 5 s more; QEMU dies at once unless the host's
# storage hangs under it.
_DEATH_TIMEOUT_S = 20
_LOG_LINES = 10

# libvirt 9.0 of a program of its own that is missing or cannot be run.
_NO_PROGRAM = re.compile(r"cannot execute binary (?P<file>/\S+?):")

# linux/input-event-codes.h; what the kernel does is in its admin-guide/sysrq.rst.
SYSRQ_KEYS = {"9": 10, "w": 17, "l": 38}
_KEY_LEFTALT, _KEY_SYSRQ = 56, 99
_KEY_HELD_MS = 50

# virDomainState
_RUNNING = "running"
_STATES = {
    1: _RUNNING,
    2: "waiting for a resource",
    3: "paused",
    4: "shutting down",
    5: "shut off",
    6: "crashed",
    7: "suspended by its guest",
}


class PortTaken(HypervisorError):
    """Somebody else took one of the guest's ports first; other ports will do."""


@dataclass(frozen=True, eq=False)
class Domain:
    """A guest that was started. Every method raises HypervisorError with libvirt's reason."""

    connection: Connection
    spec: DomainSpec
    handle: Any

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def pid(self) -> int | None:
        """QEMU's process, or None if it has ended, runs on another machine or cannot be seen."""
        if not self.connection.is_embedded:
            pid = self._found_pid
            alive = pid is not None and qemu_process.runs(self.spec.uuid, pid)
            return pid if alive else None
        try:
            pid = int(_pid_file(self.connection, self.spec).read_text())
            # The number may belong to somebody else by now.
            is_same = os.fsencode(self.connection.root) in Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return None
        return pid if is_same else None

    @cached_property
    def _found_pid(self) -> int | None:
        """The process of a guest of a shared libvirt, where each guest has its own UUID."""
        return qemu_process.find(self.spec.uuid)

    @property
    def is_running(self) -> bool:
        """Whether its processors run: not if it is paused, and not if it has ended."""
        return self._state() == _RUNNING

    @property
    def standstill(self) -> str:
        """Why its processors do not run, as far as the hypervisor knows; empty if they do."""
        if not self.is_running:
            return f"the hypervisor says that it is {self._state()}"
        if self._process_state() in {"T", "t"}:
            return "QEMU's process was stopped"
        return ""

    def describe(self) -> str:
        """What the hypervisor knows of it, for people."""
        return (
            f"libvirt: {self._state()}\n"
            f"QEMU: process {self.pid or 'unknown'}, state {self._process_state() or 'unknown'} "
            "(proc(5): R running, S sleeping, D waiting for a disk, T stopped, Z ended)"
        )

    def press_sysrq(self, keys: str) -> None:
        """Press Alt+SysRq with each of `keys`, letters and digits that SYSRQ_KEYS has."""
        import libvirt

        with self.asking(f"press SysRq keys {keys}"):
            for key in keys:
                codes = [_KEY_LEFTALT, _KEY_SYSRQ, SYSRQ_KEYS[key]]
                self.handle.sendKey(
                    libvirt.VIR_KEYCODE_SET_LINUX, _KEY_HELD_MS, codes, len(codes), 0
                )

    def set_link(self, mac: str, *, up: bool) -> None:
        """Plug the cable of the NIC with `mac` in or out; the guest sees its carrier change."""
        import libvirt

        with self.asking(f"set the link of {mac} {'up' if up else 'down'}"):
            interface = self._interface(mac)
            link = interface.find("link")
            if link is None:
                link = ET.SubElement(interface, "link")
            link.set("state", "up" if up else "down")
            self.handle.updateDeviceFlags(
                ET.tostring(interface, encoding="unicode"), libvirt.VIR_DOMAIN_AFFECT_LIVE
            )

    def pause(self) -> None:
        """Stop its processors; memory and connections stay as they are."""
        with self.asking("pause it"):
            self.handle.suspend()

    def resume(self) -> None:
        """Let its processors run again."""
        with self.asking("resume it"):
            self.handle.resume()

    def limit_disk(self, disk: str, bytes_per_s: int, ios_per_s: int) -> None:
        """Let no more pass to and from a disk, by its name (`vda`), both ways together.

        0 is no limit. What waits when a limit is taken away goes on at once. Source: blkdeviotune
        in virsh(1).
        """
        import libvirt

        limits = {
            libvirt.VIR_DOMAIN_BLOCK_IOTUNE_TOTAL_BYTES_SEC: bytes_per_s,
            libvirt.VIR_DOMAIN_BLOCK_IOTUNE_TOTAL_IOPS_SEC: ios_per_s,
        }
        with self.asking(f"limit what passes to and from {disk}"):
            self.handle.setBlockIoTune(disk, limits, libvirt.VIR_DOMAIN_AFFECT_LIVE)

    def disk_limits(self, disk: str) -> tuple[int, int]:
        """Bytes and I/Os a second that pass at most to and from a disk; 0 is no limit."""
        import libvirt

        with self.asking(f"ask what passes to and from {disk}"):
            said = self.handle.blockIoTune(disk, libvirt.VIR_DOMAIN_AFFECT_LIVE)
        size = said[libvirt.VIR_DOMAIN_BLOCK_IOTUNE_TOTAL_BYTES_SEC]
        return int(size), int(said[libvirt.VIR_DOMAIN_BLOCK_IOTUNE_TOTAL_IOPS_SEC])

    def reset(self) -> None:
        """Press the reset button; what the guest had not written is lost."""
        with self.asking("reset it"):
            self.handle.reset()

    def save(self, file: Path) -> None:
        """Write its memory and devices into `file`, for `restore`; then it is gone.

        Pause it before if its disks belong to the same instant as somebody else's.
        """
        import libvirt

        with step(f"Save {self.name}", Spent.PROVISIONING), self.asking("save it"):
            self.handle.saveFlags(str(file), None, libvirt.VIR_DOMAIN_SAVE_PAUSED)

    def destroy(self) -> None:
        """Pull the plug and see QEMU's process end. Nothing happens if it already has."""
        import libvirt

        with step(f"Stop {self.name}", Spent.PROVISIONING), ExitStack() as open_files:
            pid = self.pid
            process = _open_process(pid, open_files) if pid is not None else None
            try:
                self.handle.destroy()
            except libvirt.libvirtError as error:
                if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                    raise self._failure("stop it", error) from error
            if process is not None and not select.select([process], [], [], _DEATH_TIMEOUT_S)[0]:
                raise HypervisorError(
                    f"{self.name}: QEMU (process {pid}) was stopped and is still there after "
                    f"{_DEATH_TIMEOUT_S} s",
                    hint="a process that ignores SIGKILL waits for the storage under its disks",
                )

    def _state(self) -> str:
        import libvirt

        try:
            return _STATES.get(self.handle.state()[0], "in an unknown state")
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                return "gone"
            raise self._failure("look at its state", error) from error

    def _process_state(self) -> str:
        """The letter of proc(5) for QEMU's process; empty if it is not known."""
        try:
            status = Path(f"/proc/{self.pid}/stat").read_text()
        except OSError:
            return ""
        return status.rpartition(")")[2].split()[0]

    def _interface(self, mac: str) -> ET.Element:
        interfaces = ET.fromstring(self.handle.XMLDesc()).findall("./devices/interface")  # noqa: S314  # libvirt's own
        for interface in interfaces:
            if interface.find(f"./mac[@address='{mac.lower()}']") is not None:
                return interface
        known = ", ".join(nic.mac for nic in self.spec.nics) or "none"
        raise HypervisorError(f"{self.name}: no data NIC {mac}; there are {known}")

    @contextmanager
    def asking(self, what: str) -> Iterator[None]:
        """Turn what libvirt raises in the block into a HypervisorError that says what failed."""
        import libvirt

        try:
            yield
        except libvirt.libvirtError as error:
            raise self._failure(what, error) from error

    def _failure(self, what: str, error: Exception) -> HypervisorError:
        return _failure(self.connection, self.spec, what, error)


def start(connection: Connection, spec: DomainSpec, *, paused: bool = False) -> Domain:
    """Start the guest that `spec` describes; it lives until `destroy`, even without us.

    Raises PortTaken if somebody took a port after it was leased, else HypervisorError with
    libvirt's reason and the end of QEMU's log.
    """
    import libvirt

    with step(f"Start {spec.name}", Spent.PROVISIONING):
        flags = libvirt.VIR_DOMAIN_START_PAUSED if paused else libvirt.VIR_DOMAIN_NONE
        try:
            with _starting(connection, spec):
                handle = connection.libvirt.createXML(render(spec), flags)
        except libvirt.libvirtError as error:
            raise _failure(connection, spec, "start it", error) from error
        return Domain(connection, spec, handle)


def restore(connection: Connection, spec: DomainSpec, file: Path) -> Domain:
    """A guest as `file`, which `Domain.save` wrote, has it; paused, until `resume`.

    `spec` may name other disks of the same content, ports and cables than the saved guest had,
    but name and UUID are the same: libvirt never renames a saved guest. So two guests from
    one file need two roots. Raises as `start`.
    """
    import libvirt

    with step(f"Restore {spec.name}", Spent.PROVISIONING):
        try:
            with _starting(connection, spec):
                connection.libvirt.restoreFlags(
                    str(file), render(spec), libvirt.VIR_DOMAIN_SAVE_PAUSED
                )
            handle = connection.libvirt.lookupByName(spec.name)
        except libvirt.libvirtError as error:
            raise _failure(connection, spec, "restore it", error) from error
        return Domain(connection, spec, handle)


@contextmanager
def running(connection: Connection, spec: DomainSpec, *, paused: bool = False) -> Iterator[Domain]:
    """The guest that `spec` describes, gone without a trace when the block ends."""
    domain = start(connection, spec, paused=paused)
    try:
        yield domain
    finally:
        domain.destroy()


def destroy_all(connection: Connection) -> tuple[str, ...]:
    """Destroy every guest of `connection`, whoever started it, and return their names."""
    import libvirt

    names = []
    for handle in connection.libvirt.listAllDomains():
        name = str(handle.name())
        try:
            handle.destroy()
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                raise HypervisorError(f"{name}: libvirt could not stop it: {error}") from error
        names.append(name)
    return tuple(names)


def destroy_named(connection: Connection, names: Iterable[str]) -> None:
    """Destroy the guests of those names, as far as they exist; others may share the hypervisor."""
    import libvirt

    for name in names:
        try:
            connection.libvirt.lookupByName(name).destroy()
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                raise HypervisorError(f"{name}: libvirt could not stop it: {error}") from error


@contextmanager
def _starting(connection: Connection, spec: DomainSpec) -> Iterator[None]:
    """Be the parent of orphaned QEMUs, or say why a libvirt that is shared takes so long."""
    if connection.is_embedded:
        with subreaper.adopted(_pid_file(connection, spec)):
            yield
    else:
        slow = slow_start(qemu_user(connection.uri), DEVICE)
        with explaining(f"{slow.cause}; {slow.cure}" if slow else ""):
            yield


def _pid_file(connection: Connection, spec: DomainSpec) -> Path:
    """Where the embedded driver writes the number of QEMU's process."""
    return connection.root / f"run/qemu/{spec.name}.pid"


def _log_file(connection: Connection, spec: DomainSpec) -> Path:
    """What QEMU said; that of a system libvirt can be read by root, and only on this host."""
    folder = connection.root / "log" if connection.is_embedded else Path("/var/log/libvirt")
    return folder / f"qemu/{spec.name}.log"


def _failure(
    connection: Connection, spec: DomainSpec, what: str, error: Exception
) -> HypervisorError:
    log = _log_file(connection, spec)
    message = f"{spec.name}: libvirt could not {what}: {error}"
    # QEMU's command line is in the log too, an argument a line, each but the last with "\".
    said = [line for line in last_lines(log, _LOG_LINES).splitlines() if not line.endswith("\\")]
    if said:
        message += f"\n{log}:\n" + "\n".join(f"  {line}" for line in said)
    if _names_a_taken_port(str(error)):
        return PortTaken(message)
    return HypervisorError(message, hint=missing_program_hint(str(error)))


def missing_program_hint(text: str) -> str:
    """Where the program comes from that libvirt could not start; empty if it says nothing of one.

    `operation failed: libvirt:  error : cannot execute binary /usr/lib/libvirt/libvirt_iohelper:
    No such file or directory`
    """
    found = _NO_PROGRAM.search(text)
    if found is None:
        return ""
    return (
        f"{found['file']} is missing or cannot be run; ./bootstrap installs it "
        f"(Debian: {helper.PACKAGE})"
    )


def _names_a_taken_port(text: str) -> bool:
    """Whether QEMU says that a port is taken: of SSH (net/slirp.c), or of a cable (net/socket.c).

    `Could not set up host forwarding rule 'tcp:127.0.0.1:20005-:22'` (QEMU 7.2 gives no reason,
    a newer one may add `: Address already in use`)
    `can't bind ip=127.0.0.1 to socket: Address already in use` (QEMU 7.2 and 10.0)
    """
    return "Could not set up host forwarding rule" in text or "can't bind ip=" in text


def _open_process(pid: int, open_files: ExitStack) -> int | None:
    """A descriptor that becomes readable when the process ends (pidfd_open(2))."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    open_files.callback(os.close, descriptor)
    return descriptor


def last_lines(file: Path, lines: int) -> str:
    """The last lines of a console or log; empty if it cannot be read."""
    try:
        with file.open("rb") as opened:
            size = opened.seek(0, os.SEEK_END)
            opened.seek(max(0, size - 1000 * lines))
            text = opened.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
