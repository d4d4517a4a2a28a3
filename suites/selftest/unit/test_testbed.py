"""What a testbed knows of its sessions and paths, which are not the same for ever."""

from __future__ import annotations

from ipaddress import IPv4Address
from types import SimpleNamespace
from typing import Any, cast

from harness.config import Config
from harness.config.model import FAST
from harness.initiator import Initiator
from harness.initiator.initiator import Path
from harness.initiator.sysfs import Session
from harness.testbed.testbed import Testbed
from harness.topology import Role, plan
from suites.selftest.unit.scripted_machine import Answer, ScriptedMachine


def bed_of(initiator: object, observer: object = None) -> Testbed:
    """With these, and nothing else."""
    config = Config()
    fabrics = plan(config).fabrics
    guest = SimpleNamespace(observer=observer, nics={one.name: f"eth{one.name}" for one in fabrics})
    return Testbed(
        config,
        plan(config),
        guests={Role.INITIATOR: cast(Any, guest)},
        target=cast(Any, None),
        initiator=cast(Any, initiator),
        paths=(Path("sda", "8:0", "a"), Path("sdb", "8:16", "b")),
        environment={},
        console=str,
    )


class Devices:
    """As much of an initiator as knows of sessions."""

    device = "/dev/mapper/x"

    def __init__(self) -> None:
        self._topology = plan(Config())
        machine = ScriptedMachine(lambda _: Answer())
        self.settings_of = Initiator(machine, self._topology, FAST, "3600").settings_of

    def sessions(self) -> list[Session]:
        portals = [one.portal.address for one in self._topology.fabrics]
        addresses: list[IPv4Address | str] = ["2001:db8::2", *portals]
        return [
            Session(f"session{n}", "iqn.x", "LOGGED_IN", address, 1, 1, 1, None, ())
            for n, address in enumerate(addresses)
        ]


def test_sessions_on_no_fabric_have_no_settings_here() -> None:
    """Of them the preflight tells; one that comes up later costs no measurement."""
    seen = bed_of(Devices()).session_settings()
    assert [one.fabric for one in seen] == ["a", "b"]
