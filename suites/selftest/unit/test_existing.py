"""An initiator on an existing machine: what is asked of it, what is refused, how it is compared."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from harness.config import Config
from harness.errors import InitiatorError, MachineError
from harness.faults import InitiatorDrop, LinkDown
from harness.host.slots import limit_for
from harness.provision.existing import ExistingProvisioner, nics_of
from harness.steps import Listener, listening
from harness.testbed.means import lacking
from harness.topology import plan
from harness.transport.dm_multipath.multipath_conf import DROP_IN, render_drop_in
from harness.transport.state_before import differences, parse_look
from suites.selftest.unit.existing_host import (
    ADDRESSES,
    HELP,
    LOCAL,
    LOOK,
    TOOLS,
    WWID,
    Host,
    config,
)
from suites.selftest.unit.scripted_machine import Answer, ScriptedMachine


class Warnings(Listener):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def warned(self, message: str) -> None:
        self.texts.append(message)


@pytest.mark.parametrize(
    ("host", "says"),
    [
        (
            Host(tools=TOOLS.replace("user 0", "user 1000")),
            "Pathproof is user 1000 there; root is needed",
        ),
        (Host(tools=f"{TOOLS}missing fio\nmissing nft\n"), "fio, nft not found"),
        (Host(tools=TOOLS.replace("3.6.8", "3.5.3")), "python3 is Python 3.5.3, and 3.6 is"),
        (Host(tools=TOOLS.replace("fio-3.36", "fio-3.28")), "fio is fio-3.28, and 3.31 is needed"),
        (Host(tools=f"{TOOLS}engine\n"), "fio has no engine libaio"),
    ],
)
def test_a_machine_that_is_unfit_is_not_touched(host: Host, says: str) -> None:
    """One clear error, and nothing but the question was asked."""
    with pytest.raises(InitiatorError, match=says), host.initiator().borrowed():
        pass
    assert len(host.machine.asked) == 1


@pytest.mark.parametrize(
    ("host", "says"),
    [
        (Host(locked=True), "another run of Pathproof is on scripted"),
        (
            Host(looks=(LOOK.replace("service active", "service failed"),)),
            "multipathd does not run",
        ),
        (Host(multipathd=(HELP,)), r"lacks the command: .*\n.*0\.7\.8 or newer"),
        (
            Host(multipathd=(LOCAL.replace("/etc/multipath/conf.d", "/etc/mp.d"),)),
            "multipathd goes by /etc/mp.d, since `config_dir` says so",
        ),
        (Host(records=True), "has records of iqn.2026-01.io.pathproof:storage already"),
        (
            Host(devices=f"device|dm-3|254:3|2048|sdb sdc|mpatha|mpath-{WWID}|||"),
            f"has the LUN {WWID} already: dm-3",
        ),
        (
            Host(devices=f"device|sdb|8:16|2048||||{WWID}||naa.{WWID[1:]}"),
            f"has the LUN {WWID} already: sdb",
        ),
    ],
)
def test_a_machine_that_is_in_use_is_not_touched(host: Host, says: str) -> None:
    """Neither another run's work nor anybody's records are undone, nor is a map taken over."""
    with pytest.raises(InitiatorError, match=says), host.initiator().borrowed():
        pass
    assert [asked for asked in host.machine.asked if asked.stdin] == []
    iscsiadm = [line for line in host.asked() if line.startswith("iscsiadm")]
    assert not any(line.endswith(("delete", "--login")) for line in iscsiadm)


@pytest.fixture
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.deadline.time.sleep", lambda _: None)
    monkeypatch.setattr("harness.transport.in_force._PATIENCE_S", 0.01)


@pytest.mark.parametrize("said", ["timeout\n", LOCAL[:500], ""])
@pytest.mark.usefixtures("_hurry")
def test_a_multipathd_that_is_busy_is_not_called_old(
    said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It exits with 0 all the same; the cure is another one."""
    host = Host(multipathd=(said,))
    with (
        pytest.raises(InitiatorError, match="not its whole configuration") as error,
        host.initiator().borrowed(),
    ):
        pass
    assert "0.7.8" not in str(error.value)
    monkeypatch.setattr("harness.transport.in_force._PATIENCE_S", 30.0)
    with Host(multipathd=(said, said, LOCAL)).initiator().borrowed():
        pass


@pytest.mark.parametrize(
    ("undoing", "says"),
    [
        (Answer(stderr="map in use", status=1), "undoing left something behind: map in use"),
        (MachineError("no answer"), "may not be as it was found: no answer; the next run"),
    ],
)
def test_what_cannot_be_undone_does_not_stop_the_rest(
    undoing: Answer | MachineError, says: str
) -> None:
    host = Host()
    with listening(heard := Warnings()), host.initiator().borrowed():
        host.undoing = undoing
    assert [says in text for text in heard.texts] == [True]
    assert host.asked()[-1].count("part()") == 1


def test_a_programming_error_in_undoing_is_heard_of() -> None:
    """Also where an error of the lab hides it."""
    host = Host()
    hiding = MachineError("no answer")
    hiding.__context__ = TypeError("x")
    with pytest.raises(MachineError) as raised, host.initiator().borrowed():
        host.undoing = hiding
    assert raised.value is hiding


RECORDS = (Path(__file__).parent / "recorded/iscsiadm-2.1.8-records.txt").read_text()
MENDED = "--name node.session.nr_sessions --value 1 --name node.session.scan --value auto"


@pytest.mark.parametrize(
    ("records", "mended"),
    [
        (RECORDS, MENDED),
        (RECORDS.replace("nr_sessions = 2", "nr_sessions = 1", 1), MENDED),  # of one portal alone
        (RECORDS.replace("nr_sessions = 2", "nr_sessions = 1"), MENDED.partition("1 ")[2]),
        (RECORDS.replace("nr_sessions = 2", "nr_sessions = 1").replace("manual", "auto"), ""),
        ("node.name = iqn.2026-01.net.lab:array\n", ""),  # of a version that has neither
    ],
)
def test_records_make_one_session_that_finds_its_disks(records: str, mended: str) -> None:
    """Whatever the machine's own iscsid.conf makes of new ones."""
    host = Host()
    host.records = True
    host.record_text = records
    host.initiator()._prepare_records("iqn.2026-01.io.other:array")
    mending = [line.partition("--op update ")[2] for line in host.asked() if "session." in line]
    assert mending == ([mended] if mended else [])


def test_what_is_missing_is_named_by_its_packages() -> None:
    host = Host(tools=f"{TOOLS}missing multipath\nmissing multipathd\nmissing fio\n")
    with pytest.raises(InitiatorError) as error, host.initiator().borrowed():
        pass
    assert error.value.hint == (
        "on Debian: `apt install multipath-tools fio`; "
        "on RHEL: `dnf install device-mapper-multipath fio`"
    )


def test_what_differs_afterwards_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if the block failed; that is what is raised."""
    monkeypatch.setattr("harness.transport.existing._SETTLING_S", 0.0)
    after = LOOK.replace("vda", "sda\nvda").replace(
        "iscsid.service inactive", "iscsid.service active"
    )
    host = Host(looks=(LOOK, after, after))
    with (
        listening(heard := Warnings()),
        pytest.raises(RuntimeError, match="the test broke"),
        host.initiator().borrowed(),
    ):
        raise RuntimeError("the test broke")
    assert [text.partition(" is not as it was found: ")[2] for text in heard.texts] == [
        "services: gone: iscsid.service inactive",
        "services: new: iscsid.service active",
        "disks: new: sda",
    ]


def test_what_is_to_be_undone_is_told_by_the_file() -> None:
    """Units that were active are not stopped by whoever finds it."""
    host = Host()
    host.initiator().configure()
    (active,) = (
        line
        for asked in host.machine.asked
        for line in asked.stdin.decode().splitlines()
        if line.startswith("# active")
    )
    assert active == "# active multipathd.service"


def test_folders_that_were_not_there_are_removed() -> None:
    """The inner ones first; those that were there stay."""
    after = LOOK.replace(
        "/etc/multipath\n", "/etc/multipath\n/etc/multipath/a\n/etc/multipath/a/b\n"
    )
    host = Host(looks=(LOOK, after, LOOK))
    with host.initiator().borrowed():
        pass
    removed = [line.split()[-1] for line in host.asked() if line.startswith("rmdir")]
    assert removed == ["/etc/multipath/a/b", "/etc/multipath/a"]


def test_a_machine_that_is_as_before_has_no_differences() -> None:
    found = parse_look(LOOK)
    assert found["disks"] == {"vda"}
    assert list(differences(found, parse_look(LOOK))) == []


def test_one_lun_is_named_and_no_other() -> None:
    """Nothing that would hold for other disks of the machine."""
    iqns = ["iqn.2026-01.io.pathproof:storage"]
    conf = render_drop_in({WWID: False}, iqns, "group_by_prio", active=())
    assert "path_grouping_policy group_by_prio\n" in conf
    assert conf.count(WWID) == 4
    assert 'wwid ".*"' not in conf
    assert not any(
        section in conf for section in ("defaults", "overrides", "devices", "blacklist {")
    )
    assert DROP_IN.startswith("/etc/multipath/conf.d/")


def test_no_setting_of_the_machine_keeps_a_path_out_of_use() -> None:
    """Held back for minutes, a path that is back would be called lost; see multipath.conf(5)."""
    conf = render_drop_in({WWID: False}, [], "multibus", active=())
    _, _, of_the_map = conf.partition("multipath {")
    settings = dict(line.split(maxsplit=1) for line in of_the_map.splitlines() if " no" in line)
    off = ("san_path_err_threshold", "marginal_path_double_failed_time", "delay_wait_checks")
    assert [settings[name] for name in off] == ["no"] * 3


def test_nics_are_found_by_their_addresses() -> None:
    topology = plan(config())
    machine = ScriptedMachine(lambda _: Answer(ADDRESSES))
    assert nics_of(machine, topology) == {"a": "eth1", "b": "eth2"}
    alone = ScriptedMachine(lambda _: Answer(ADDRESSES.replace("172.16.1.101", "10.0.0.1")))
    with pytest.raises(InitiatorError, match=r"no address 172.16.1.101 \(network b\); it has 10"):
        nics_of(alone, topology)


def test_two_links_on_one_nic_are_refused() -> None:
    """They would be called two paths, and share one cable."""
    machine = ScriptedMachine(lambda _: Answer(ADDRESSES.replace("eth2", "eth1")))
    with pytest.raises(InitiatorError, match="on one NIC, eth1: each link needs its own") as error:
        nics_of(machine, plan(config()))
    assert "172.16.0.101 (link a) and 172.16.1.101 (link b)" in str(error.value)
    assert "give one of the addresses to another NIC" in (error.value.hint or "")


def test_only_what_has_means_is_injected() -> None:
    assert lacking(config(), LinkDown("a").needs).endswith("the initiator is an existing machine")
    assert lacking(config(), InitiatorDrop("a").needs) == ""
    assert plan(config()).guests == ()
    assert limit_for(config()).testbeds == 1


@pytest.mark.parametrize(
    ("initiator", "target", "says"),
    [
        ({"machine": "local"}, {}, 'it needs target.kind = "external"'),
        ({"machine": "ssh"}, {"kind": "external"}, "initiator.ssh"),
        (
            {"machine": "ssh", "ssh": {"host": "h", "key": "k", "host_key": "ssh-rsa AAAA"}},
            {"kind": "external"},
            "host_key",
        ),
    ],
)
def test_what_cannot_be_is_refused(
    initiator: dict[str, object], target: dict[str, object], says: str
) -> None:
    with pytest.raises(ValidationError, match=says):
        Config.model_validate({"initiator": initiator, "target": target})


def test_keeping_an_existing_machine_is_declined_with_a_warning() -> None:
    """`--keep` would else be an option that does nothing."""
    with listening(heard := Warnings()):
        assert ExistingProvisioner(config(), plan(config())).keep() is None
    assert "nothing is kept" in heard.texts[0]
