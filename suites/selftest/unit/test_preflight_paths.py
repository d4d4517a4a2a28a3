"""Preflight: what makes a testbed unfit to be written to, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.config import Config
from harness.config.profiles import FAST
from harness.errors import (
    CommandFailed,
    CommandTimedOut,
    HarnessError,
    InitiatorError,
    MachineError,
    PreflightFailed,
)
from harness.preflight import End, require_fit, run
from harness.topology import Role, plan
from harness.transport import IscsiInitiator
from harness.transport.devices import BlockDevice, Survey
from harness.transport.fitness.handlers import Handlers
from harness.transport.fitness.look import facts_now
from harness.transport.fitness.paths import Facts, Wanted, path_problems
from harness.transport.iscsi.settings import planned_session, session_settings
from harness.transport.iscsi.sysfs import Disk, Session
from suites.selftest.unit.scripted_machine import Answer, Asked, ScriptedMachine

WWID = "360014057043dfe0435de773ca03bbf04"
NAA = f"naa.{WWID[1:]}"
SIZE = 10**10
RECORDED = Path(__file__).parent / "recorded"
GROUPS = (RECORDED / "multipathd-0.9.4-maps.json").read_text()
TABLE = "table|0 8 multipath 0 0 1 1 service-time 0 0 2\n"
SAID = {"multipathd": GROUPS}
TOPOLOGY = plan(Config())
IQN = TOPOLOGY.target_iqn
WANTED = Wanted(
    tuple(planned_session(path, 1, 1, 1, through=path, target=IQN) for path in "ab"), WWID
)


def disk(name: str, minor: int, wwid: str = WWID, size: int = SIZE) -> BlockDevice:
    return BlockDevice(name, f"8:{minor}", size, identity=wwid, wwid=f"naa.{wwid[1:]}")


def over(name: str, *below: str, uuid: str = "", title: str = "", place: str = "") -> BlockDevice:
    places = (place,) if place else ()
    return BlockDevice(name, f"253:{name[-1]}", SIZE, below, title, uuid, places=places)


MAP = over("dm-0", "sda", "sdb", uuid=f"mpath-{WWID}", title=WWID)
GOOD = Facts(
    sessions=tuple(session_settings(path, 1, 1, 1, path, target=IQN) for path in "ab"),
    reached={"a": ("sda",), "b": ("sdb",)},
    devices=(disk("sda", 0), disk("sdb", 16), MAP, over("vda1", "vda", place="/")),
    handlers={WWID: Handlers()},
    targets={"sda": IQN, "sdb": IQN},
)


def having(*more: BlockDevice) -> Facts:
    return replace(GOOD, devices=GOOD.devices + more)


def instead(**devices: BlockDevice | None) -> Facts:
    """Other devices in the place of those of that name ("_" for "-"), or none."""
    names = {name.replace("_", "-"): device for name, device in devices.items()}
    kept = [names.get(device.name, device) for device in GOOD.devices]
    return replace(GOOD, devices=tuple(device for device in kept if device))


def test_a_whole_testbed_has_no_problem() -> None:
    """Nor is what lies on other disks one."""
    assert path_problems(WANTED, GOOD) == []


@pytest.mark.parametrize(
    ("facts", "cause", "cure"),
    [
        (
            replace(GOOD, sessions=GOOD.sessions[:1], reached={"a": ("sda",)}),
            "path b has 0 sessions instead of one",
            "does the portal answer",
        ),
        (
            replace(GOOD, sessions=(*GOOD.sessions, GOOD.sessions[0])),
            "path a has 2 sessions instead of one",
            "log out",
        ),
        (
            replace(GOOD, sessions=(GOOD.sessions[0], replace(GOOD.sessions[1], through="a"))),
            "the session of path b runs through link a instead of link b",
            "ip route get",
        ),
        (
            replace(
                GOOD, sessions=(GOOD.sessions[0], session_settings("b", 1, 1, 120, "b", target=IQN))
            ),
            "recovery_tmo of the session of path b is 120 s instead of 1 s",
            "fast_io_fail_tmo",
        ),
        (
            replace(GOOD, elsewhere=("session3 to 10.0.2.15",)),
            "is on no path that was planned",
            "log out",
        ),
        (
            replace(instead(sdb=disk("sdb", 16, "3600140500")), reached=GOOD.reached),
            f"path b reaches no LUN with WWID {WWID}, but sdb (3600140500)",
            "target.wwid",
        ),
        (
            replace(GOOD, reached={"a": ("sda",), "b": ()}),
            f"path b reaches no LUN with WWID {WWID}, but no disk at all",
            "map that LUN",
        ),
        (
            replace(having(disk("sdc", 32)), reached={"a": ("sda", "sdc"), "b": ("sdb",)}),
            f"path a reaches 2 LUNs with WWID {WWID}: sda, sdc",
            "an identity of its own",
        ),
        (
            having(disk("sdc", 32)),
            f"no planned session leads to sdc, of WWID {WWID}, too",
            "log out",
        ),
        (
            instead(sdb=disk("sdb", 16, size=SIZE // 2)),
            "differ in size: sda 9.3 GiB, sdb 4.7 GiB",
            "an identity of its own",
        ),
        (
            instead(sda=replace(disk("sda", 0), wwid="naa.6001405aaaa")),
            f"sda is {WWID} to udev and naa.6001405aaaa to the kernel",
            "udevadm trigger",
        ),
        (instead(dm_0=None), f"there is no map of {WWID} on sda, sdb", "multipath -v3"),
        (
            instead(dm_0=replace(MAP, below=("sda",))),
            "is made of sda, and the LUN's paths are sda, sdb",
            "multipathd reconfigure",
        ),
        (
            having(over("dm-1", "dm-0", uuid="LVM-x", title="vg-data")),
            f"dm-1 (vg-data) lies on dm-0, which is the LUN {WWID}",
            "vgchange --activate n",
        ),
        (
            having(over("dm-1", "dm-0", uuid="part1-mpath-x", title="x-part1")),
            "dm-1 (x-part1) lies on dm-0",
            "kpartx -d",
        ),
        (having(over("md0", "sdb")), "md0 lies on sdb", "mdadm --stop /dev/md0"),
        (
            having(over("sda1", "sda"), over("dm-1", "sda1", uuid="CRYPT-LUKS2-x", title="secret")),
            "dm-1 (secret) lies on sda1",
            "cryptsetup close secret",
        ),
        (
            instead(dm_0=replace(MAP, places=("/mnt",))),
            f"dm-0 ({WWID}), of the LUN {WWID}, is mounted on /mnt",
            "umount",
        ),
        (having(over("sda1", "sda", place="swap")), "is swapped to", "swapoff"),
    ],
)
def test_each_problem_has_cause_and_cure(facts: Facts, cause: str, cure: str) -> None:
    """Told by itself, even if another follows from it."""
    found = [problem for problem in path_problems(WANTED, facts) if cause in problem.cause]
    assert len(found) == 1
    assert cure in found[0].cure
    assert cure in str(PreflightFailed(found))


def test_what_a_target_shows_is_told_to_who_names_no_lun() -> None:
    """Each LUN with all by which it is recognised; only its owner chooses."""
    named = replace(disk("sdb", 16, "3600140500"), serial="4711")
    facts = instead(sdb=named, dm_0=None)
    problems = path_problems(replace(WANTED, wwid=None), facts)
    assert [problem.cure for problem in problems] == [
        f'if it is the one for tests, `wwid = "{wwid}"` in [target]'
        for wwid in (WWID, "3600140500")
    ]
    assert "3600140500, 9.3 GiB, serial 4711, over sdb" in problems[1].cause
    (only,) = path_problems(replace(WANTED, wwid=None, serial="4711"), facts)
    assert "3600140500" in only.cause
    (none,) = path_problems(replace(WANTED, wwid=None, serial="x"), facts)
    assert "shows no LUN with serial x" in none.cause


def test_a_lun_of_another_serial_is_refused() -> None:
    """WWID and serial in the configuration must mean one LUN."""
    assert (
        path_problems(
            replace(WANTED, serial="4711"),
            instead(
                sda=replace(disk("sda", 0), serial="4711"),
                sdb=replace(disk("sdb", 16), serial="4711"),
            ),
        )
        == []
    )
    causes = [problem.cause for problem in path_problems(replace(WANTED, serial="4711"), GOOD)]
    assert causes == [f"{name} has serial unknown, not 4711" for name in ("sda", "sdb")]


def test_partitions_are_no_use() -> None:
    """The kernel makes them of any table that it finds."""
    assert path_problems(WANTED, having(over("sda1", "sda"))) == []


def test_whatever_lies_on_a_holder_is_told_too() -> None:
    """So that a reader sees what the volume group is used for."""
    facts = having(
        over("dm-1", "dm-0", uuid="LVM-x", title="vg-data", place="/srv"),
        over("dm-2", "dm-1", uuid="CRYPT-x", title="secret"),
    )
    causes = " ".join(problem.cause for problem in path_problems(WANTED, facts))
    assert all(word in causes for word in ("/srv", "vg-data", "secret"))


def session(number: int, address: str, *disks: str) -> Session:
    own = IPv4Address(address) + 100
    found = tuple(Disk(name, "8:0", NAA) for name in disks)
    portal = IPv4Address(address)
    return Session(
        f"session{number}",
        TOPOLOGY.target_iqn,
        "LOGGED_IN",
        portal,
        3260,
        "default",
        1,
        1,
        1,
        own,
        found,
    )


class Machine:
    """An initiator's machine that shows one survey after another, the last one for ever."""

    def __init__(self, *surveys: Survey | HarnessError) -> None:
        self.surveys = list(surveys)

    def survey(self) -> Survey:
        seen = self.surveys.pop(0) if len(self.surveys) > 1 else self.surveys[0]
        if isinstance(seen, HarnessError):
            raise seen
        return seen


@pytest.fixture
def fit(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Facts]:
    monkeypatch.setattr(run, "_UNCHANGED_S", 0.2)

    def on(*surveys: Survey | HarnessError) -> Facts:
        machine = ScriptedMachine(lambda asked: Answer(SAID.get(asked.argv[0], TABLE)))
        initiator = IscsiInitiator(machine, TOPOLOGY, FAST, (WWID,))
        monkeypatch.setattr(initiator, "survey", Machine(*surveys).survey)
        require_fit(initiator)
        return facts_now(initiator)

    return on


WHOLE = Survey((session(1, "172.16.0.1", "sda"), session(2, "172.16.1.1", "sdb")), GOOD.devices)


def test_what_is_not_there_yet_is_waited_for(fit: Callable[..., Facts]) -> None:
    """Disks and map of a new session come one after another."""
    early = replace(WHOLE, sessions=(WHOLE.sessions[0], session(2, "172.16.1.1")), devices=())
    assert fit(early, replace(WHOLE, devices=GOOD.devices[:2]), WHOLE) == GOOD


def test_what_cannot_be_read_yet_is_looked_at_again(fit: Callable[..., Facts]) -> None:
    """A session appears before its attributes; one that stays so is told, with a cure."""
    half = InitiatorError("a session's attributes in sysfs are unreadable")
    assert fit(half, WHOLE) == GOOD
    with pytest.raises(PreflightFailed, match=r"are unreadable\n  cure: `iscsiadm"):
        fit(half)


ARGV = ("sh", "-euc", "survey")
FAILED = CommandFailed(
    machine="node", argv=ARGV, status=1, stdout="", stderr="cannot fork", elapsed_s=0.1
)
SLOW = CommandTimedOut(machine="node", argv=ARGV, stdout="", stderr="", elapsed_s=90.0)


@pytest.mark.parametrize(
    ("error", "says"), [(FAILED, "stderr: cannot fork"), (SLOW, r"no end in time after 90\.0 s")]
)
def test_a_command_that_fails_once_is_given_again(
    fit: Callable[..., Facts], error: HarnessError, says: str
) -> None:
    """A machine may be busy while disks come up. One that stays so is told with its last words."""
    assert fit(error, WHOLE) == GOOD
    with pytest.raises(PreflightFailed, match=says):
        fit(error)


def test_a_machine_that_cannot_be_reached_ends_the_preflight(fit: Callable[..., Facts]) -> None:
    """There is nothing to wait for, and the message is its own."""
    with pytest.raises(MachineError, match="connection lost"):
        fit(MachineError("connection lost"), WHOLE)


def test_what_stays_wrong_is_told(fit: Callable[..., Facts]) -> None:
    """All of it at once."""
    stray = session(3, "172.16.1.1")
    lost = replace(stray, address=IPv4Address("10.0.2.15"), own_address=None)
    with pytest.raises(PreflightFailed) as caught:
        fit(replace(WHOLE, sessions=(*WHOLE.sessions, stray, lost)))
    causes = [problem.cause for problem in caught.value.problems]
    assert causes == [
        "path b has 2 sessions instead of one",
        "session3 to 10.0.2.15:3260 is on no path that was planned",
    ]


@pytest.mark.parametrize(
    ("version", "why"), [("0.9.4", "the policy is not in force"), ("0.11.1", "has found ALUA")]
)
def test_path_groups_and_wiring_are_looked_at_too(
    version: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wiring first, of which the rest may be an effect; multipathd may choose the policy."""
    monkeypatch.setattr(run, "_UNCHANGED_S", 0.2)

    def answer(asked: Asked) -> Answer:
        if asked.argv[0] == "sh" and "dmsetup" in asked.argv[2]:
            return Answer(TABLE)
        if asked.argv[:3] == ("multipathd", "show", "config"):
            return Answer((RECORDED / f"multipath-{version}-t.txt").read_text())
        if asked.argv[0] == "cat":
            return Answer("LIO-ORG \npathproof       \n4.0 \n")
        if asked.argv[0] == "python3":
            return Answer('{"asked": [["eth1", "172.16.1.1"]], "answers": [], "heard": []}')
        wiring = "[]\n== neighbours\n[]\n== settings\n"
        return Answer(GROUPS if asked.argv[0] == "multipathd" else wiring)

    machine = ScriptedMachine(answer)
    initiator = IscsiInitiator(machine, TOPOLOGY, FAST, (WWID,), grouping="failover")
    monkeypatch.setattr(initiator, "survey", Machine(WHOLE).survey)
    with pytest.raises(PreflightFailed) as caught:
        require_fit(initiator, ends=[End(Role.INITIATOR, machine, {"a": "eth0", "b": "eth1"})])
    first, *others, last = (problem.cause for problem in caught.value.problems)
    assert first == "the initiator has no device eth0, its NIC a"
    silent = "no machine answers for 172.16.1.1 on eth1 (link b), the way to portal 172.16.1.1:3260"
    assert f"{silent} (b)" in others
    assert last.startswith(
        f"the map of {WWID} has 1 path group (a b), and path_grouping_policy failover "
    )
    assert why in last


def test_other_targets_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """An existing machine may be logged in elsewhere, over IPv6 and without a connection."""
    other = "iqn.2001-04.com.example:other"
    lines = [
        f"session3|{other}|LOGGED_IN|2001:db8::2|3260|default|off|5|5|2001:db8::50|sdx|65:112|naa.6001405aaaa",
        f"session4|{other}|FREE||||120||||||",
        *(
            f"session{number}|{TOPOLOGY.target_iqn}|LOGGED_IN|172.16.{network}.1|3260|default|1|1|1"
            f"|172.16.{network}.101|{name}|8:{16 * network}|{NAA}"
            for number, network, name in ((1, 0, "sda"), (2, 1, "sdb"))
        ),
        *("--", f"device|sda|8:0|1||||{WWID}||", f"device|sdb|8:16|1||||{WWID}||"),
        f"device|dm-0|253:0|1|sda sdb|{WWID}|mpath-{WWID}|||",
    ]
    said = SimpleNamespace(stdout="\n".join(lines) + "\n")
    answers = {"multipathd": SimpleNamespace(stdout=GROUPS)}
    table = SimpleNamespace(stdout=TABLE)
    machine = SimpleNamespace(
        sh=lambda *_, **__: said, run=lambda argv, **_: answers.get(argv[0], table)
    )
    monkeypatch.setattr(run, "_UNCHANGED_S", 0.2)
    initiator = IscsiInitiator(cast(Any, machine), TOPOLOGY, FAST, (WWID,))
    require_fit(initiator)
    assert facts_now(initiator).reached == GOOD.reached
    (attachment,) = initiator.attachments
    assert [path.disk for path in attachment.paths()] == ["sda", "sdb"]
    assert [*attachment.paths_in_use().values()] == [*attachment.paths()]
    origins = [f"172.16.{network}.1:3260,default" for network in (0, 1)]
    assert [path.origin for path in attachment.paths()] == origins
    iqn = TOPOLOGY.target_iqn
    stray = f"session9|{iqn}|LOGGED_IN|2001:db8::3|3260|default|1|1|1||sdz|65:144|{NAA}\n"
    said.stdout = stray + said.stdout
    assert [path.disk for path in attachment.paths()] == ["sda", "sdb"]
