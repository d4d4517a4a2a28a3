"""Links of an existing machine that end at one NIC: a real kernel tells of its devices.

In a network namespace of this host, and in a guest, whose kernel has every type of device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from harness.errors import InitiatorError
from harness.machine import Machine, Process
from harness.provision.existing import nics_of
from harness.testbed import Testbed
from harness.topology import Role
from suites.selftest import needs
from suites.selftest.wiring.namespace import namespace
from suites.selftest.wiring.stacked import (
    ADDRESSES,
    APART,
    ON_ONE_NIC,
    PLANNED,
    NoSuchDevice,
    stacked,
)


def require_found(machine: Machine, name: str) -> None:
    """Two links of that name are refused, with the devices and the NIC."""
    made, devices = ON_ONE_NIC[name]
    with stacked(machine, made, devices), pytest.raises(InitiatorError) as refused:
        nics_of(machine, PLANNED)
    message = refused.value.message
    for address, device in zip(ADDRESSES, devices, strict=True):
        assert f"{address.partition('/')[0]} on {device} (link " in message
    assert "all made on the same NIC" in message
    assert "nic0" in message


def require_accepted(machine: Machine, name: str) -> None:
    """Two links of that name have a NIC each."""
    made, devices = APART[name]
    with stacked(machine, made, devices):
        assert nics_of(machine, PLANNED) == dict(zip("ab", devices, strict=True))


@pytest.mark.parametrize("name", [*ON_ONE_NIC, *APART])
def test_links_are_told_apart_in_a_namespace(name: str) -> None:
    """Paths of links that end at one NIC would be called independent, and are lost together."""
    if why := needs.no_namespaces():
        pytest.skip(why)
    with namespace("lab") as machine:
        for number in range(2):
            machine.sh(f"ip link add nic{number} type veth peer name far{number}")
        try:
            (require_found if name in ON_ONE_NIC else require_accepted)(machine, name)
        except NoSuchDevice:
            pytest.skip(needs.STACKED_DEVICES)


class InNamespace(Machine):
    """A network namespace of another machine; ip-netns(8) gives it a sysfs of its own."""

    def __init__(self, outside: Machine) -> None:
        super().__init__(outside.name)
        self._outside = outside

    def start(
        self, argv: Sequence[str], *, on_line: Callable[[bytes], None] | None = None
    ) -> Process:
        return self._outside.start(["ip", "netns", "exec", "lab", *argv], on_line=on_line)

    def close(self) -> None:
        """The machine outside is closed by whoever reached it."""


def test_links_are_told_apart_in_a_guest(testbed: Testbed) -> None:
    """Paths that share a NIC are found with its cause, whatever is made on the NIC."""
    guest = testbed.machine(Role.INITIATOR)
    guest.run(["ip", "netns", "add", "lab"])
    machine = InNamespace(guest)
    try:
        for number in range(2):
            machine.sh(f"ip link add nic{number} type veth peer name far{number}")
        for name in ON_ONE_NIC:
            require_found(machine, name)
        for name in APART:
            require_accepted(machine, name)
    finally:
        guest.run(["ip", "netns", "delete", "lab"])
