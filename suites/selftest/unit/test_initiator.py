"""Logging in: what reaches the machine, and what is said of portals that refuse."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from ipaddress import IPv4Address
from itertools import pairwise
from pathlib import Path

import pytest

from harness.config import Config, load
from harness.config.credentials import ChapConfig
from harness.config.iet import IetOptions
from harness.config.negotiation import LoginOptions, Negotiation
from harness.config.profiles import FAST
from harness.errors import CommandTimedOut, InitiatorError
from harness.topology import plan
from harness.transport import IscsiInitiator
from harness.transport.iscsi import chap
from harness.transport.iscsi.sysfs import Session
from suites.selftest.unit.scripted_machine import Answer, Asked, ScriptedMachine

RECORDED = Path(__file__).parent / "recorded"
TOPOLOGY = plan(Config())
OFFERS = "".join(f"{portal.portal},1 {TOPOLOGY.target_iqn}\n" for portal in TOPOLOGY.portals)
CHAP = ChapConfig.model_validate(
    {
        "incoming": {"user": "me", "secret": "correct-horse"},
        "outgoing": {"user": "you", "secret": "battery-staple"},
    }
)


def initiator(
    answer: Callable[[Asked], Answer], credentials: ChapConfig | None = None
) -> tuple[IscsiInitiator, ScriptedMachine]:
    machine = ScriptedMachine(answer)
    return IscsiInitiator(machine, TOPOLOGY, FAST, ("3600",), credentials), machine


def of_topology(name: str) -> tuple[IscsiInitiator, ScriptedMachine]:
    """Of a ready topology, all of whose portals offer all of them."""
    topology = plan(load(None, {"topology": (name, "--topology")}).config)
    offers = "".join(f"{one.portal},1 {topology.target_iqn}\n" for one in topology.portals)
    machine = ScriptedMachine(lambda asked: Answer(offers if "sendtargets" in asked.argv else ""))
    return IscsiInitiator(machine, topology, FAST, ("3600",)), machine


def willing(asked: Asked) -> Answer:
    return Answer(OFFERS if "sendtargets" in asked.argv else "")


def refusing(word: str, status: int) -> Callable[[Asked], Answer]:
    """Everything works but what has that word in its arguments."""

    def answer(asked: Asked) -> Answer:
        if word in asked.argv:
            return Answer(stderr="iscsiadm: says something", status=status)
        return willing(asked)

    return answer


def complaint(answer: Callable[[Asked], Answer], credentials: ChapConfig | None = None) -> str:
    with pytest.raises(InitiatorError) as error:
        initiator(answer, credentials)[0].log_in()
    return str(error.value)


def test_records_get_their_credentials_before_the_logins() -> None:
    """And after discovery, which makes the records anew."""
    one, machine = initiator(willing, CHAP)
    one.log_in()
    steps = [asked.argv[0] if asked.argv[0] == "sh" else asked.argv[-1] for asked in machine.asked]
    portals = [str(portal.portal) for portal in TOPOLOGY.portals]
    assert steps == [*portals, "3", "sh", "--login", "--login"]


def test_without_credentials_no_record_is_touched() -> None:
    """They stay as iscsiadm makes them."""
    one, machine = initiator(willing)
    one.log_in()
    assert [asked.argv for asked in machine.asked if asked.argv[0] != "iscsiadm"] == []


def test_each_nic_of_one_subnet_gets_an_interface_of_its_own() -> None:
    """By the name that it has on the machine; the routes would take one NIC for all sessions."""
    one, machine = of_topology("one-subnet")
    one.bind({"a-nic1": "ens9", "a-nic2": "ens2"})
    begin = "iscsiadm --mode iface --interface "
    said = [" ".join(asked.argv) for asked in machine.asked]
    assert all(order.startswith(begin) for order in said)
    assert [order.removeprefix(begin) for order in said] == [
        order
        for iface, nic in (("pathproof-a-nic1", "ens9"), ("pathproof-a-nic2", "ens2"))
        for order in (
            f"{iface} --op new",
            f"{iface} --op update --name iface.net_ifacename --value {nic}",
        )
    ]


def test_an_interface_is_bound_to_the_vlans_device() -> None:
    """The NIC below it sends frames without a tag."""
    config = load(None, {"topology": ("one-subnet", "--topology")}).config
    networks = tuple(one.model_copy(update={"vlan": 5}) for one in config.networks)
    machine = ScriptedMachine()
    topology = plan(config.model_copy(update={"networks": networks}))
    IscsiInitiator(machine, topology, FAST, ("3600",)).bind({"a-nic1": "ens9", "a-nic2": "ens2"})
    assert [asked.argv[-1] for asked in machine.asked] == ["new", "ens9.5", "new", "ens2.5"]


@pytest.mark.parametrize("name", ["two", "four", "ipv6"])
def test_a_nic_with_a_subnet_of_its_own_needs_no_interface(name: str) -> None:
    """open-iscsi's default one does; nothing is asked of the machine."""
    one, machine = of_topology(name)
    one.bind({"a": "ens9", "b": "ens2"})
    one.log_in()
    assert not any("--interface" in asked.argv for asked in machine.asked)


def test_a_portal_is_logged_in_to_by_each_interface() -> None:
    """It is asked once, for all of them: each question removes the records of the last one."""
    one, machine = of_topology("one-subnet")
    one.log_in()
    (asked,) = (asked.argv for asked in machine.asked if "discovery" in asked.argv)
    assert [word for word in asked if word.startswith("pathproof-")] == [
        f"pathproof-a-nic{number}" for number in (1, 2)
    ]
    (portal,) = one.topology.portals
    logins = [asked.argv for asked in machine.asked if "--login" in asked.argv]
    assert all(str(portal.portal) in argv for argv in logins)
    assert [argv[argv.index("--interface") + 1] for argv in logins] == [
        f"pathproof-a-nic{number}" for number in (1, 2)
    ]


@pytest.mark.parametrize("name", ["four", "ipv6", "two-controllers"])
def test_every_portal_is_logged_in_to_once(name: str) -> None:
    """Whatever its address."""
    one, machine = of_topology(name)
    one.log_in()
    logins = [
        asked.argv[asked.argv.index("--portal") + 1]
        for asked in machine.asked
        if "--login" in asked.argv
    ]
    assert logins == [str(portal.portal) for portal in one.topology.portals]


def test_sessions_of_one_portal_are_told_apart_by_their_interface() -> None:
    """The default one is none of them; a session from elsewhere has no link."""
    one, _ = of_topology("one-subnet")

    def session(number: int, iface: str, host: int) -> Session:
        own = IPv4Address(f"172.16.0.{host}")
        portal = IPv4Address("172.16.0.1")
        return Session(
            f"session{number}",
            one.topology.target_iqn,
            *("LOGGED_IN", portal, 3260, iface, 1, 1, 1, own, ()),
        )

    seen = one.settings_of(
        [
            session(1, "pathproof-a-nic2", 102),
            session(2, "default", 101),
            session(3, "pathproof-a-nic1", 50),
        ]
    )
    assert [(each.path, each.through) for each in seen] == [("a-nic2", "a-nic2"), ("a-nic1", "")]


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (4, "does not answer"),
        (8, "does not answer in time"),
        (99, "iscsiadm ended with status 99"),
    ],
)
def test_a_portal_that_does_not_answer_is_named(status: int, says: str) -> None:
    """Before the first login, with what iscsiadm said."""
    text = complaint(refusing(str(TOPOLOGY.portals[1].portal), status))
    assert text == f"portal 172.16.1.1:3260 (b): {says}\niscsiadm: says something"


def test_a_portal_that_keeps_iscsiadm_waiting_is_named() -> None:
    """It tries for longer than anybody wants to wait."""

    def answer(asked: Asked) -> Answer:
        if "discovery" in asked.argv:
            raise CommandTimedOut(machine="i", argv=asked.argv, stdout="", stderr="", elapsed_s=90)
        return Answer()

    assert complaint(answer).startswith("portal 172.16.0.1:3260 (a): does not answer\n")


def test_a_wrong_secret_is_one_clear_error() -> None:
    """With the portal, the protocol's status and what may be wrong."""
    text = complaint(refusing("--login", 24), CHAP)
    assert text.startswith("portal 172.16.0.1:3260 (a): login rejected: authorization")
    assert "(02/01" in text
    assert "hint: the target has another user or secret" in text


def test_a_target_that_proves_itself_wrongly_is_suspected() -> None:
    """The initiator ends such a login for good, and open-iscsi has no status of its own for it."""
    assert "hint: the target may have proven itself" in complaint(refusing("--login", 19), CHAP)
    one_way = ChapConfig(incoming=CHAP.incoming)
    assert "hint" not in complaint(refusing("--login", 19), one_way)


def test_a_secret_that_is_missing_is_asked_for() -> None:
    """Or the target admits somebody else."""
    text = complaint(refusing("--login", 24))
    assert "--credentials" in text
    assert TOPOLOGY.initiator_iqn in text


def test_a_portal_that_offers_something_else_says_what() -> None:
    """Another target, perhaps of another testbed."""
    text = complaint(lambda _: Answer("172.16.0.1:3260,1 iqn.2026-01.io.pathproof:other\n"))
    assert "does not offer iqn.2026-01.io.pathproof:storage" in text
    assert "iqn.2026-01.io.pathproof:other" in text
    assert "hint" not in text


def test_a_name_in_other_capitals_is_told_as_the_portal_has_it() -> None:
    """RFC 3722 makes them one name, and not every target does."""
    text = complaint(lambda _: Answer("172.16.0.1:3260,1 iqn.2026-01.io.PathProof:storage\n"))
    assert "hint: write its name as it does: iqn.2026-01.io.PathProof:storage" in text


def test_a_made_target_that_listens_elsewhere_is_found() -> None:
    """Such as on the management network: I/O might go that way."""
    iqn = TOPOLOGY.target_iqn
    offers = "".join(f"{address}:3260,1 {iqn}\n" for address in ("172.16.0.1", "10.0.2.15"))
    text = complaint(lambda _: Answer(offers))
    assert "offers iqn.2026-01.io.pathproof:storage at 10.0.2.15:3260, too" in text


def test_a_discovery_that_wants_chap_gets_it() -> None:
    """Once; what it refuses then is an error."""
    asked_again = refusing("discovery", 24)
    one, machine = initiator(asked_again, CHAP)
    one.log_in()
    words = [asked.argv[-1] for asked in machine.asked if "discoverydb" in asked.argv]
    assert words == ["new", "--discover"] * 2
    lines = [asked.stdin for asked in machine.asked if b"discovery.sendtargets" in asked.stdin]
    assert len(lines) == 2


def test_a_discovery_that_refuses_chap_is_an_error() -> None:
    """It is not tried for ever."""

    def answer(asked: Asked) -> Answer:
        return Answer(status=24 if {"discovery", "--discover"} & set(asked.argv) else 0)

    assert "authorization failure" in complaint(answer, CHAP)


def test_the_script_changes_credentials_only(tmp_path: Path) -> None:
    """In records as open-iscsi 2.1.8 wrote them, which become root's own."""
    record = tmp_path / "172.16.0.1,3260,1" / "default"
    record.parent.mkdir()
    record.write_text(
        "# BEGIN RECORD 2.1.8\n"
        "node.session.auth.authmethod = None\n"
        "node.session.auth.username = old\n"
        "node.session.auth.password = old-secret\n"
        "node.session.auth.chap_algs = MD5\n"
        "node.conn[0].timeo.auth_timeout = 45\n"
        "# END RECORD\n"
    )
    record.chmod(0o644)
    *command, _, _ = chap.node_argv(TOPOLOGY.target_iqn)
    for _ in range(2):  # also if it has been there already
        subprocess.run(
            [*command, str(tmp_path), str(tmp_path / "not there")],
            input=chap.node_lines(CHAP),
            check=True,
        )
    assert record.stat().st_mode & 0o777 == 0o600
    assert record.read_text() == (
        "# BEGIN RECORD 2.1.8\n"
        "node.session.auth.chap_algs = MD5\n"
        "node.conn[0].timeo.auth_timeout = 45\n"
        "# END RECORD\n"
        "node.session.auth.authmethod = CHAP\n"
        "node.session.auth.username = me\n"
        "node.session.auth.password = correct-horse\n"
        "node.session.auth.username_in = you\n"
        "node.session.auth.password_in = battery-staple\n"
    )


def test_records_are_where_distributions_keep_them() -> None:
    """Of Debian, and of Red Hat and SUSE."""
    assert chap.node_argv("iqn")[-2:] == ["/etc/iscsi/nodes/iqn", "/var/lib/iscsi/nodes/iqn"]
    portal = TOPOLOGY.portals[0].portal
    assert chap.discovery_argv(portal)[-2] == "/etc/iscsi/send_targets/172.16.0.1,3260"


def test_a_target_that_does_no_digests_is_suspected() -> None:
    """open-iscsi itself ends the login if it insists on them; so tgt as it comes was seen to do."""
    offers = LoginOptions(header_digest="CRC32C")
    machine = ScriptedMachine(refusing("--login", 19))
    negotiation = Negotiation.of(IetOptions(), offers)
    with pytest.raises(InitiatorError) as caught:
        IscsiInitiator(machine, TOPOLOGY, FAST, ("3600",), negotiation=negotiation).log_in()
    assert "digests that [initiator.iscsi] insists on" in caught.value.hint
    assert "node.conn[0].iscsi.HeaderDigest" in str(machine.asked)


def test_a_map_without_its_device_file_is_not_ready() -> None:
    """Seen on a busy host: fio wrote into a plain file of that name."""
    looks = iter([1, 1, 0])
    maps = (RECORDED / "multipathd-0.9.4-maps.json").read_text()
    maps = maps.replace('"failed"', '"active"').replace('"faulty"', '"ready"')

    def answer(asked: Asked) -> Answer:
        if asked.argv[:2] == ("test", "-b"):
            return Answer(status=next(looks))
        return Answer(maps)

    machine = ScriptedMachine(answer)
    wwid = "360014057043dfe0435de773ca03bbf04"
    IscsiInitiator(machine, TOPOLOGY, FAST, (wwid,)).attachments[0].wait_for_map()
    assert next(looks, None) is None


def test_beside_an_interface_of_its_own_the_default_one_is_named() -> None:
    """Else open-iscsi would make records for the other network's interfaces alone."""
    described = {
        "networks": [
            {"name": "a", "subnet": "10.1.0.0/24", "portals": ["10.1.0.1"]}
            | {"initiator": ["10.1.0.101", "10.1.0.102"]},
            {"name": "b", "subnet": "10.2.0.0/24", "portals": ["10.2.0.1"]}
            | {"initiator": ["10.2.0.101"]},
        ]
    }
    machine = ScriptedMachine(lambda asked: Answer(_offer(asked)))
    one = IscsiInitiator(machine, plan(Config.model_validate(described)), FAST, ("3600",))
    one.log_in()
    by_portal = [
        [word for before, word in pairwise(asked.argv) if before == "--interface"]
        for asked in machine.asked
        if "10.2.0.1:3260" in asked.argv
    ]
    assert by_portal == [["default"], ["default"]]


def _offer(asked: Asked) -> str:
    portals = [word for word in asked.argv if word.endswith(":3260")]
    return f"{portals[0]},1 iqn.2026-01.io.pathproof:storage\n" if "discovery" in asked.argv else ""
