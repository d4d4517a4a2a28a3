"""A guest as frozen data, and the libvirt XML that it becomes.

Nothing is left to libvirt's choice: every disk and NIC has a fixed PCI slot and alias, so
that a saved guest can be restored with other overlays, ports and cables. The slots also
name the guest's interfaces: the first data NIC is `ens16`, the management NIC `ens28`.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.config.guest_room import MOST_DISKS, MOST_NICS
from harness.errors import ConfigError
from harness.units import MIB

RNG_SLOT = 3
DISK_SLOTS = range(4, 4 + MOST_DISKS)
NIC_SLOTS = range(16, 16 + MOST_NICS)
MANAGEMENT_SLOT = 28

# The kernel silently cuts what is longer (COMMAND_LINE_SIZE in arch/x86/include/asm/setup.h).
LONGEST_CMDLINE = 2047
# VIRTIO_BLK_ID_BYTES in linux/virtio_blk.h; QEMU silently cuts what is longer.
LONGEST_SERIAL = 20

# What emulation may keep of a guest's translated code. Left alone QEMU takes up to 1 GiB, and an
# idle guest came near that within twenty minutes.
TRANSLATIONS = 256 * MIB

_IO_THREAD = "1"  # libvirt counts them from 1
_LOOPBACK = "127.0.0.1"
_QEMU = "http://libvirt.org/schemas/domain/qemu/1.0"
# Control characters and lone surrogates cannot be written in XML 1.0 (section 2.2).
_NOT_XML = re.compile("[^\t -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

ET.register_namespace("qemu", _QEMU)


@dataclass(frozen=True)
class TcpCable:
    """One end of a point-to-point cable: a TCP connection over 127.0.0.1, which needs no root.

    No frame is lost between the two QEMUs: a full socket makes the sender wait. One end `listens`
    at `port` and the other connects to it, so the guest with the listening end is started first.
    """

    port: int
    listens: bool


@dataclass(frozen=True)
class Network:
    """A libvirt network, by its name."""

    name: str


@dataclass(frozen=True)
class Bridge:
    """A bridge on the hypervisor, by its interface name."""

    name: str


@dataclass(frozen=True)
class Nic:
    """One data NIC. `mtu` None leaves the guest its default."""

    mac: str
    attachment: TcpCable | Network | Bridge
    mtu: int | None = None


Cache = Literal["none", "writeback", "unsafe"]


@dataclass(frozen=True)
class Disk:
    """One virtio disk; the guest sees `serial` under /dev/disk/by-id.

    `cache` is of the host: `none` goes past its page cache (O_DIRECT), `writeback` goes through it
    and honours the guest's flushes, `unsafe` ignores them.
    """

    path: Path
    format: Literal["qcow2", "raw"]
    serial: str
    cache: Cache = "unsafe"
    read_only: bool = False


@dataclass(frozen=True)
class DomainSpec:
    """One guest, booted directly from `kernel` and `initrd`.

    Its management NIC hangs on QEMU's user network, where `ssh_port` of the hypervisor's
    127.0.0.1 leads to the guest's port 22 and nothing leads out.
    """

    name: str
    uuid: str
    accel: Literal["kvm", "tcg"]
    cpus: int
    memory_bytes: int
    kernel: Path
    initrd: Path | None
    cmdline: str
    disks: tuple[Disk, ...]
    nics: tuple[Nic, ...]
    ssh_port: int
    management_mac: str
    console_log: Path


def render(spec: DomainSpec) -> str:
    """The domain XML of `spec`. Raises ConfigError for what no XML or no guest can hold."""
    _require_legal(spec)
    domain = ET.Element("domain", type="kvm" if spec.accel == "kvm" else "qemu")
    _text(domain, "name", spec.name)
    _text(domain, "uuid", spec.uuid)
    _text(domain, "memory", str(spec.memory_bytes), unit="bytes")
    _add_processors(domain, spec)
    os = _child(domain, "os")
    # i440fx: flat PCI, so that a slot is a number, and no root port to enumerate at boot.
    _text(os, "type", "hvm", arch="x86_64", machine="pc")
    _text(os, "kernel", str(spec.kernel))
    if spec.initrd is not None:
        _text(os, "initrd", str(spec.initrd))
    _text(os, "cmdline", spec.cmdline)
    features = _child(domain, "features")
    _child(features, "acpi")
    _child(features, "apic")
    if spec.accel == "tcg":
        _text(_child(features, "tcg"), "tb-cache", str(TRANSLATIONS // MIB), unit="MiB")
    # TCG runs one thread per virtual CPU without being told (QEMU's -accel thread=multi is
    # the default for an x86-64 guest on an x86-64 host), and libvirt has no word for it.
    _child(domain, "cpu", mode="host-passthrough" if spec.accel == "kvm" else "maximum")
    _add_clock(domain, spec)
    _text(domain, "on_poweroff", "destroy")
    _text(domain, "on_reboot", "restart")
    _text(domain, "on_crash", "destroy")
    devices = _child(domain, "devices")
    for index, disk in enumerate(spec.disks):
        _add_disk(devices, index, disk, spec)
    # Left out, libvirt would add a USB controller of its own.
    _child(devices, "controller", type="usb", index="0", model="none")
    for index, nic in enumerate(spec.nics):
        _add_nic(devices, index, nic)
    for tag in ("serial", "console"):
        console = _child(devices, tag, type="file")
        _child(console, "source", path=str(spec.console_log), append="off")
        _child(console, "target", port="0", **({"type": "serial"} if tag == "console" else {}))
    _child(devices, "memballoon", model="none")
    rng = _child(devices, "rng", model="virtio")
    _text(rng, "backend", "/dev/urandom", model="random")
    _place(rng, "ua-rng", RNG_SLOT)
    _add_management_nic(domain, spec)
    _add_mtus(domain, spec)
    ET.indent(domain)
    return ET.tostring(domain, encoding="unicode")


def _add_processors(domain: ET.Element, spec: DomainSpec) -> None:
    """Add as many processors as `spec` has; an emulated guest has room for a second one.

    Without that room TCG translates the guest's memory barriers and locked instructions into
    nothing (CF_PARALLEL in QEMU's tcg/tcg-op.c). But QEMU's devices run in a thread of their own:
    guest and device can each miss what the other has just written into a virtqueue. Then a
    notification is lost, and the NIC or the disk stands still.
    """
    if spec.accel == "tcg" and spec.cpus == 1:
        _text(domain, "vcpu", "2", placement="static", current="1")
    else:
        _text(domain, "vcpu", str(spec.cpus), placement="static")
    if spec.accel == "kvm":
        # Else QEMU's main thread does the disks' I/O beside the packets of the cables.
        _text(domain, "iothreads", _IO_THREAD)


def _add_clock(domain: ET.Element, spec: DomainSpec) -> None:
    """UTC; under KVM the policies that libvirt's documentation and its tools have for Linux.

    Ticks of the RTC that came late are made up for, those of the PIT are sent late (its timer runs
    in the kernel), and there is no HPET: reading it leaves the guest each time, and a guest that
    distrusts its TSC takes it. An emulated guest has QEMU's defaults: its TSC counts host time.
    """
    clock = _child(domain, "clock", offset="utc")
    if spec.accel == "kvm":
        _child(clock, "timer", name="rtc", tickpolicy="catchup")
        _child(clock, "timer", name="pit", tickpolicy="delay")
        _child(clock, "timer", name="hpet", present="no")


def nic_alias(index: int) -> str:
    """The alias of the data NIC at `index`; libvirt keeps a user's alias if it begins so."""
    return f"ua-nic{index}"


def _require_legal(spec: DomainSpec) -> None:
    problems = []
    if len(spec.disks) > len(DISK_SLOTS):
        problems.append(f"{len(spec.disks)} disks, and there is room for {len(DISK_SLOTS)}")
    if len(spec.nics) > len(NIC_SLOTS):
        problems.append(f"{len(spec.nics)} NICs, and there is room for {len(NIC_SLOTS)}")
    if len(spec.cmdline) > LONGEST_CMDLINE:
        problems.append(f"a kernel command line of more than {LONGEST_CMDLINE} characters")
    problems += [
        f"disk serial {disk.serial!r}; 1 to {LONGEST_SERIAL} letters, digits and _.+- are possible"
        for disk in spec.disks
        if not re.fullmatch(rf"[A-Za-z0-9_.+-]{{1,{LONGEST_SERIAL}}}", disk.serial)
    ]
    macs = [spec.management_mac.lower(), *(nic.mac.lower() for nic in spec.nics)]
    problems += [f"MAC address {mac} twice" for mac in sorted(set(macs)) if macs.count(mac) > 1]
    paths = (spec.kernel, spec.initrd, spec.console_log, *(disk.path for disk in spec.disks))
    texts = (spec.name, spec.cmdline, *(str(path) for path in paths if path is not None))
    problems += [f"a control character in {text!r}" for text in texts if _NOT_XML.search(text)]
    if problems:
        raise ConfigError(f"domain {spec.name!r}: " + "; ".join(problems))


def _add_disk(devices: ET.Element, index: int, disk: Disk, spec: DomainSpec) -> None:
    element = _child(devices, "disk", type="file", device="disk")
    driver = _child(element, "driver", name="qemu", type=disk.format, cache=disk.cache)
    if spec.accel == "kvm":
        # A queue for each processor, which is QEMU's own choice, too; but a saved guest must have
        # the number that it had.
        driver.attrib |= {"iothread": _IO_THREAD, "queues": str(spec.cpus)}
        if disk.cache == "none":
            driver.set("io", "native")  # the kernel's AIO, which needs O_DIRECT; else threads
    _child(element, "source", file=str(disk.path))
    _child(element, "target", dev=f"vd{'abcdefghijkl'[index]}", bus="virtio")
    if disk.read_only:
        _child(element, "readonly")
    _text(element, "serial", disk.serial)
    _place(element, f"ua-disk{index}", DISK_SLOTS[index])


def _add_nic(devices: ET.Element, index: int, nic: Nic) -> None:
    kind, source = _attachment(nic.attachment)
    element = _child(devices, "interface", type=kind)
    _child(element, "mac", address=nic.mac)
    element.append(source)
    _child(element, "model", type="virtio")
    if nic.mtu is not None and not isinstance(nic.attachment, TcpCable):
        _child(element, "mtu", size=str(nic.mtu))
    _child(element, "link", state="up")
    _place(element, nic_alias(index), NIC_SLOTS[index])


def _attachment(attachment: TcpCable | Network | Bridge) -> tuple[str, ET.Element]:
    """The type of the interface and its source."""
    match attachment:
        case TcpCable(port, listens):
            source = ET.Element("source", address=_LOOPBACK, port=str(port))
            return "server" if listens else "client", source
        case Network(name):
            return "network", ET.Element("source", network=name)
        case Bridge(name):
            return "bridge", ET.Element("source", bridge=name)


def _add_management_nic(domain: ET.Element, spec: DomainSpec) -> None:
    """Tell QEMU directly, since libvirt 9.0 has no port forwarding for user networks."""
    netdev = f"user,id=management,restrict=on,hostfwd=tcp:{_LOOPBACK}:{spec.ssh_port}-:22"
    device = (
        f"virtio-net-pci,netdev=management,id=ua-management,mac={spec.management_mac},"
        f"bus=pci.0,addr={MANAGEMENT_SLOT:#x}"
    )
    commandline = _child(domain, f"{{{_QEMU}}}commandline")
    for argument in ("-netdev", netdev, "-device", device):
        _child(commandline, f"{{{_QEMU}}}arg", value=argument)


def _add_mtus(domain: ET.Element, spec: DomainSpec) -> None:
    """Tell QEMU directly, since libvirt refuses `<mtu>` on a cable; virtio announces it."""
    wanted = [
        (nic_alias(index), nic.mtu)
        for index, nic in enumerate(spec.nics)
        if nic.mtu is not None and isinstance(nic.attachment, TcpCable)
    ]
    if not wanted:
        return
    override = _child(domain, f"{{{_QEMU}}}override")
    for alias, mtu in wanted:
        device = _child(override, f"{{{_QEMU}}}device", alias=alias)
        frontend = _child(device, f"{{{_QEMU}}}frontend")
        host_mtu = {"name": "host_mtu", "type": "unsigned", "value": str(mtu)}
        _child(frontend, f"{{{_QEMU}}}property", **host_mtu)


def _place(element: ET.Element, alias: str, slot: int) -> None:
    _child(element, "alias", name=alias)
    _child(element, "address", type="pci", bus="0x00", slot=f"{slot:#04x}")


def _child(parent: ET.Element, tag: str, **attributes: str) -> ET.Element:
    return ET.SubElement(parent, tag, attributes)


def _text(parent: ET.Element, tag: str, text: str, **attributes: str) -> None:
    ET.SubElement(parent, tag, attributes).text = text
