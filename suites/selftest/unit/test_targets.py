"""Several targets: what describes them, what serves them, and which sessions speak for a LUN."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.budget import Setting
from harness.config import Config, load
from harness.config.profiles import FAST
from harness.errors import InitiatorError
from harness.faults import Injection, SilentDrop
from harness.host.sharing import shared_by
from harness.target import NoMachine, target_for
from harness.target.iet import IetTarget
from harness.target.lio import every_target, render
from harness.target.tgt import target as tgt
from harness.target.tgt.show import ShownLun, ShownTarget
from harness.testbed import io_session
from harness.testbed.io_session import IoSession
from harness.testbed.lun_layout import Layout
from harness.testbed.protocols import MeasuredTestbed
from harness.testbed.raw import Raw
from harness.testbed.witness import SessionsSeen
from harness.topology import plan
from harness.transport import IscsiInitiator
from harness.transport.allowances import InForce
from harness.transport.devices import BlockDevice, Survey
from harness.transport.existing import ExistingInitiator
from harness.transport.fitness.look import facts_now
from harness.transport.fitness.paths import Facts, Wanted, path_problems
from harness.transport.iscsi.settings import planned_session, session_settings
from harness.transport.iscsi.sysfs import Session
from suites.selftest.unit.scripted_machine import Answer, Asked, ScriptedMachine

CONFIG = load(None, {"topology": ("two-targets", "--topology")}).config
TOPOLOGY = plan(CONFIG)
FIRST, SECOND = IQNS = tuple(f"iqn.2026-01.io.pathproof:storage-{number}" for number in (1, 2))
OFFERS = "".join(f"{one.portal},1 {iqn}\n" for one in TOPOLOGY.portals for iqn in IQNS)
# Three LUNs: the first and the last are in the first target.
MIXED = Config.model_validate(
    {"luns": [{"size": "64MiB", "target_iqn": iqn} for iqn in (FIRST, SECOND, FIRST)]}
)
WWIDS = ("360014057043dfe0435de773ca03bbf04", "36001405ab1fe0435de773ca03bbf0400")
ARRAY = "iqn.1992-04.com.example:array-1"


def of_kind(kind: str, config: Config = MIXED) -> Any:
    return config.target.model_copy(update={"kind": kind})


def array(*iqns: str | None, **portal: str) -> Config:
    """An array with a LUN in each of these targets; what its first portal has of its own."""
    described = {
        "target": {"kind": "external", "iqn": ARRAY},
        "luns": [{"wwid": w, "target_iqn": i} for w, i in zip(WWIDS, iqns, strict=True)],
        "networks": [
            {
                "name": name,
                "subnet": f"10.0.{number}.0/24",
                "portals": [{"address": f"10.0.{number}.1", **(portal if not number else {})}],
                "initiator": f"10.0.{number}.2",
                "bridge": f"br{number}",
            }
            for number, name in enumerate("ab")
        ],
    }
    return Config.model_validate(described)


def test_every_path_has_a_session_with_every_target() -> None:
    """While a LUN is in one target."""
    assert TOPOLOGY.target_iqns == IQNS
    assert [(path.name, iqn) for path, iqn in TOPOLOGY.logins] == [
        (path, iqn) for path in "ab" for iqn in IQNS
    ]
    assert [TOPOLOGY.iqns_of(lun) for lun in TOPOLOGY.luns] == [(FIRST,), (SECOND,)]
    assert [lun.name for lun in plan(MIXED).luns_of(FIRST)] == ["lun0", "lun2"]


def test_a_lun_without_a_target_of_its_own_is_in_that_of_the_configuration() -> None:
    topology = plan(array(None, f"{ARRAY}.b"))
    assert topology.target_iqns == (ARRAY, f"{ARRAY}.b")
    assert {f"{Config().initiator.iqn} at {iqn}" for iqn in topology.target_iqns} <= {
        one.title for one in shared_by(array(None, f"{ARRAY}.b"))
    }


def test_an_array_with_a_name_for_each_portal_has_every_lun_under_all_of_them() -> None:
    """Then a path has one session, with the name that the array has at its portal."""
    topology = plan(array(None, None, iqn=f"{ARRAY}.port-1"))
    assert [(path.name, iqn) for path, iqn in topology.logins] == [
        ("a", f"{ARRAY}.port-1"),
        ("b", ARRAY),
    ]
    assert {topology.iqns_of(lun) for lun in topology.luns} == {(f"{ARRAY}.port-1", ARRAY)}
    portal = topology.portal("a").portal
    assert topology.path_of(portal, "default", f"{ARRAY}.port-1") == topology.path("a")
    assert topology.path_of(portal, "default", ARRAY) is None


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            lambda: array(None, f"{ARRAY}.b", iqn=f"{ARRAY}.port-1"),
            r"luns.1.target_iqn: networks.0.portals.0.iqn names the target at that portal",
        ),
        (
            lambda: array(f"{ARRAY}.a", f"{ARRAY}.b"),
            rf"target.iqn: no LUN is in the target {ARRAY}: each of",
        ),
        (
            lambda: array(None, ARRAY.replace("array", "Array")),
            "luns.1.target_iqn: .* are one name",
        ),
        (lambda: array(None, "array-2"), r"luns.1.target_iqn: 'array-2' does not begin with"),
        (
            lambda: Config.model_validate({"luns": [{"size": "64MiB", "target_iqn": "iqn.x:y"}]}),
            r"luns.0.target_iqn: 'iqn.x:y' is not of the form",
        ),
    ],
)
def test_names_that_contradict_are_refused(make: Callable[[], Config], says: str) -> None:
    """With the key."""
    with pytest.raises(ValueError, match=says):
        make()


def test_lio_serves_each_target_with_its_own_luns() -> None:
    """Numbered from 0 in each, behind all portals."""
    saved = render(*every_target(of_kind("lio"), plan(MIXED)))
    assert [one["name"] for one in saved["storage_objects"]] == ["lun0", "lun2", "lun1"]
    assert [one["wwn"] for one in saved["targets"]] == list(IQNS)
    groups = [one["tpgs"][0] for one in saved["targets"]]
    assert [[lun["storage_object"][-4:] for lun in group["luns"]] for group in groups] == [
        ["lun0", "lun2"],
        ["lun1"],
    ]
    assert [[lun["index"] for lun in group["luns"]] for group in groups] == [[0, 1], [0]]
    assert all(len(group["portals"]) == 2 for group in groups)
    assert {group["node_acls"][0]["node_wwn"] for group in groups} == {MIXED.initiator.iqn}


def test_lio_gives_each_target_a_group_for_each_controller() -> None:
    """So access states are the same for the LUNs of all targets."""
    described = load(None, {"topology": ("two-controllers", "--topology")}).config.model_dump()
    described |= {"luns": MIXED.model_dump()["luns"], "topology": None}
    config = Config.model_validate(described)
    for one in every_target(config.target, plan(config)):
        states = [(group.tag, group.alua.name, len(group.portals)) for group in one.groups]
        assert states == [(1, "OPTIMIZED", 2), (2, "NON_OPTIMIZED", 2)]


def test_iet_serves_each_target_with_its_own_luns() -> None:
    target = target_for(of_kind("iet"), NoMachine("x"), plan(MIXED))
    assert isinstance(target, IetTarget)
    assert [one.iqn for one in target.wanted] == list(IQNS)
    assert [[unit.number for unit in one.units] for one in target.wanted] == [[0, 1], [0]]
    assert [[unit.path for unit in one.units] for one in target.wanted] == [
        ["/srv/pathproof/lun0.img", "/srv/pathproof/lun2.img"],
        ["/srv/pathproof/lun1.img"],
    ]
    assert target.describe().endswith("3 LUNs in 2 targets")


def shown(tid: int, iqn: str, *luns: int) -> ShownTarget:
    """As tgtd would show a target with these of the LUNs."""
    topology = plan(MIXED)
    units = tuple(
        ShownLun(
            number,
            "disk",
            tgt.scsi_id(topology.luns[lun]),
            topology.luns[lun].serial,
            True,
            "rdwr",
            f"/srv/pathproof/lun{lun}.img",
        )
        for number, lun in enumerate(luns, start=1)
    )
    own = ShownLun(0, "controller", "", "", True, "null", "None")
    return ShownTarget(tid, iqn, "ready", (own, *units), (), (topology.initiator_iqn,))


def test_tgt_serves_each_target_and_is_compared_for_each() -> None:
    """LUNs have numbers from 1 on in each; what differs names its target."""
    config, topology = of_kind("tgt"), plan(MIXED)
    commands = [" ".join(command) for command in tgt.serving(config, topology)]
    made = [said for said in commands if "logicalunit --op new" in said]
    assert [said.partition(" --tid ")[2][:10] for said in made] == [
        "1 --lun 1 ",
        "1 --lun 2 ",
        "2 --lun 1 ",
    ]
    assert len([said for said in commands if "--op bind" in said]) == 2
    asked = [shown(1, FIRST, 0, 2), shown(2, SECOND, 1)]
    assert tgt.differences(config, topology, asked) == []
    off = [asked[0], replace(asked[1], state="offline")]
    assert tgt.differences(config, topology, off) == [f"state of {SECOND} is offline, not ready"]
    assert tgt.differences(config, topology, asked[:1]) == [
        f"targets are ['{FIRST}'], not ['{FIRST}', '{SECOND}']"
    ]


def initiator(
    offers: str = OFFERS, kind: type[IscsiInitiator] = IscsiInitiator
) -> tuple[IscsiInitiator, Any]:
    """One whose machine knows no device; its portals offer that."""

    def answer(asked: Asked) -> Answer:
        return Answer(offers if "sendtargets" in asked.argv else "--\n")

    machine = ScriptedMachine(answer)
    return kind(machine, TOPOLOGY, FAST, WWIDS), machine


def test_every_path_logs_in_to_every_target() -> None:
    """Each portal is asked once what it offers, and the records of each target are prepared."""
    one, machine = initiator()
    one.log_in()
    said = [asked.argv for asked in machine.asked]
    assert len([argv for argv in said if "sendtargets" in argv]) == 2
    updated = [argv[argv.index("--targetname") + 1] for argv in said if "update" in argv]
    assert updated == list(IQNS)
    logins = [
        (argv[argv.index("--portal") + 1], argv[argv.index("--targetname") + 1])
        for argv in said
        if argv[-1] == "--login"
    ]
    assert logins == [
        (f"{address}:3260", iqn) for address in ("172.16.0.1", "172.16.1.1") for iqn in IQNS
    ]


def test_an_existing_machine_gets_a_record_of_every_target_at_every_portal() -> None:
    one, machine = initiator(kind=ExistingInitiator)
    one.log_in()
    said = [asked.argv for asked in machine.asked]
    assert len([argv for argv in said if argv[-1] == "new"]) == 4


def test_a_portal_must_offer_every_target() -> None:
    """The one that it does not offer is named."""
    one, _ = initiator(f"172.16.0.1:3260,1 {FIRST}\n")
    with pytest.raises(InitiatorError, match=f"does not offer {SECOND}"):
        one.log_in()


def test_sessions_are_told_apart_by_their_targets() -> None:
    """One is planned for each path and target; one with a target that is none is on no path."""
    one, _ = initiator()
    planned = [(plan.path, plan.target) for plan in one.planned_sessions()]
    assert planned == [(path.name, iqn) for path, iqn in TOPOLOGY.logins]
    address, own = IPv4Address("172.16.0.1"), IPv4Address("172.16.0.101")
    rest = ("LOGGED_IN", address, 3260, "default", 1, 1, 1, own, ())
    seen = one.settings_of([Session(f"session-{iqn}", iqn, *rest) for iqn in (*IQNS, ARRAY)])
    assert [(each.path, each.target) for each in seen] == [("a", iqn) for iqn in IQNS]


def test_a_session_with_a_target_that_was_not_planned_there_is_told_with_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Such as one to the portal of one name with the name of the other portal."""
    topology = plan(array(None, None, iqn=f"{ARRAY}.port-1"))
    one = IscsiInitiator(ScriptedMachine(), topology, FAST, WWIDS)
    rest = ("LOGGED_IN", IPv4Address("10.0.0.1"), 3260, "default", 1, 1, 1, None, ())
    survey = Survey(tuple(Session(f"session-{i}", i, *rest) for i in topology.target_iqns), ())
    monkeypatch.setattr(one, "survey", lambda: survey)
    facts = facts_now(one)
    assert [(each.path, each.target) for each in facts.sessions] == [("a", f"{ARRAY}.port-1")]
    assert facts.elsewhere == (f"session-{ARRAY} to 10.0.0.1:3260 with target {ARRAY}",)


WANTED = Wanted(
    tuple(planned_session(path, 1, 1, 1, through=path, target=FIRST) for path in "ab"), WWIDS[0]
)
DISKS = [
    BlockDevice(f"sd{letter}", f"8:{number}", 2**28, identity=WWIDS[0])
    for letter, number in zip("abc", (0, 16, 32), strict=True)
]
SESSIONS = tuple(session_settings(path, 1, 1, 1, path, target=FIRST) for path in "ab")
GOOD = Facts(
    SESSIONS,
    {"a": ("sda",), "b": ("sdb",)},
    (*DISKS[:2], BlockDevice("dm-0", "253:0", 2**28, ("sda", "sdb"), "m", f"mpath-{WWIDS[0]}")),
    targets={"sda": FIRST, "sdb": FIRST},
)


def test_a_lun_in_another_target_than_planned_is_told_with_both() -> None:
    """Every path leads to it, and the map is made of both: only the target is another."""
    assert path_problems(WANTED, GOOD) == []
    problems = path_problems(WANTED, replace(GOOD, targets=dict.fromkeys(GOOD.targets, SECOND)))
    assert [problem.cause for problem in problems] == [
        f"path {path} reaches the LUN with WWID {WWIDS[0]} in target {SECOND} ({name}), and it was "
        f"planned in target {FIRST}"
        for path, name in (("a", "sda"), ("b", "sdb"))
    ]
    assert all("luns.N.target_iqn" in problem.cure for problem in problems)


def test_a_lun_in_two_targets_is_told() -> None:
    """Else its map would have paths that no fault and no figure knows."""
    both = replace(
        GOOD,
        devices=(*GOOD.devices, DISKS[2]),
        reached={"a": ("sda", "sdc"), "b": ("sdb",)},
        targets={**GOOD.targets, "sdc": SECOND},
    )
    first, *_ = path_problems(WANTED, both)
    assert f"path a reaches the LUN with WWID {WWIDS[0]} in target {SECOND} (sdc)" in first.cause


def test_sessions_with_other_targets_do_not_count() -> None:
    """Each path has one with each target; where there are several its name is told."""
    others = tuple(replace(one, target=SECOND) for one in SESSIONS)
    assert path_problems(WANTED, replace(GOOD, sessions=(*SESSIONS, *others))) == []
    wanted, seen = replace(WANTED, target=FIRST), replace(GOOD, sessions=(SESSIONS[0], *others))
    (problem,) = path_problems(wanted, seen)
    assert problem.cause == f"target {FIRST}: path b has 0 sessions instead of one"


def test_what_is_measured_of_a_lun_has_the_sessions_of_its_target_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And so has its budget: sessions of the other target are slower to notice a loss."""
    raw: dict[str, Raw] = {}
    monkeypatch.setattr(io_session, "assemble", lambda one: raw.setdefault(one.lun, one))
    attachment = SimpleNamespace(map_name="mpath", device="/dev/mapper/mpath")
    maps = tuple(
        SimpleNamespace(planned=one, attachment=attachment, paths=()) for one in TOPOLOGY.maps
    )
    testbed = SimpleNamespace(
        config=CONFIG,
        topology=TOPOLOGY,
        maps=maps,
        machines=(),
        layout=Layout.of(CONFIG.workload),
        nic=lambda machine, link: f"{machine} at {link}",
        domains={},
        lab_disks=(),
        power_off=lambda: None,
    )
    session = IoSession(cast(MeasuredTestbed, testbed), (), 600)
    settings = tuple(
        session_settings(path.name, interval, 1, 1, target=iqn)
        for path, iqn in TOPOLOGY.logins
        for interval in [1 if iqn == FIRST else 7]
    )
    planned = tuple(planned_session(path.name, target=iqn) for path, iqn in TOPOLOGY.logins)
    known = Setting("login_timeout", 3, "record")
    in_force = InForce(login_timeout=known, polling=known)
    witness = session._witness
    witness.seen = {"initiator": SessionsSeen(settings, planned, in_force, settings)}
    witness.path_listings = {"lun0": {}, "lun1": {}}
    session.note_fault(Injection(SilentDrop("a"), TOPOLOGY, 1, 2))
    result: Any = SimpleNamespace(ledgers=list)
    for of in session._luns.values():
        session._assemble(of, result, {})
    for lun, iqn, budget_s in (("lun0", FIRST, 4), ("lun1", SECOND, 10)):
        one = raw[lun]
        for sessions in (one.settings, one.planned, one.settings_after):
            assert [(each.path, each.target) for each in sessions or ()] == [("a", iqn), ("b", iqn)]
        assert one.faults[0].budget.seconds == pytest.approx(budget_s)
