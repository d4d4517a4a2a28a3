"""What IET prints: /proc/net/iet, ietadm and the state of its daemon."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import TargetError
from harness.target.iet import ietadm
from harness.target.iet.daemon import Listener, parse_look
from harness.target.iet.proc import (
    Connection,
    ServedTarget,
    Session,
    Volume,
    parse_sessions,
    parse_volumes,
)

RECORDED = Path(__file__).parent / "recorded"
IQN = "iqn.2009-11-11.widodh.storage:iscsi-001"
WORDS = st.text("abcdefgh0123456789:.-", min_size=1, max_size=12)
NUMBERS = st.integers(0, 2**64 - 1)


def recorded(name: str) -> str:
    return (RECORDED / name).read_text()


def test_recorded_volumes_are_understood() -> None:
    """A target without a LUN would have no line below."""
    null, disk = parse_volumes(recorded("iet-1.4.20.3-volume-blockio.txt"))
    assert (null.tid, null.name) == (2, "iqn.2001-04.com.example:null")
    assert null.volumes == (Volume(0, "nullio", "wt", 20480, 512, None),)
    assert disk == ServedTarget(
        1,
        "iqn.2001-04.com.example:disk0",
        (
            Volume(0, "fileio", "wt", 131072, 512, "/srv/f0.img"),
            Volume(1, "blockio", "wt", 131072, 512, "/dev/vdb"),
            Volume(2, "fileio", "wb", 8192, 4096, "/srv/f1.img"),
        ),
    )


def test_the_size_is_in_bytes() -> None:
    """10 GB in blocks of 512 bytes."""
    targets = parse_volumes(recorded("iet-1.4.20.3-volume.txt"))
    (disk,) = [target for target in targets if target.name == IQN]
    assert disk.volumes[0].size == 10_000_000_000


def test_old_versions_show_no_size() -> None:
    """Up to 1.4.19."""
    text = f"tid:1 name:{IQN}\n\tlun:0 state:0 iotype:fileio iomode:wt path:/a b.img\n"
    assert parse_volumes(text)[0].volumes == (Volume(0, "fileio", "wt", None, None, "/a b.img"),)


def test_recorded_sessions_are_understood() -> None:
    """Several targets, one of them without a session."""
    name = "iqn.1993-08.org.debian:01:ff9f1e21a513"
    chap, second, first = parse_sessions(recorded("iet-1.4.20.3-session-chap.txt"))
    active = Connection(0, "10.77.1.2", "active", "crc32c", "crc32c")
    assert chap == Session("iqn.2001-04.com.example:chap", 9, 1131397468979712, name, (active,))
    assert [s.connections[0].address for s in (second, first)] == ["10.77.2.2", "10.77.1.2"]
    assert {s.tid for s in (second, first)} == {1}


@given(
    st.lists(
        st.builds(
            Session,
            WORDS,
            st.integers(1, 10**6),
            NUMBERS,
            WORDS,
            st.lists(
                st.builds(Connection, st.integers(0, 65535), WORDS, *[st.just("active")] * 3),
                max_size=2,
            ).map(tuple),
        ),
        max_size=4,
    )
)
def test_every_session_is_read_back(sessions: list[Session]) -> None:
    """Also one that has lost its connection."""
    text = "".join(
        f"tid:{s.tid} name:{s.target}\n\tsid:{s.sid} initiator:{s.initiator}\n"
        + "".join(
            f"\t\tcid:{c.cid} ip:{c.address} state:{c.state} hd:active dd:active\n"
            for c in s.connections
        )
        for s in sessions
    )
    assert parse_sessions(text) == sessions


@pytest.mark.parametrize(
    "text", ["nonsense\n", "tid:1 name:x\n\tlun:0\n", "\tlun:0 state:0 iotype:a iomode:b\n"]
)
def test_a_line_of_another_form_is_refused(text: str) -> None:
    """What is served must not be guessed."""
    with pytest.raises(TargetError, match="not a line of"):
        parse_volumes(text)
    with pytest.raises(TargetError, match="not a line of"):
        parse_sessions(text)


def test_nothing_served_is_an_empty_listing() -> None:
    """The listing is empty while ietd does not run."""
    assert parse_volumes("") == []
    assert parse_sessions("") == []


def test_recorded_options_are_understood() -> None:
    """The target's own, and those offered to sessions."""
    own = ietadm.parse_options(recorded("ietadm-1.4.20.3-show.txt"))
    assert own == {
        "Wthreads": "4",
        "Type": "0",
        "QueuedCommands": "64",
        "NOPInterval": "30",
        "NOPTimeout": "10",
    }
    offered = ietadm.parse_options(recorded("ietadm-1.4.20.3-show-session.txt"))
    assert (offered["HeaderDigest"], offered["FirstBurstLength"]) == ("CRC32C", "65536")


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (254, "254 (ENOENT: no such target, LUN, session or file)"),
        (240, "240 (EBUSY: the target has sessions)"),
        (241, "241 (ENOTBLK: not a block device)"),
        (145, "145 (ECONNREFUSED: ietd does not run)"),
        (255, "255 (EPERM: Operation not permitted)"),
    ],
)
def test_the_exit_status_is_explained(status: int, said: str) -> None:
    """It is 256 less an error number; these were seen."""
    assert ietadm.describe_status(status) == said


def test_a_daemon_that_serves() -> None:
    """It listens on every address of both families."""
    listing = recorded("ss-6.1.0-ietd.txt")
    seen = parse_look(f"457\n{listing}\n{recorded('iet-1.4.20.3-volume.txt')}")
    assert seen.pid == 457
    assert seen.is_ready
    assert seen.listeners == (Listener("0.0.0.0", "ietd"), Listener("[::]", "ietd"))
    assert len(seen.targets) == 3


def test_a_daemon_that_does_not_run() -> None:
    """Nothing listens, nothing is served."""
    seen = parse_look("\n\n")
    assert (seen.pid, seen.listeners, seen.targets, seen.is_ready) == (None, (), (), False)
    assert str(seen) == "ietd does not run"


@pytest.mark.parametrize(
    ("users", "holder"), [('users:(("tgtd",pid=300,fd=6))', "tgtd"), ("", "the kernel")]
)
def test_a_port_that_somebody_else_has(users: str, holder: str) -> None:
    """ietd goes on without it, or with IPv6 alone."""
    seen = parse_look(
        f"457\nLISTEN 0      128        0.0.0.0:3260      0.0.0.0:*    {users}\n"
        'LISTEN 0      32        [::]:3260         [::]:*    users:(("ietd",pid=457,fd=8))\n\n'
    )
    assert not seen.is_ready
    assert str(seen) == f"ietd runs (pid 457); its port is held by {holder}"


def test_a_daemon_that_cannot_be_looked_at() -> None:
    """Its state is not made up."""
    with pytest.raises(TargetError, match="cannot be looked at"):
        parse_look("sh: ss: not found\n")
