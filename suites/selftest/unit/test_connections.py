"""What `ss` says of connections, and which are those of a path."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest

from harness.config import Config, load
from harness.faults.connections import Connection, of_paths, parse_connections
from harness.topology import Role, plan

RECORDED = Path(__file__).parent / "recorded" / "ss-6.1.0-established.txt"
TWO = plan(Config())


def test_recorded_connections_have_their_ends_and_counts() -> None:
    """What is zero is not printed."""
    loopback = ip_address("127.0.0.1")
    assert parse_connections(RECORDED.read_text()) == [
        Connection((loopback, 48064), (loopback, 20619), 5.041, acknowledged=11881, sent=95),
        Connection(
            (loopback, 46150),
            (loopback, 20621),
            0.433,
            acknowledged=66736679,
            sent=38744,
            retransmitted=1,
            duplicates=1,
        ),
    ]


def line(local: str, peer: str, more: str = "") -> str:
    return f"0 0 {local} {peer} cubic rto:204 rtt:51.5/3 bytes_acked:7 {more} rcv_space:1"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("172.16.0.101:40312", "172.16.0.101"),
        ("172.16.0.101%ens16:40312", "172.16.0.101"),
        ("[2001:db8::101]:40312", "2001:db8::101"),
        ("[2001:db8::101]%ens16.7:40312", "2001:db8::101"),
        ("[fe80::1%ens16]:40312", "fe80::1"),
        ("[::ffff:172.16.0.101]:40312", "172.16.0.101"),
    ],
)
def test_an_end_is_an_address_and_a_port(text: str, address: str) -> None:
    """Whichever NIC it is bound to."""
    (found,) = parse_connections(line(text, "172.16.0.1:3260"))
    assert found.local == (ip_address(address), 40312)
    assert found.round_trip_ms == 51.5


@pytest.mark.parametrize("text", ["", "0 0 *:1 *:2 rtt:1/1", "0 0 10.0.0.1:1 10.0.0.2:2", "x"])
def test_what_has_no_figures_is_left_out(text: str) -> None:
    """A connection that was just made has none; a family without addresses is none of ours."""
    assert parse_connections(f"{text}\n") == []


def test_counts_are_read_by_their_names() -> None:
    """Not as parts of others, such as `bytes_retrans`."""
    more = "segs_out:99 data_segs_out:7 bytes_retrans:99 retrans:3/12 dsack_dups:4 reord_seen:5"
    (found,) = parse_connections(line("10.0.0.1:1", "10.0.0.2:2", more))
    assert (found.sent, found.retransmitted) == (7, 12)
    assert (found.duplicates, found.reordered) == (4, 5)


@pytest.mark.parametrize(("topology", "bare"), [("two", "{}"), ("ipv6", "[{}]")])
def test_a_paths_connection_is_known_at_either_end(topology: str, bare: str) -> None:
    """By the portal and the link's address; another port is another service."""
    planned = plan(load(None, {"topology": (topology, "--topology")}).config)
    path, other = planned.paths[:2]
    here, there = bare.format(path.link.address), bare.format(path.portal.portal.address)
    from_here = f"{here}%ens16:40312", f"{there}:3260"
    for at, ends in ((Role.INITIATOR, from_here), (Role.TARGET, from_here[::-1])):
        connections = parse_connections(line(*ends))
        assert of_paths(connections, [path], at) == connections
        assert of_paths(connections, [other], at) == []
    elsewhere = parse_connections(line(f"{here}:40312", f"{there}:22"))
    assert of_paths(elsewhere, [path], Role.INITIATOR) == []
