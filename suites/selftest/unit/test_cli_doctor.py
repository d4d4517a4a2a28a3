"""What the doctor finds, and how it says so."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.cli import doctor, host, lab
from harness.cli.diagnosis import Diagnosis, Level
from harness.config import Config
from harness.config.model import HypervisorConfig
from harness.config.ready import ready_topologies
from harness.errors import HypervisorError, ReportError
from harness.host.qemu_host import OwnQemuHost
from harness.hypervisor import helper
from harness.hypervisor.connection import connect
from harness.hypervisor.networks import network_problem
from harness.hypervisor.trial import Trial
from harness.machine import hypervisor_host
from harness.reporting import html
from harness.units import GIB

TOP = Path(__file__).parents[3]


def needs(table: str) -> dict[str, str]:
    """A table of bootstrap: each program or file that it looks for, and the package of it."""
    text = (TOP / "bootstrap").read_text()
    rows = re.search(rf"^(?:readonly )?{table}=\(\n(.*?)^\)$", text, re.MULTILINE | re.DOTALL)
    assert rows is not None
    found = re.findall(r'^    "(\S+) (\S+)"$', rows[1], re.MULTILINE)
    return {
        Path(place).name: package.replace("|", " or ")
        for places, package in found
        for place in places.split("|")
    }


def test_bootstrap_installs_what_the_doctor_looks_for() -> None:
    """Under the same package name; otherwise its advice would be wrong."""
    packages = needs("needs")
    for program in host.PROGRAMS:
        assert packages[program.name] == program.package


def test_libvirts_helper_is_looked_for_where_bootstrap_looks_for_it() -> None:
    """Otherwise one installs what the other does not find. Both name the same packages."""
    row = f'"{"|".join(helper.PATTERNS)} {"|".join(helper.PACKAGES)}"'
    assert row in (TOP / "bootstrap").read_text()


def test_libvirts_helper_is_found_by_its_patterns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the folder of an architecture, too; one that cannot be run is none."""
    monkeypatch.setattr(helper, "PATTERNS", (f"{tmp_path}/none", f"{tmp_path}/*/libvirt/helper"))
    assert host.which(helper.NAME) is None
    file = tmp_path / "x86_64-linux-gnu" / "libvirt" / "helper"
    file.parent.mkdir(parents=True)
    file.touch(0o644)
    assert host.which(helper.NAME) is None
    file.chmod(0o755)
    assert host.which(helper.NAME) == str(file)


def test_the_doctor_looks_for_what_bootstrap_installs() -> None:
    """What it tries out, and what only bootstrap needs, is left out."""
    tried = {"$qemu_driver", "newuidmap", "debian-archive-keyring.gpg"}
    builds_the_binding = {"gcc", "stdlib.h", "pkg-config", "libvirt.h"}
    known = {program.name for program in host.PROGRAMS}
    assert set(needs("needs")) - known == tried | builds_the_binding


def test_whatever_is_said_to_be_missing_is_of_a_package_that_bootstrap_installs() -> None:
    """Every hint that names one, and every reason for which a test is skipped."""
    brought = {*needs("needs").values(), *needs("test_needs").values()}
    sources = [*TOP.glob("harness/**/*.py"), *TOP.glob("suites/selftest/**/*.py")]
    named = {
        package
        for source in sources
        for package in re.findall(r"\(Debian: ([a-z0-9-]+)\)", source.read_text())
    }
    assert {"qemu-utils", "openssh-server"} <= named
    assert named <= brought


def test_a_missing_program_stops_a_run_only_if_the_run_needs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Built images need no image builder; an SSH client is for people."""
    monkeypatch.setattr(host, "which", lambda _: None)
    unbuilt = {f.subject: f for f in host.programs(images_built=False)}
    built = {f.subject: f for f in host.programs(images_built=True)}
    assert unbuilt["mmdebstrap"].level is Level.PROBLEM
    assert built["mmdebstrap"].level is Level.WARNING
    assert built["qemu-img"].level is Level.PROBLEM
    assert built["ssh"].level is Level.WARNING
    assert "qemu-utils" in built["qemu-img"].fix


@pytest.mark.parametrize(
    ("text", "enough"),
    [
        ("alice:100000:65536\n", True),
        ("1000:100000:65536", True),
        ("bob:100000:65536\n", False),
        ("alice:100000:1000\n", False),
        ("alice\nalice::\n", False),
        ("", False),
    ],
)
def test_subordinate_ids_are_read_as_subuid_5_says(text: str, enough: bool) -> None:
    assert host.has_subordinates(text, "alice", 1000) is enough


def test_room_is_measured_where_a_folder_will_be(tmp_path: Path) -> None:
    """The cache of a new user does not exist yet."""
    place = tmp_path / "not" / "yet"
    assert host.room(place, "x", 1, "why", bad=Level.PROBLEM, fix="f").level is Level.OK
    diagnosis = host.room(place, "x", 1 << 60, "why", bad=Level.WARNING, fix="f")
    assert (diagnosis.level, diagnosis.fix) == (Level.WARNING, "f")


def test_memory_must_hold_every_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"MemTotal: {8 * GIB // 1024} kB\nMemAvailable: {3 * GIB // 1024} kB\n"
    monkeypatch.setattr(host, "_read", lambda _: text)
    assert host.memory(GIB, 2).level is Level.OK
    assert host.memory(2 * GIB, 2).level is Level.WARNING
    assert host.memory(4 * GIB, 2).level is Level.PROBLEM
    assert host.memory(2 * GIB, 1).level is Level.OK
    assert host.memory(GIB, 4).level is Level.WARNING
    assert "; 4 machines take up to 4.4 GiB" in host.memory(GIB, 4).text
    assert "; 1 machine takes up to 1.1 GiB" in host.memory(GIB, 1).text


@pytest.mark.parametrize(
    ("changes", "machines"),
    [
        ({}, 2),
        (ready_topologies()["two-initiators"], 3),
    ],
)
def test_memory_is_counted_for_every_machine_that_a_run_makes(
    changes: dict[str, Any], machines: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A further initiator is one more."""
    text = f"MemTotal: {8 * GIB // 1024} kB\n"
    monkeypatch.setattr(host, "_read", lambda _: text)
    found = doctor._for_machines(Config.model_validate(changes))
    memory = next(one for one in found if one.subject == "memory")
    assert f"; {machines} machines take up to " in memory.text


def test_every_bridge_that_is_named_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`lo` is there, and no bridge; a libvirt without networks has no bridge problem to tell."""
    networks = [
        {"name": name, "subnet": f"172.16.{n}.0/24", "portals": [f"172.16.{n}.1"]}
        | {"initiator": f"172.16.{n}.101", "bridge": bridge}
        for n, (name, bridge) in enumerate([("a", "lo"), ("b", "no-such-br")])
    ]
    unused: Any = None
    monkeypatch.setattr(lab, "no_bridges", lambda _: None)
    described = Config.model_validate({"networks": networks})
    found = list(lab._networks(described, OwnQemuHost(tmp_path), unused))
    assert found == [
        Diagnosis(
            Level.PROBLEM,
            "network a",
            "bridge lo is no bridge of the kernel, but another kind of interface",
        ),
        Diagnosis(
            Level.PROBLEM,
            "network b",
            "bridge no-such-br is not there",
            "as root `ip link add no-such-br type bridge && ip link set no-such-br up` makes it, "
            "without a port\nto reach an array it needs the NIC that leads there as its port, as "
            "root `ip link set NIC master no-such-br`; addresses of that NIC then belong on the "
            "bridge",
        ),
    ]
    assert list(lab._networks(Config(), OwnQemuHost(tmp_path), unused)) == []


@pytest.mark.parametrize(("mtu", "cause"), [
    (0, ""), (1500, ""), (9000, "bridge br0 has port eth0, whose MTU is 1500 and not 9000"),
])  # fmt: skip
def test_the_ports_of_a_bridge_let_frames_of_the_networks_mtu_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mtu: int, cause: str
) -> None:
    """Each of them; sysfs is laid out as the kernel has it."""
    bridge, port = tmp_path / "br0", tmp_path / "eth0"
    for folder in (bridge / "bridge", bridge / "brif", port / "brport"):
        folder.mkdir(parents=True)
    (bridge / "flags").write_text("0x1003\n")
    (port / "mtu").write_text("1500\n")
    (bridge / "brif/eth0").symlink_to("../../eth0/brport")
    script = hypervisor_host._LOOK_AT_BRIDGE.replace("/sys/class/net", str(tmp_path))
    monkeypatch.setattr(hypervisor_host, "_LOOK_AT_BRIDGE", script)
    networks = [
        network.model_copy(update={"bridge": "br0", "mtu": mtu or None})
        for network in Config().networks[:1]
    ]
    unused: Any = None
    monkeypatch.setattr(lab, "no_bridges", lambda _: None)
    described = Config.model_construct(networks=tuple(networks))
    (found,) = lab._networks(described, OwnQemuHost(tmp_path), unused)
    assert found.text == (cause or "bridge br0 is up")
    assert found.fix.startswith("as root `ip link set eth0 mtu 9000`" if cause else "")


@pytest.mark.parametrize(("stp", "level"), [(0, Level.OK), (1, Level.WARNING), (2, Level.WARNING)])
def test_a_bridge_with_spanning_tree_keeps_what_a_new_machine_sends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stp: int, level: Level
) -> None:
    """The kernel's own or that of a daemon. A run works: its machines boot meanwhile."""
    folder = tmp_path / "br0" / "bridge"
    folder.mkdir(parents=True)
    (folder / "stp_state").write_text(f"{stp}\n")
    (folder / "forward_delay").write_text("1500\n")
    script = hypervisor_host._BRIDGE_DELAY.replace("/sys/class/net", str(tmp_path))
    monkeypatch.setattr(hypervisor_host, "_BRIDGE_DELAY", script)
    monkeypatch.setattr(OwnQemuHost, "bridge_problem", lambda *_: None)
    monkeypatch.setattr(lab, "no_bridges", lambda _: None)
    networks = (Config().networks[0].model_copy(update={"bridge": "br0"}),)
    unused: Any = None
    described = Config.model_construct(networks=networks)
    (found,) = lab._networks(described, OwnQemuHost(tmp_path), unused)
    assert found.level is level
    assert ("keeps what a machine sends for the first 30 s" in found.text) is bool(stp)


@pytest.mark.parametrize(
    ("uri", "user", "helped", "refused"),
    [
        ("embedded", 1000, False, True),
        ("embedded", 1000, True, False),
        ("embedded", 0, False, False),
        ("qemu:///system", 1000, False, False),
    ],
)
def test_an_ordinary_user_is_told_first_that_the_embedded_driver_puts_nothing_on_a_bridge(
    uri: str,
    user: int,
    helped: bool,
    refused: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A bridge that is made in vain would be of no use. libvirt needs QEMU's helper with setuid."""
    monkeypatch.setattr(lab, "_has_rights_of_root", lambda _: helped)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    networks = [network.model_copy(update={"bridge": "no-br"}) for network in Config().networks[:1]]
    described = Config.model_construct(
        networks=tuple(networks), hypervisor=HypervisorConfig(uri=uri)
    )
    unused: Any = None
    found = list(lab._networks(described, OwnQemuHost(tmp_path), unused))
    assert [one.subject for one in found] == [*["bridges"] * refused, "network a"]
    if refused:
        assert found[0].level is Level.PROBLEM
        assert "an ordinary user cannot put a machine on a bridge" in found[0].text
        assert "qemu:///system" in found[0].fix


def test_a_network_that_is_missing_or_not_active_is_named_with_its_cure(tmp_path: Path) -> None:
    """The networks are those of libvirt's test driver, which has one, `default`."""
    with connect("test:///default", tmp_path) as connection:
        assert network_problem(connection, "default") is None
        missing = network_problem(connection, "san-a")
        assert missing is not None
        assert missing.message == "there is no network san-a at test:///default; it has: default"
        connection.libvirt.networkLookupByName("default").destroy()
        asleep = network_problem(connection, "default")
        assert asleep is not None
        assert (asleep.message, "net-start default" in asleep.hint) == (
            "network default is not active",
            True,
        )


def test_an_unusable_cache_is_a_problem_and_names_it(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    diagnosis, built = lab.images(Config(), blocked / "cache")
    assert (diagnosis.level, built) == (Level.PROBLEM, {})
    assert str(blocked) in diagnosis.text


def test_images_that_are_not_built_are_only_a_warning(tmp_path: Path) -> None:
    diagnosis, built = lab.images(Config(), tmp_path / "cache")
    assert (diagnosis.level, built) == (Level.WARNING, {})


def test_only_a_file_of_root_with_setuid_has_the_rights_of_root(tmp_path: Path) -> None:
    """As passwd(1) has on every system."""
    passwd = shutil.which("passwd")
    assert passwd is not None
    assert lab._has_rights_of_root(passwd)
    plain = tmp_path / "plain"
    assert not lab._has_rights_of_root(str(plain))
    plain.touch(0o755)
    assert not lab._has_rights_of_root(str(plain))


LOST = HypervisorError("libvirt could not save it\nits log", hint="./bootstrap installs it")
WELL = Trial(fork=None, cable=None)


def test_a_fork_that_fails_is_a_warning_and_a_problem_where_forks_are_required() -> None:
    """With the file and the package, in the line below."""
    diagnosis = lab._forks(Config(), LOST)
    assert (diagnosis.level, diagnosis.fix) == (Level.WARNING, "./bootstrap installs it")
    assert diagnosis.text == (
        "libvirt could not save it; without forks each testbed is booted, which takes longer"
    )
    assert lab._forks(Config.model_validate({"require": "forks"}), LOST).level is Level.PROBLEM
    assert lab._forks(Config(), None).level is Level.OK
    booted = Config.model_validate({"hypervisor": {"fork": False}})
    assert lab._forks(booted, LOST) == Diagnosis(
        Level.WARNING,
        "forks",
        "libvirt could not save it; not used, since hypervisor.fork is false",
        "./bootstrap installs it",
    )


def test_a_cable_that_carries_nothing_stops_a_run() -> None:
    assert lab._cables(WELL).level is Level.OK
    assert lab._cables(Trial(None, LOST)).level is Level.PROBLEM
    assert lab._cables(Trial(LOST, LOST)).level is Level.PROBLEM  # whatever becomes of forks


def test_the_report_generator_is_tried_by_making_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """That its files are there proves little."""
    diagnosis = host.report_generator()
    assert diagnosis.level is Level.OK, diagnosis
    assert diagnosis.text.startswith("Allure 3 made one, with ")

    def broken() -> None:
        raise ReportError("no HTML report: Allure ended with exit status 1", hint="buy some")

    monkeypatch.setattr(html, "try_generator", broken)
    assert host.report_generator() == Diagnosis(
        Level.WARNING,
        "HTML report",
        "no HTML report: Allure ended with exit status 1",
        "buy some",
    )
    assert host.report_generator(required=True).level is Level.PROBLEM
