"""Sessions as sysfs has them: the script, and what it prints."""

from __future__ import annotations

import subprocess
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import InitiatorError
from harness.transport.iscsi.sysfs import NEVER, SESSIONS_SCRIPT, Disk, Session, parse_sessions

RECORDED = Path(__file__).parent / "recorded"
IQN = "iqn.2026-01.io.pathproof:storage"
WORDS = st.text("abcdefgh0123456789:.-", min_size=1, max_size=12)
# Composed: sessions with other targets over IPv6, by a host name, without a connection, without
# timeouts, of an HBA without attributes for NOP-Outs, and one that ends while it is read.
STRANGERS = """\
session7|iqn.2026-01.net.lab:vm-disks|LOGGED_IN|2001:db8::2|3260|default|120|5|5|2001:db8::50|sdx|65:112|naa.6001405aaaa
session8|iqn.2026-01.net.lab:nas|LOGGED_IN|nas.lab.net|3260|default|120|5|5|10.9.9.9|||
session3|iqn.2026-01.net.lab:old|FREE|||default|120||||||
session9|iqn.2026-01.net.lab:x|LOGGED_IN|10.9.9.1|3260|default|off|0|0|10.9.9.9|sdr|65:16|naa.6001405bbbb
session4|iqn.2026-01.net.lab:hba|LOGGED_IN|10.9.9.2|3260|default|-1||||sds|65:32|t10.LAB|CORP a|b
session5||||||||||||
"""
SESSIONS = st.lists(
    st.builds(
        Session,
        name=st.integers(1, 10**6).map(lambda n: f"session{n}"),
        target=WORDS,
        state=st.sampled_from(["LOGGED_IN", "FAILED", "FREE"]),
        address=st.ip_addresses() | st.just("nas.lab.net"),
        port=st.integers(1, 65535),
        iface=WORDS,
        recovery_tmo_s=st.integers(-1, 10**6),
        noop_out_interval_s=st.integers(0, 600),
        noop_out_timeout_s=st.integers(0, 600),
        own_address=st.none() | st.ip_addresses(),
        disks=st.lists(
            st.builds(Disk, WORDS, WORDS, WORDS | st.sampled_from(["", "t10.A|b c"])), max_size=3
        ).map(tuple),
    ),
    unique_by=lambda session: session.name,
    max_size=4,
)


def printed(session: Session) -> str:
    head = [session.name, session.target, session.state, str(session.address)]
    head += [str(session.port), session.iface]
    never = session.recovery_tmo_s == NEVER
    head += ["off" if never else str(session.recovery_tmo_s), str(session.noop_out_interval_s)]
    head += [str(session.noop_out_timeout_s), str(session.own_address or "")]
    disks = [[d.name, d.device, d.wwid] for d in session.disks] or [["", "", ""]]
    return "".join("|".join([*head, *disk]) + "\n" for disk in disks)


def test_a_recorded_line_is_understood() -> None:
    """The order of the three timeouts is recovery, interval, timeout."""
    text = (RECORDED / "pathproof-sessions-linux-6.1.txt").read_text()
    disk = Disk("sda", "8:0", "naa.60014057043dfe0435de773ca03bbf04")
    address, own = IPv4Address("172.16.0.1"), IPv4Address("172.16.0.101")
    assert parse_sessions(text, [IQN]) == [
        Session("session1", IQN, "LOGGED_IN", address, 3260, "default", 1, 1, 1, own, (disk,))
    ]


def test_the_three_timeouts_are_not_confused() -> None:
    """recv_tmo is the interval of the NOP-Outs, ping_tmo the time for their answer."""
    line = f"session1|{IQN}|LOGGED_IN|172.16.0.1|3260|default|120|5|7|172.16.0.101|||\n"
    (session,) = parse_sessions(line, [IQN])
    assert session.recovery_tmo_s == 120
    assert session.noop_out_interval_s == 5
    assert session.noop_out_timeout_s == 7
    assert session.disks == ()


@given(SESSIONS)
def test_what_the_script_prints_is_read_back(sessions: list[Session]) -> None:
    """Sessions with several disks, one or none, in their order."""
    targets = {session.target for session in sessions}
    assert parse_sessions("".join(map(printed, sessions)), targets) == sessions


def test_sessions_with_other_targets_are_passed_over() -> None:
    """However odd they look, and wherever they stand; their disks may have odd names, too."""
    text = (RECORDED / "pathproof-sessions-linux-6.1.txt").read_text()
    (own,) = parse_sessions(text, [IQN])
    lines = STRANGERS.splitlines(keepends=True)
    assert parse_sessions("".join([*lines[:3], text, *lines[3:]]), [IQN]) == [own]
    assert parse_sessions(STRANGERS, [IQN]) == []


def test_a_session_with_the_target_may_run_where_no_portal_was_planned() -> None:
    """Somebody else's, over IPv6 or by a host name: it is for preflight to say so."""
    targets = ["iqn.2026-01.net.lab:vm-disks", "iqn.2026-01.net.lab:nas"]
    first, second = parse_sessions(STRANGERS, targets)
    assert first.address == IPv6Address("2001:db8::2")
    assert first.own_address == IPv6Address("2001:db8::50")
    assert str(first.portal) == "[2001:db8::2]:3260"
    assert (second.address, second.own_address) == ("nas.lab.net", IPv4Address("10.9.9.9"))
    assert second.portal is None


def test_a_session_that_never_gives_up_says_so() -> None:
    """The kernel writes "off", and not -1 (iscsi_priv_session_attr_show)."""
    (session,) = parse_sessions(STRANGERS, ["iqn.2026-01.net.lab:x"])
    assert session.recovery_tmo_s == NEVER
    assert (session.noop_out_interval_s, session.noop_out_timeout_s) == (0, 0)


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        f"session1|{IQN}|LOGGED_IN|172.16.0.1|3260|default|x|5|5||||",
        f"session1|{IQN}|FREE|||default|120||||||",
        f"session1|{IQN}|LOGGED_IN|172.16.0.1|x|default|1|5|5|172.16.0.101|||",
        f"session1|{IQN}|LOGGED_IN|172.16.0.1|1|5|5|172.16.0.101|||",
        f"session1|{IQN}|LOGGED_IN|172.16.0.1|3260|default|1|||172.16.0.101|||",
        f"session1|{IQN}|LOGGED_IN|172.16.0.1|3260|default|1|5|5|here|||",
    ],
)
def test_a_line_of_another_form_is_refused(line: str) -> None:
    """A timeout that cannot be read must not become a budget."""
    with pytest.raises(InitiatorError):
        parse_sessions(line + "\n", [IQN])


def test_a_session_without_a_connection_is_named() -> None:
    """With its state."""
    with pytest.raises(InitiatorError, match=r"session3 to .*:old has no connection; .* FREE"):
        parse_sessions(STRANGERS, ["iqn.2026-01.net.lab:old"])


def fake_session(root: Path, number: int, address: str, disk: str | None) -> None:
    session = root / f"class/iscsi_session/session{number}"
    device = root / f"devices/host{number}/session{number}"
    connection = device / f"connection{number}:0/iscsi_connection/connection{number}:0"
    connection.mkdir(parents=True)
    session.mkdir(parents=True)
    (session / "device").symlink_to(device)
    attributes = {"targetname": IQN, "state": "LOGGED_IN", "recovery_tmo": "9"}
    for name, value in (attributes | {"ifacename": f"nic{number}"}).items():
        (session / name).write_text(value + "\n")
    attributes = {"persistent_address": address, "recv_tmo": "5", "ping_tmo": "7"}
    for name, value in (attributes | {"persistent_port": "3261"}).items():
        (connection / name).write_text(value + "\n")
    (device.parent / f"iscsi_host/host{number}").mkdir(parents=True)
    own = f"{address}01\n"
    (device.parent / f"iscsi_host/host{number}/ipaddress").write_text(own)
    if disk:
        block = device / f"target{number}:0:0/{number}:0:0:0/block/{disk}"
        block.mkdir(parents=True)
        (block / "dev").write_text("8:0\n")
        (block / "device").symlink_to(block.parent.parent)
        (block.parent.parent / "wwid").write_text("naa.6001405\n")


def test_the_script_finds_sessions_with_and_without_a_disk(tmp_path: Path) -> None:
    """Run by a real shell over a tree that is laid out as the kernel's."""
    fake_session(tmp_path, 1, "172.16.0.1", "sda")
    fake_session(tmp_path, 2, "172.16.1.1", None)
    script = SESSIONS_SCRIPT.replace("/sys/", f"{tmp_path}/")
    done = subprocess.run(["sh", "-euc", script], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    one, two = parse_sessions(done.stdout, [IQN])
    assert one.disks == (Disk("sda", "8:0", "naa.6001405"),)
    assert (two.address, two.disks) == (IPv4Address("172.16.1.1"), ())
    assert (str(one.portal), one.iface) == ("172.16.0.1:3261", "nic1")
    assert (str(two.portal), two.iface) == ("172.16.1.1:3261", "nic2")
    assert (one.own_address, two.own_address) == tuple(
        IPv4Address(f"172.16.{network}.101") for network in (0, 1)
    )
    assert (two.recovery_tmo_s, two.noop_out_interval_s, two.noop_out_timeout_s) == (9, 5, 7)


def test_a_wwid_with_backslashes_passes_the_shell(tmp_path: Path) -> None:
    """IET's disks have such a WWID. echo would make other characters of it."""
    fake_session(tmp_path, 1, "172.16.0.1", "sda")
    recorded = (RECORDED / "linux-6.1-iet-wwid.txt").read_text()
    (wwid,) = tmp_path.glob("devices/host1/session1/target*/*/wwid")
    wwid.write_text(recorded)
    script = SESSIONS_SCRIPT.replace("/sys/", f"{tmp_path}/")
    done = subprocess.run(["sh", "-euc", script], capture_output=True, text=True, check=True)
    (session,) = parse_sessions(done.stdout, [IQN])
    assert session.disks[0].wwid == recorded.strip()


def test_no_session_is_an_empty_answer(tmp_path: Path) -> None:
    """Before the first login, and without the iSCSI modules."""
    script = SESSIONS_SCRIPT.replace("/sys/", f"{tmp_path}/")
    done = subprocess.run(["sh", "-euc", script], capture_output=True, text=True, check=True)
    assert parse_sessions(done.stdout, [IQN]) == []
