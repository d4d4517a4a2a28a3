"""The runner of IET against a machine that answers as ietd, ietadm and the kernel do."""

from __future__ import annotations

import io
import re
import tarfile
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydantic import SecretStr

from harness.config import Config
from harness.config.credentials import ChapConfig, Credentials
from harness.config.iet import IetOptions
from harness.errors import CommandTimedOut, ConfigError, TargetError
from harness.target import IetTarget, target_for
from harness.target.base import backing_file, data_disk
from harness.target.iet import daemon, proc, target
from harness.target.iet.conf import Unit
from harness.topology import plan
from suites.selftest.unit.scripted_machine import Answer, Asked, ScriptedMachine

RECORDED = Path(__file__).parent / "recorded"
DOC = Path(__file__).resolve().parents[3] / "docs" / "iet.md"
IQN = "iqn.2009-11-11.widodh.storage:iscsi-001"
CONFIG = Config.model_validate({"target": {"kind": "iet", "iqn": IQN}})
CHAP = ChapConfig(
    incoming=Credentials(user="me", secret=SecretStr("correct-horse")),
    outgoing=Credentials(user="you", secret=SecretStr("battery-staple")),
)
SERVED = (
    f"tid:1 name:{IQN}\n\tlun:0 state:0 iotype:fileio iomode:wt "
    "blocks:19531250 blocksize:512 path:/srv/pathproof/lun0.img\n"
)
LISTENING = (RECORDED / "ss-6.1.0-ietd.txt").read_text()


@dataclass
class Guest(ScriptedMachine):
    """Answers what a guest with IET would."""

    served: str = SERVED
    listening: str = LISTENING
    sessions: list[str] = field(default_factory=lambda: ["iet-1.4.20.3-session.txt"])
    options: str = ""
    accounts: str = ""
    refusals: dict[str, Answer] = field(default_factory=dict)
    hangs: str = "never"
    written: dict[str, bytes] = field(default_factory=dict)
    modes: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__(self.answer)

    @property
    def said(self) -> list[str]:
        """Everything it was told to run."""
        return [" ".join(asked.argv) for asked in self.asked]

    def answer(self, asked: Asked) -> Answer:
        line = " ".join(asked.argv)
        if re.search(self.hangs, line):
            raise CommandTimedOut(
                machine=self.name, argv=asked.argv, stdout="", stderr="", elapsed_s=20
            )
        for command, refusal in self.refusals.items():
            if command in line:
                return refusal
        if proc.VOLUMES in line:
            return Answer(f"457\n{self.listening}\n{self.served}")
        if proc.SESSIONS in line:
            name = self.sessions.pop(0) if len(self.sessions) > 1 else self.sessions[0]
            return Answer((RECORDED / name).read_text() if name else "")
        if daemon.LOG_SCRIPT in line:
            return Answer("unable to create logical unit 0 in target 1: 2\n")
        if "--op show" in line:
            return Answer(self.accounts if "--user" in line else self.options)
        if "tar --extract" in line:
            with tarfile.open(fileobj=io.BytesIO(asked.stdin)) as tar:
                for member in tar:
                    self.written[member.name] = tar.extractfile(member).read()  # type: ignore[union-attr]
                    self.modes.add(member.mode)
        return Answer()


def iet(guest: Guest, **settings: object) -> IetTarget:
    config = CONFIG.target.model_copy(update=settings)
    return IetTarget(config, guest, plan(CONFIG))


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "_START_TIMEOUT_S", 0.1)


def test_the_kind_leads_here() -> None:
    """And the identity is known before anything runs."""
    driver = target_for(CONFIG.target, Guest(), plan(CONFIG))
    assert isinstance(driver, IetTarget)
    assert re.fullmatch(r"14945540000000000[0-9a-f]{32}", driver.wwids[0])


def test_the_module_is_there_before_ietd_starts() -> None:
    """Then what ran before is stopped: it holds the port."""
    guest = Guest()
    iet(guest).configure()
    order = [daemon.REQUIRE_SCRIPT, "tar --extract", daemon.STOP_SCRIPT, "ietd --port=3260"]
    places = [next(n for n, line in enumerate(guest.said) if text in line) for text in order]
    assert places == sorted(places)


def test_a_guest_without_iet_says_where_help_is() -> None:
    """Before anything is written."""
    text = "modprobe: FATAL: Module iscsi_trgt not found in directory /lib/modules/6.1.0"
    guest = Guest(refusals={daemon.REQUIRE_SCRIPT: Answer(stderr=text, status=1)})
    with pytest.raises(TargetError, match=f"there is no IET in this guest: {text}") as caught:
        iet(guest).configure()
    assert "docs/iet.md" in caught.value.hint
    assert len(guest.said) == 1


@pytest.mark.parametrize(
    ("served", "problem"),
    [
        ("", f"{IQN} is missing"),
        (f"tid:1 name:{IQN}\n", f"LUN 0 of {IQN} is missing"),
        (SERVED + "\tlun:1 state:0 iotype:nullio iomode:wt\n", "LUN 1 of .* not asked for"),
        (SERVED.replace("iomode:wt", "iomode:wb"), f"IOMode of LUN 0 of {IQN} is wb, not wt"),
        (SERVED.replace("19531250", "8"), "size of LUN 0 of .* is 4096, not 10000000000"),
        (SERVED.replace("lun0.img", "old.img"), "Path of LUN 0 of .* is /srv/pathproof/old.img"),
        (SERVED + "tid:2 name:iqn.2001-04.com.example:other\n", "other was not asked for"),
    ],
)
def test_ietd_that_does_not_serve_what_was_asked_for(served: str, problem: str) -> None:
    """Its exit status was 0; its log is in the message."""
    with pytest.raises(TargetError, match=problem) as caught:
        iet(Guest(served=served)).configure()
    assert "unable to create logical unit 0" in caught.value.message


@pytest.mark.parametrize(
    ("accounts", "problem"),
    [
        ("", "IncomingUser is not set, not me; OutgoingUser is not set, not you"),
        ("IncomingUser me\n", "OutgoingUser is not set, not you"),
        ("IncomingUser me\nOutgoingUser other\n", "OutgoingUser is other, not you"),
    ],
)
def test_accounts_that_ietd_did_not_read(accounts: str, problem: str) -> None:
    """Either every initiator is let in then, or none."""
    with pytest.raises(TargetError, match=problem):
        iet(Guest(accounts=accounts), chap=CHAP).configure()
    iet(Guest(accounts="IncomingUser me\nOutgoingUser you\n"), chap=CHAP).configure()


def test_sizes_that_old_versions_do_not_show_are_no_problem() -> None:
    """They cannot be seen there."""
    iet(Guest(served=SERVED.replace("blocks:19531250 blocksize:512 ", ""))).configure()


def test_a_port_that_ietd_did_not_get() -> None:
    """It stays and serves no initiator."""
    held = LISTENING.replace('0.0.0.0:*    users:(("ietd",pid=457,fd=7))', "0.0.0.0:*")
    with pytest.raises(TargetError, match=r"port 3260: not within .* held by the kernel"):
        iet(Guest(listening=held)).configure()


def test_options_are_compared_too() -> None:
    """ietd skips what it cannot read."""
    options = IetOptions(queued_commands=64, data_digest="CRC32C", max_sessions=4)
    iet(Guest(options="QueuedCommands=64\nDataDigest=CRC32C\n"), iet=options).configure()
    with pytest.raises(TargetError, match="QueuedCommands is 32, not 64; DataDigest is not shown"):
        iet(Guest(options="QueuedCommands=32\n"), iet=options).configure()


def test_only_the_data_addresses_are_open() -> None:
    """The management network would be a portal, too."""
    guest = Guest()
    iet(guest).configure()
    assert guest.written["etc/iet/targets.allow"] == b"ALL 172.16.0.1, 172.16.1.1\n"
    assert guest.written["etc/iet/initiators.allow"] == b"ALL 172.16.0.101, 172.16.1.101\n"


def test_secrets_go_to_a_closed_file_and_nowhere_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not to a command line, and not to the evidence."""
    shown: list[str] = []
    monkeypatch.setattr(target, "attach", lambda _, text: shown.append(text))
    incoming = Credentials(user="joe", secret=SecretStr("planted-secret"))
    guest = Guest(accounts="IncomingUser joe\n")
    iet(guest, chap=ChapConfig(incoming=incoming)).configure()
    assert b"IncomingUser joe planted-secret\n" in guest.written["etc/iet/ietd.conf"]
    assert guest.modes == {0o600}
    assert "planted-secret" not in "".join(guest.said + shown)
    assert "IncomingUser joe" in shown[0]


@pytest.mark.parametrize(
    ("backstore", "cache", "served"),
    [
        ("fileio", "write-through", ("fileio", "wt", backing_file("lun0"))),
        ("fileio", "write-back", ("fileio", "wb", backing_file("lun0"))),
        ("block", "write-through", ("blockio", "wt", data_disk("lun0"))),
        ("block", "write-back", ("fileio", "wb", data_disk("lun0"))),
    ],
)
def test_backstore_and_cache(backstore: str, cache: str, served: tuple[str, str, str]) -> None:
    """blockio has no cache, fileio takes devices as well."""
    (target,) = iet(Guest(), backstore=backstore, write_cache=cache).wanted
    (unit,) = target.units
    assert (unit.io_type, unit.io_mode, unit.path) == served


def test_what_only_the_target_knows_of_a_login_is_compared_there() -> None:
    """Session by session: 0 would be what is offered. The larger value of both ends counts."""
    guest = Guest(options=(RECORDED / "ietadm-1.4.20.3-show-session.txt").read_text())
    iet(guest, iet=IetOptions(default_time2wait_s=2)).require_logins()
    asked = [line.rpartition("=")[2] for line in guest.said if "--sid=" in line]
    assert asked == ["565148980675072", "282574492336640"]
    with pytest.raises(TargetError, match=r"DefaultTime2Wait of the session from .* is 2, not 1"):
        iet(guest, iet=IetOptions(default_time2wait_s=1)).require_logins()


def test_what_was_not_asked_for_is_not_looked_at() -> None:
    """Nor are there more commands on IET than it takes."""
    guest = Guest()
    iet(guest).require_logins()
    assert guest.said == []


def test_sessions_of_other_targets_are_left_out() -> None:
    """The listing has them all."""
    sessions = iet(Guest()).sessions()
    assert [s.connections[0].address for s in sessions] == ["172.16.1.1", "172.16.0.1"]
    assert iet(Guest(sessions=["iet-1.4.20.3-session-chap.txt"])).sessions() == []


def test_a_disconnect_waits_until_the_session_is_gone() -> None:
    """ietadm returns before."""
    listing = "iet-1.4.20.3-session.txt"
    guest = Guest(sessions=[listing, listing, ""])
    driver = iet(guest)
    driver.disconnect(driver.sessions()[0])
    assert "ietadm --op delete --tid=1 --sid=565148980675072 --cid=0" in guest.said
    assert guest.said.count("cat /proc/net/iet/session") == 3


def test_what_ietadm_refuses_is_explained() -> None:
    """Its exit status is an error number in disguise."""
    guest = Guest(refusals={"--op new": Answer(stderr="File exists.\n", status=239)})
    with pytest.raises(TargetError, match=r"239 \(EEXIST: .*\): File exists"):
        iet(guest).add_unit(Unit(1, "nullio", size=1 << 20))


@pytest.mark.parametrize("call", ["ietadm", "/proc/net/iet"])
def test_iet_that_hangs_is_an_error_with_its_usual_cause(call: str) -> None:
    """No caller waits for stuck I/O."""
    with pytest.raises(TargetError) as caught:
        iet(Guest(hangs=call)).remove_unit(0)
    assert "stuck backend I/O" in caught.value.hint


def test_live_changes_go_to_the_target_by_its_number() -> None:
    """It is looked up: a failed creation uses numbers up."""
    guest = Guest(served=SERVED.replace("tid:1", "tid:7"), options="QueuedCommands=64\n")
    driver = iet(guest)
    driver.add_unit(Unit(1, "nullio", size=1 << 20))
    driver.update(IetOptions(queued_commands=64))
    driver.redirect("172.16.1.1")
    driver.remove_unit(1)
    said = [line for line in guest.said if line.startswith("ietadm")]
    assert said == [
        "ietadm --op new --tid=7 --lun=1 --params Type=nullio,Blocks=2048,BlockSize=512",
        "ietadm --op update --tid=7 --params=QueuedCommands=64",
        "ietadm --op show --tid=7",
        "ietadm --op show --tid=7 --sid=0",
        "ietadm --op update --tid=7 --redirect=172.16.1.1",
        "ietadm --op delete --tid=7 --lun=1",
    ]


@pytest.mark.parametrize(
    "options",
    [
        IetOptions(max_sessions=1),
        IetOptions(nop_interval_s=0),
        IetOptions(header_digest="None,CRC32C"),
    ],
)
def test_what_must_not_change_while_it_runs_is_refused(options: IetOptions) -> None:
    """It would be ignored, drop sessions, or be cut at the comma."""
    guest = Guest()
    with pytest.raises(ConfigError):
        iet(guest).update(options)
    assert guest.said == []


def test_the_documented_topology_is_what_ran() -> None:
    """Name, size and addresses, as docs/iet.md has them, and the map that a real run had."""
    examples = re.findall(r"^```toml\n(.*?)^```", DOC.read_text(), re.MULTILINE | re.DOTALL)
    (example,) = [text for text in examples if "[target]" in text]
    config = Config.model_validate(tomllib.loads(example))
    topology = plan(config)
    assert (config.target.kind, topology.target_iqn) == ("iet", IQN)
    assert topology.luns[0].size == 10_000_000_000
    assert [str(portal.portal.address) for portal in topology.portals] == [
        "172.16.0.1",
        "172.16.1.1",
    ]
    listing = (RECORDED / "multipath-0.9.4-ll-iet.txt").read_text()
    driver = target_for(config.target, Guest(), topology)
    assert listing.startswith(f"{driver.wwids[0]} dm-0 {driver.vendor},{driver.product}\n")
    assert listing in DOC.read_text()
