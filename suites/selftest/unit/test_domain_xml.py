"""What becomes of a guest's description in libvirt's XML."""

from __future__ import annotations

import shutil
import subprocess
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ConfigError
from harness.hypervisor.domain_xml import (
    DISK_SLOTS,
    LONGEST_SERIAL,
    MANAGEMENT_SLOT,
    NIC_SLOTS,
    Bridge,
    Cache,
    Disk,
    DomainSpec,
    Network,
    Nic,
    TcpCable,
    render,
)

CACHES: dict[str, Cache] = {"none": "none", "writeback": "writeback", "unsafe": "unsafe"}
QEMU = "{http://libvirt.org/schemas/domain/qemu/1.0}"

SPEC = DomainSpec(
    name="pathproof-target",
    uuid="3b0b3ea0-1f0c-4d2a-9f0a-0d8f5b0e6a01",
    accel="tcg",
    cpus=1,
    memory_bytes=768 * 1024 * 1024,
    kernel=Path("/images/vmlinuz"),
    initrd=Path("/images/initrd.img"),
    cmdline="console=ttyS0 root=/dev/vda rw quiet='<&>\"'",
    disks=(
        Disk(Path("/beds/a & b/target.qcow2"), "qcow2", "root"),
        Disk(Path("/beds/lun.raw"), "raw", "lun-0", cache="none", read_only=True),
    ),
    nics=(
        Nic("52:54:00:00:00:0a", TcpCable(20001, listens=True), mtu=9000),
        Nic("52:54:00:00:00:0b", Network("san-b")),
        Nic("52:54:00:00:00:0c", Bridge("br0"), mtu=1400),
    ),
    ssh_port=20003,
    management_mac="52:54:00:70:70:01",
    console_log=Path("/beds/target.log"),
)

texts = st.text(
    st.characters(
        min_codepoint=32, exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff"
    ),
    min_size=1,
    max_size=40,
)
paths = texts.map(lambda text: Path("/", text.replace("/", "_")))
words = st.from_regex(r"[a-z][a-z0-9-]{0,14}", fullmatch=True)
ports = st.integers(1, 65535)
macs = st.integers(0, 2**24 - 1).map(
    lambda n: f"52:54:00:{n >> 16:02x}:{n >> 8 & 255:02x}:{n & 255:02x}"
)
attachments = (
    st.builds(TcpCable, ports, st.booleans()) | st.builds(Network, words) | st.builds(Bridge, words)
)
disks = st.builds(
    Disk,
    paths,
    st.sampled_from(["qcow2", "raw"]),
    st.from_regex(rf"[A-Za-z0-9_.+-]{{1,{LONGEST_SERIAL}}}", fullmatch=True),
    st.sampled_from(sorted(CACHES)),
    st.booleans(),
)


@st.composite
def specs(draw: st.DrawFn) -> DomainSpec:
    addresses = draw(st.lists(macs, min_size=1, max_size=len(NIC_SLOTS) + 1, unique=True))
    nics = tuple(
        Nic(mac, draw(attachments), draw(st.none() | st.integers(68, 65535)))
        for mac in addresses[1:]
    )
    return DomainSpec(
        name=draw(words),
        uuid=str(draw(st.uuids())),
        accel=draw(st.sampled_from(["kvm", "tcg"])),
        cpus=draw(st.integers(1, 64)),
        memory_bytes=draw(st.integers(2**20, 2**36)),
        kernel=draw(paths),
        initrd=draw(st.none() | paths),
        cmdline=draw(texts),
        disks=tuple(draw(st.lists(disks, max_size=len(DISK_SLOTS)))),
        nics=nics,
        ssh_port=draw(ports),
        management_mac=addresses[0],
        console_log=draw(paths),
    )


@given(specs())
def test_every_legal_description_survives_the_way_through_xml(spec: DomainSpec) -> None:
    assert read_back(render(spec)) == spec


def test_an_emulated_guest_has_room_for_a_second_processor() -> None:
    """Otherwise QEMU's TCG leaves out memory barriers, and virtio loses notifications."""
    room = {
        (accel, cpus): ET.fromstring(render(replace(SPEC, accel=accel, cpus=cpus))).findtext("vcpu")
        for accel in ("tcg", "kvm")
        for cpus in (1, 2)
    }
    assert room == {("tcg", 1): "2", ("tcg", 2): "2", ("kvm", 1): "1", ("kvm", 2): "2"}


def test_what_is_there_for_emulation_does_not_reach_kvm() -> None:
    """Emulation gets nothing that only KVM needs: it would take processor time."""

    def found(accel: Any) -> set[str]:
        root = ET.fromstring(render(replace(SPEC, accel=accel, cpus=2)))
        paths = ("iothreads", "features/tcg", "clock/timer", "vcpu[@current]")
        special = {path for path in paths if root.find(path) is not None}
        drivers = [item.attrib for item in root.iterfind("devices/disk/driver")]
        return special | {key for driver in drivers for key in driver} - {"name", "type", "cache"}

    assert found("tcg") == {"features/tcg"}
    assert found("kvm") == {"iothreads", "clock/timer", "iothread", "queues", "io"}


def test_kvms_timers_are_those_of_a_linux_guest() -> None:
    clock = ET.fromstring(render(replace(SPEC, accel="kvm"))).find("clock")
    assert clock is not None
    assert [timer.attrib for timer in clock] == [
        {"name": "rtc", "tickpolicy": "catchup"},
        {"name": "pit", "tickpolicy": "delay"},
        {"name": "hpet", "present": "no"},
    ]


def test_a_disk_past_the_page_cache_uses_the_kernels_aio_and_others_do_not() -> None:
    """QEMU refuses aio=native without O_DIRECT."""
    root = ET.fromstring(render(replace(SPEC, accel="kvm", cpus=3)))
    drivers = [item.attrib for item in root.iterfind("devices/disk/driver")]
    assert [(d["cache"], d.get("io"), d["queues"], d["iothread"]) for d in drivers] == [
        ("unsafe", None, "3", "1"),
        ("none", "native", "3", "1"),
    ]


@pytest.mark.parametrize("accel", ["kvm", "tcg"])
def test_libvirts_own_schema_accepts_it(accel: Any, tmp_path: Path) -> None:
    validator = shutil.which("virt-xml-validate")
    if validator is None:
        pytest.fail("virt-xml-validate is missing; ./bootstrap installs it (libvirt-clients)")
    file = tmp_path / "domain.xml"
    file.write_text(render(replace(SPEC, accel=accel)))
    done = subprocess.run(
        [validator, str(file), "domain"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_devices_never_move_to_another_slot() -> None:
    root = ET.fromstring(render(SPEC))
    slots = {
        alias.get("name"): int(str(device.find("address").get("slot")), 16)  # type: ignore[union-attr]
        for device in root.iterfind("devices/*")
        if (alias := device.find("alias")) is not None
    }
    assert slots == {
        "ua-disk0": 4,
        "ua-disk1": 5,
        "ua-nic0": 16,
        "ua-nic1": 17,
        "ua-nic2": 18,
        "ua-rng": 3,
    }


def test_an_mtu_on_a_cable_is_given_to_the_device_itself() -> None:
    root = ET.fromstring(render(SPEC))
    given_by_libvirt = {mtu.get("size") for mtu in root.iterfind("devices/interface/mtu")}
    given_to_qemu = [
        (device.get("alias"), item.get("value"))
        for device in root.iter(f"{QEMU}device")
        for item in device.iter(f"{QEMU}property")
    ]
    assert given_by_libvirt == {"1400"}
    assert given_to_qemu == [("ua-nic0", "9000")]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"cmdline": "x" * 2048}, "more than 2047"),
        ({"cmdline": "a\nb\x07"}, "control character"),
        ({"kernel": Path("/boot/\udcff")}, "control character"),
        ({"disks": (Disk(Path("/d"), "raw", "s" * 21),)}, "1 to 20"),
        ({"disks": (SPEC.disks[0],) * 13}, "room for 12"),
        ({"nics": (SPEC.nics[0],) * 2}, "52:54:00:00:00:0a twice"),
        ({"management_mac": "52:54:00:00:00:0A"}, "52:54:00:00:00:0a twice"),
    ],
)
def test_what_no_guest_can_hold_is_refused_by_name(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        render(replace(SPEC, **change))


def read_back(xml: str) -> DomainSpec:
    """An independent reading of what `render` wrote."""
    root = ET.fromstring(xml)

    def text(path: str) -> str:
        return root.findtext(path) or ""

    arguments = [str(item.get("value")) for item in root.iter(f"{QEMU}arg")]
    netdev = dict(pair.partition("=")[::2] for pair in arguments[1].split(","))
    device = dict(pair.partition("=")[::2] for pair in arguments[3].split(","))
    assert device["addr"] == hex(MANAGEMENT_SLOT)
    mtus = {
        item.get("alias"): int(str(item.find(f".//{QEMU}property").get("value")))  # type: ignore[union-attr]
        for item in root.iter(f"{QEMU}device")
    }
    initrd = root.findtext("os/initrd")
    return DomainSpec(
        name=text("name"),
        uuid=str(UUID(text("uuid"))),
        accel="kvm" if root.get("type") == "kvm" else "tcg",
        cpus=int(attributes(root, "vcpu").get("current", text("vcpu"))),
        memory_bytes=int(text("memory")),
        kernel=Path(text("os/kernel")),
        initrd=Path(initrd) if initrd else None,
        cmdline=text("os/cmdline"),
        disks=tuple(read_disk(item) for item in root.iterfind("devices/disk")),
        nics=tuple(read_nic(item, mtus) for item in root.iterfind("devices/interface")),
        ssh_port=int(netdev["hostfwd"].split(":")[2].rstrip("-")),
        management_mac=device["mac"],
        console_log=Path(attributes(root, "devices/serial/source")["path"]),
    )


def attributes(element: ET.Element, path: str) -> dict[str, str]:
    found = element.find(path)
    return {} if found is None else found.attrib


def read_disk(item: ET.Element) -> Disk:
    driver = attributes(item, "driver")
    return Disk(
        Path(attributes(item, "source")["file"]),
        "qcow2" if driver["type"] == "qcow2" else "raw",
        item.findtext("serial") or "",
        CACHES[driver["cache"]],
        item.find("readonly") is not None,
    )


def read_nic(item: ET.Element, mtus: dict[str | None, int]) -> Nic:
    source = attributes(item, "source")
    attachment: TcpCable | Network | Bridge
    match item.get("type"):
        case "server" | "client" as end:
            attachment = TcpCable(int(source["port"]), listens=end == "server")
        case "network":
            attachment = Network(source["network"])
        case _:
            attachment = Bridge(source["bridge"])
    size = attributes(item, "mtu").get("size")
    mtu = int(size) if size else mtus.get(attributes(item, "alias")["name"])
    return Nic(attributes(item, "mac")["address"], attachment, mtu)
