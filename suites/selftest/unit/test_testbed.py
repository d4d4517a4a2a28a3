"""What a testbed knows of its sessions and paths, which are not the same for ever."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address
from math import inf
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.config import Config, load
from harness.config.profiles import FAST
from harness.errors import WorkloadError
from harness.faults import Fault, LinkDown, LinkFlaps, Standby, TargetPaused
from harness.measurements import SessionSettings
from harness.observe import Watch
from harness.testbed.testbed import Testbed
from harness.topology import Role, plan
from harness.transport import IscsiInitiator, SeenState
from harness.transport.iscsi.sysfs import Session
from harness.transport.path_disk import PathDisk
from suites.selftest.unit.scripted_machine import Answer, ScriptedMachine

GUIDE = Path(__file__).resolve().parents[3] / "docs/writing-tests.md"
READY = ("two", "four", "one-subnet", "two-controllers")
FIRST, SECOND = PathDisk("a", "sda", "8:0"), PathDisk("b", "sdb", "8:16")
BACK = PathDisk("b", "sdc", "8:32")


def bed_of(initiator: object, observer: object = None) -> Testbed:
    """With these, and nothing else."""
    config = Config()
    nics = {nic.name: f"eth{nic.name}" for nic in plan(config).nics(Role.INITIATOR)}
    guest = SimpleNamespace(observer=observer, nics=nics)
    return Testbed(
        config,
        plan(config),
        guests={Role.INITIATOR: cast(Any, guest)},
        target=cast(Any, None),
        initiators={Role.INITIATOR: cast(Any, initiator)},
        paths={"lun0": (FIRST, SECOND)},
        environment={},
        console=str,
    )


class Devices:
    """As much of an initiator as knows of sessions, and of the one LUN's disks."""

    device = "/dev/mapper/x"
    map_name = "x"

    def __init__(self) -> None:
        self.attachments = (self,)
        self.told: list[str] = []
        self._topology = plan(Config())
        self.machine = ScriptedMachine(lambda _: Answer())
        self.settings_of = IscsiInitiator(self.machine, self._topology, FAST, ("3600",)).settings_of

    def paths(self) -> tuple[PathDisk, ...]:
        """The second came back under another name."""
        return (FIRST, BACK)

    def take_path_away(self, name: str) -> None:
        self.told.append(f"without {name}")

    def give_path_back(self, name: str) -> None:
        self.told.append(f"with {name}")

    def sessions(self) -> list[Session]:
        portals = [one.portal.address for one in self._topology.portals]
        addresses = [IPv6Address("2001:db8::2"), *portals]
        return [
            Session(
                f"session{n}",
                self._topology.target_iqn,
                "LOGGED_IN",
                address,
                3260,
                "default",
                1,
                1,
                1,
                None,
                (),
            )
            for n, address in enumerate(addresses)
        ]

    def session_settings(self) -> tuple[SessionSettings, ...]:
        return self.settings_of(self.sessions())


def test_the_report_shows_the_pace_in_force() -> None:
    assert bed_of(Devices()).environment == {
        "Verified reads": "50 a second",
        "Verified writes": "80 a second",
    }


def test_sessions_on_no_path_have_no_settings_here() -> None:
    """Of them the preflight tells; one that comes up later costs no measurement."""
    seen = bed_of(Devices()).session_settings()
    assert [one.path for one in seen] == ["a", "b"]


def test_a_path_that_came_back_is_known_by_its_new_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """From when the testbed is made ready; the observer then watches it, and it is proven."""
    watched: list[Watch] = []
    proven: list[str] = []
    bed = bed_of(Devices(), SimpleNamespace(watch=watched.append))
    bed.map.paths = (FIRST, SECOND)
    monkeypatch.setattr(bed, "heal", lambda: None)
    monkeypatch.setattr(bed, "preflight", lambda: None)
    monkeypatch.setattr(bed, "wait_for_all_but", lambda *_, **__: None)
    monkeypatch.setattr(bed, "prove_target", lambda: proven.extend(p.disk for p in bed.map.paths))
    bed.make_ready()
    assert bed.map.paths == (FIRST, BACK)
    assert [what.disks for what in watched] == [("sda", "sdc")]
    assert proven == ["sda", "sdc"]
    bed.make_ready()
    assert len(watched) == 1  # nothing else is there to be watched


def test_the_path_that_is_taken_away_is_the_one_that_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its old name may be that of a disk of somebody else."""
    devices = Devices()
    bed = bed_of(devices)
    monkeypatch.setattr(bed.map, "wait_for_paths", lambda **_: None)
    with bed.without_path("b"):
        assert devices.told == ["without sdc"]
    assert devices.told == ["without sdc", "with sdc"]


def bed_with(topology: str, **more: object) -> Testbed:
    """Of a ready topology, whose machines are not reached."""
    config = load(None, {"topology": (topology, "--topology")}).config
    names = {role: [nic.name for nic in plan(config).nics(role)] for role in Role}
    guests = {
        role: SimpleNamespace(
            observer=None, nics={name: f"{role}-{name}" for name in names[role]}, **more
        )
        for role in Role
    }
    return Testbed(
        config,
        plan(config),
        guests=cast(Any, guests),
        target=cast(Any, None),
        initiators={Role.INITIATOR: cast(Any, Devices())},
        paths={"lun0": ()},
        environment={},
        console=str,
    )


@pytest.mark.parametrize("topology", READY)
def test_the_loss_of_all_paths_takes_all_of_them(topology: str) -> None:
    """Each portal falls silent."""
    bed = bed_with(topology)
    assert bed.all_paths_lost().hits(bed.topology) == tuple(
        path.name for path in bed.topology.paths
    )


def test_a_cable_is_pulled_at_the_nic_that_it_ends_at() -> None:
    """Also where several end at one machine in one subnet."""
    pulled: list[tuple[str, bool]] = []
    domain = SimpleNamespace(set_link=lambda mac, *, up: pulled.append((mac, up)))
    bed = bed_with("one-subnet", domain=domain)
    assert bed.nics(Role.INITIATOR) == {
        "a-nic1": "initiator-a-nic1",
        "a-nic2": "initiator-a-nic2",
    }
    for role in Role:
        assert bed.nic(role, "a-nic2") == f"{role}-a-nic2"
        bed.set_link(role, "a-nic2", up=False)
    link = bed.topology.link("a-nic2")
    assert pulled == [(link.target_mac, False), (link.initiator_mac, False)]


class Io:
    """As much of a session of I/O as `fail_over` needs."""

    bears_s = 2.0

    def __init__(self, told: list[str]) -> None:
        self.told = told

    def run_for(self, *, seconds: float, exactly: bool = False) -> None:
        self.told.append(f"run {'exactly ' * exactly}{seconds:g} s")

    def start_phase(self) -> None:
        self.told.append("phase")


@pytest.fixture
def failing_over(monkeypatch: pytest.MonkeyPatch) -> tuple[Testbed, Io, list[str]]:
    """A testbed with I/O, and what is done with both, in order."""
    told: list[str] = []

    @contextmanager
    def fault(one: Fault) -> Iterator[None]:
        told.append(f"inject {one.name}")
        yield
        told.append("heal")

    bed, io = bed_with("four"), Io(told)
    monkeypatch.setattr(bed, "_io", io)
    monkeypatch.setattr(bed, "fault", fault)
    monkeypatch.setattr(
        bed,
        "wait_for_all_but",
        lambda lost: told.append(f"all but {' '.join(lost) or 'none'}"),
    )
    return bed, io, told


FAILOVER = [
    *("inject LinkDown(a)", "all but a1 a2", "run 3 s"),
    *("heal", "all but none", "phase", "run 5 s"),
]


def test_a_failover_waits_for_the_paths_that_the_fault_hits(
    failing_over: tuple[Testbed, Io, list[str]],
) -> None:
    """And for all of them once it is healed; then a phase of its own begins."""
    bed, _, told = failing_over
    bed.fail_over(LinkDown("a"), during_s=3, after_s=5)
    assert told == FAILOVER


def test_paths_that_may_go_on_are_not_waited_for(
    failing_over: tuple[Testbed, Io, list[str]],
) -> None:
    """The fault lasts at least as long as it takes to be felt."""
    bed, _, told = failing_over
    bed.fail_over(LinkFlaps("a"), during_s=3, after_s=5)
    assert told == [*("inject LinkFlaps(a)", "run 11 s", "heal"), *FAILOVER[4:]]


def test_a_fault_that_must_be_over_in_time_lasts_no_longer(
    failing_over: tuple[Testbed, Io, list[str]],
) -> None:
    """However many LUNs there are; and none of its paths fails."""
    bed, io, told = failing_over
    bed.fail_over(TargetPaused(), during_s=3, after_s=5)
    assert told == [*("inject TargetPaused(target)", "run exactly 1.4 s", "heal"), *FAILOVER[4:]]
    told.clear()
    io.bears_s = inf
    bed.fail_over(TargetPaused(), during_s=3, after_s=5)
    assert told[1] == "run 3 s"


def test_a_path_that_is_kept_is_not_waited_for(
    failing_over: tuple[Testbed, Io, list[str]],
) -> None:
    """Though it carries nothing."""
    bed, _, told = failing_over
    bed.fail_over(Standby("c1"), during_s=3, after_s=5)
    assert told == [*("inject Standby(c1)", "run 3 s", "heal"), *FAILOVER[4:]]


class Vm:
    """The hypervisor's end of a machine, which notes what it is told."""

    def __init__(self) -> None:
        self.is_running = True
        self.limits = {"vda": (0, 0), "vdb": (0, 0)}
        self.told: list[str] = []

    def pause(self) -> None:
        self.is_running = False
        self.told.append("pause")

    def resume(self) -> None:
        self.is_running = True
        self.told.append("resume")

    def disk_limits(self, disk: str) -> tuple[int, int]:
        return self.limits[disk]

    def limit_disk(self, disk: str, bytes_per_s: int, ios_per_s: int) -> None:
        self.limits[disk] = (bytes_per_s, ios_per_s)
        self.told.append(f"limit {disk}")


def test_the_target_is_told_only_what_it_does_not_do_yet() -> None:
    """libvirt refuses to resume a machine that runs."""
    vm = Vm()
    bed = bed_with("two", domain=vm)
    for running in (True, False, False, True, True):
        bed.target_vm.set_running(running=running)
        assert bed.target_vm.is_running is running
    assert vm.told == ["pause", "resume"]


@pytest.mark.parametrize(("backstore", "disk"), [("fileio", "vda"), ("block", "vdb")])
def test_the_disks_that_luns_are_on_are_limited(backstore: str, disk: str) -> None:
    """Files are on the system's disk. What has the limit already is left alone."""
    vm = Vm()
    bed = bed_with("two", domain=vm)
    target = bed.config.target.model_copy(update={"backstore": backstore})
    bed.config = bed.config.model_copy(update={"target": target})
    assert bed.target_vm.limits() == {disk: (0, 0)}
    for _ in range(2):
        bed.target_vm.limit_disks(bytes_per_s=1, ios_per_s=0)
    assert bed.target_vm.limits() == {disk: (1, 0)}
    assert vm.told == [f"limit {disk}"]


def test_access_states_are_those_of_the_disks_of_the_paths() -> None:
    """Of every LUN, by one command."""
    machine = ScriptedMachine(lambda _: Answer("sdb|alua|standby\n"))
    devices = Devices()
    devices.machine = machine
    bed = bed_of(devices)
    assert bed.access_states(["b"]) == [("b", SeenState("sdb", "alua", "standby"))]
    assert [call.argv[-1] for call in machine.asked] == ["sdb"]
    assert bed.access_states([]) == []


def test_the_failover_that_the_guide_writes_out_is_the_same(
    failing_over: tuple[Testbed, Io, list[str]],
) -> None:
    """It waits for every map, too."""
    bed, io, told = failing_over
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    (written_out,) = (block for block in blocks if block.startswith("lost = "))
    exec(written_out, {"testbed": bed, "io": io, "fault": LinkDown("a")})
    assert told == [*FAILOVER[:-1], "run 3 s"]


def test_a_failover_without_io_is_refused() -> None:
    """Nothing would be measured; and nothing is injected."""
    with pytest.raises(WorkloadError, match="no I/O runs"):
        bed_with("two").fail_over(LinkDown("a"), during_s=1, after_s=1)
