"""Addresses and subnets that no network of a testbed can have, and names of what it is on."""

from __future__ import annotations

from pathlib import Path

import pytest

from suites.selftest.unit.config_file import OTHER, VIA, complaint, loaded, network, routed


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without anybody's pathproof.toml."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("address", "subnet", "says"),
    [
        ("fe80::1", "fe80::/64", "fe80::1 is link-local, and needs a NIC's name beside it"),
        ("fe80::1%eth0", "fe80::/64", "fe80::1%eth0 is link-local"),
        ("fd00::1%eth0", "fd00::/64", "fd00::1%eth0 names a zone; leave %eth0 out"),
        ("::ffff:10.1.0.1", "::ffff:a01:0/120", "stands for an address of IPv4; write 10.1.0.1"),
        ("ff05::1", "ff05::/64", "ff05::1 is a multicast address"),
        ("224.0.1.1", "224.0.1.0/24", "224.0.1.1 is a multicast address"),
        ("127.0.0.2", "127.0.0.0/24", "127.0.0.2 is a loopback address"),
        ("::1", "::/64", "::1 is a loopback address"),
        ("0.0.0.0", "0.0.0.0/31", "0.0.0.0 is the address of no machine"),
        ("255.255.255.255", "255.255.255.254/31", "255.255.255.255 is the address of no machine"),
    ],
)
def test_an_address_that_no_nic_can_have_is_refused(address: str, subnet: str, says: str) -> None:
    """At either end, and also behind a router."""
    assert says in complaint(network(f'"{address}"', subnet=subnet) + OTHER)
    assert says in complaint(network('"10.1.0.1"', f'"{address}"') + OTHER)
    assert says in complaint(routed(address, "10.1.0.1") + OTHER)


def test_addresses_of_arrays_as_they_are_shipped_are_taken() -> None:
    """IPv4 can have link-local ones without a NIC's name beside them."""
    shipped = network('"169.254.10.1"', '"169.254.10.2"', subnet="169.254.10.0/24")
    assert len(loaded(shipped + OTHER).config.networks) == 2


MANAGED = (
    network('"10.0.2.1"', '"10.0.2.101"', subnet="10.0.2.0/24"),
    network('"10.0.2.1"', subnet="10.0.0.0/14"),
    network('"10.1.0.1"', '"10.0.2.101"', subnet="10.0.0.0/14"),
    network(VIA.format("10.0.2.1", "10.1.0.1")),
)


@pytest.mark.parametrize("described", MANAGED)
def test_no_address_is_where_vms_are_managed(described: str) -> None:
    """They would look for it over the wrong NIC, and may even get an answer."""
    other = network('"10.9.0.1"', '"10.9.0.101"', name="b", subnet="10.9.0.0/24")
    assert "is in 10.0.2.0/24, by which each VM is managed" in complaint(described + other)
    own = 'target.kind = "external"\ninitiator.machine = "local"\n'
    assert len(loaded(own + described + other).config.networks) == 2


def test_further_initiators_are_managed_by_that_subnet_too() -> None:
    second = '[[initiators]]\nname = "second"\naddresses = { a = "10.0.2.9", b = "10.9.0.102" }\n'
    wide = network('"10.1.0.1"', subnet="10.0.0.0/14")
    other = network('"10.9.0.1"', '"10.9.0.101"', name="b", subnet="10.9.0.0/24")
    assert "network a: 10.0.2.9 is in 10.0.2.0/24" in complaint(wide + other + second)


@pytest.mark.parametrize("key", ["bridge", "libvirt_network"])
def test_what_a_network_is_on_has_a_name(key: str) -> None:
    """With none it would be cables."""
    text = complaint(network('"10.1.0.1"') + f'{key} = ""\n' + OTHER)
    assert text == f"own.toml: network a, {key}: must not be empty (got '')"


def test_a_subnet_has_the_length_of_its_prefix() -> None:
    """Else no address would be in it, and a router be thought of."""
    text = complaint(network('"10.1.0.1"', subnet="10.1.0.0") + OTHER)
    says = "'10.1.0.0' has no prefix length; write it as 172.16.0.0/24"
    assert text == f"own.toml: network a, subnet: {says}"
