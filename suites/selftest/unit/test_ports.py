"""Leases of ports, with real processes and sockets."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import harness
from harness.errors import HypervisorError
from harness.hypervisor import ports
from harness.hypervisor.ports import CANDIDATES, PORTS_IN_USE, free_candidates, lease_ports

LEASE_UNTIL_TOLD = """
import json, sys
from harness.hypervisor.ports import lease_ports
with lease_ports(int(sys.argv[1])) as leased:
    print(json.dumps(leased), flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_process_leasing(count: int) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    with subprocess.Popen(
        [sys.executable, "-c", LEASE_UNTIL_TOLD, str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(harness.__file__).parent.parent,
    ) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()


def one_free_port() -> int:
    with lease_ports(1) as (port,):
        return port


def test_two_processes_never_get_the_same_port() -> None:
    with (
        another_process_leasing(40) as (_, theirs),
        another_process_leasing(40) as (_, others),
        lease_ports(40) as own,
    ):
        assert len({*theirs, *others, *own}) == 120


def test_a_leased_port_is_refused_until_its_owner_is_killed() -> None:
    with another_process_leasing(1) as (owner, [port]):
        with pytest.raises(HypervisorError, match="0 were found among 1"), lease_ports(1, [port]):
            pass
        owner.kill()
        owner.wait()
        with lease_ports(1, [port]) as leased:
            assert leased == (port,)


def test_a_port_in_use_is_passed_over_even_if_its_user_would_share_it() -> None:
    port = one_free_port()
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as qemu:
        qemu.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        qemu.bind(("127.0.0.1", port))
        with pytest.raises(HypervisorError, match="free ports"), lease_ports(1, [port]):
            pass


def test_leased_ports_can_be_opened_by_a_guest() -> None:
    with lease_ports(2) as leased:
        for port in leased:
            with socket.create_server(("127.0.0.1", port)):
                pass


def test_a_port_that_only_udp_uses_is_free() -> None:
    """Cables and SSH are TCP; both kinds have numbers of their own."""
    port = one_free_port()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", port))
        with lease_ports(1, [port]) as leased:
            assert leased == (port,)
        listed = subprocess.run(PORTS_IN_USE, capture_output=True, text=True, check=True).stdout
        assert port in free_candidates(listed)


def test_the_kernels_own_range_is_the_last_resort(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = one_free_port()
    setting = tmp_path / "ip_local_port_range"
    monkeypatch.setattr(ports, "_EPHEMERAL", setting)
    setting.write_text(f"{first}\t{first}\n")
    order = list(ports._in_search_order(range(first - 1, first + 2)))
    assert sorted(order[:2]) == [first - 1, first + 1]
    assert order[2:] == [first]


def test_no_port_is_leased_twice_by_one_process() -> None:
    with lease_ports(5) as some, lease_ports(5) as more:
        assert len({*some, *more}) == 10


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_ports_that_a_host_lists_are_no_candidates(family: socket.AddressFamily) -> None:
    """A socket of [::] takes the port of 127.0.0.1, too."""
    port = one_free_port()
    with socket.socket(family, socket.SOCK_STREAM) as taken:
        taken.bind(("", port))
        taken.listen()
        listed = subprocess.run(PORTS_IN_USE, capture_output=True, text=True, check=True).stdout
    free = free_candidates(listed)
    assert port not in free
    assert len(free) > len(CANDIDATES) / 2


def test_all_candidates_are_free_where_nothing_listens() -> None:
    header = "  sl  local_address rem_address   st tx_queue rx_queue\n"
    assert free_candidates(header) == list(CANDIDATES)
