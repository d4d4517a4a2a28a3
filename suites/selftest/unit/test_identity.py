"""Which LUN a disk is: what it says of itself, without what it says of the port."""

from __future__ import annotations

import pytest

from harness.workload.identity import designators, identity

# Page 83h of a LUN of LIO over one of its portals: NAA and T10 vendor ID of the LUN, then the
# relative port, the port group and the name of the port (SPC-4, 7.8.6).
NAA = "010300106001405c1a7e5b1d2f3a4b5c6d7e8f90"
T10 = "020100084c494f2d4f524700"
PORT = "0114000400000001"
GROUP = "0115000400000000"
TARGET = "5328000c69716e2e323030332d303100"


def page(*parts: str) -> bytes:
    body = bytes.fromhex("".join(parts))
    return bytes([0, 0x83]) + len(body).to_bytes(2, "big") + body


def test_names_of_the_port_are_not_those_of_the_lun() -> None:
    """Each path has others."""
    other_port = "0114000400000002"
    one, other = page(NAA, T10, PORT, GROUP, TARGET), page(NAA, T10, other_port, GROUP)
    assert designators(one) == designators(other)
    assert designators(one) == ["1:4c494f2d4f524700", "3:6001405c1a7e5b1d2f3a4b5c6d7e8f90"]


def test_a_port_that_an_array_calls_the_luns_own_is_none() -> None:
    """A relative port and a port group, both with the association of a LUN."""
    own_port, own_group = "0104000400000001", "0105000400000007"
    assert designators(page(NAA, own_port, own_group)) == designators(page(NAA))


def test_a_name_that_was_cut_off_is_none() -> None:
    """The page says that it is longer than what the device gave."""
    assert designators(page(NAA, T10)[:-4]) == ["3:6001405c1a7e5b1d2f3a4b5c6d7e8f90"]


def test_another_lun_has_another_name() -> None:
    other = NAA[:-2] + "91"
    assert designators(page(NAA, PORT)) != designators(page(other, PORT))


def test_a_device_that_knows_no_scsi_is_an_error() -> None:
    with pytest.raises(OSError, match="ioctl"):
        identity("/dev/null")
