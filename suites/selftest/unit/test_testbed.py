"""What a testbed knows of its sessions and paths, which are not the same for ever."""

from __future__ import annotations

from ipaddress import IPv4Address
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.config import Config
from harness.config.model import FAST
from harness.initiator import Initiator
from harness.initiator.initiator import Path
from harness.initiator.sysfs import Session
from harness.observe import Watch
from harness.testbed.testbed import Testbed
from harness.topology import Role, plan
from suites.selftest.unit.scripted_machine import Answer, ScriptedMachine

FIRST, SECOND = Path("sda", "8:0", "a"), Path("sdb", "8:16", "b")
BACK = Path("sdc", "8:32", "b")


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
        paths=(FIRST, SECOND),
        environment={},
        console=str,
    )


class Devices:
    """As much of an initiator as knows of sessions."""

    device = "/dev/mapper/x"
    wwid = "36001405abc"

    def __init__(self) -> None:
        self.told: list[str] = []
        self._topology = plan(Config())
        machine = ScriptedMachine(lambda _: Answer())
        self.settings_of = Initiator(machine, self._topology, FAST, "3600").settings_of

    def paths(self) -> tuple[Path, ...]:
        """The second came back under another name."""
        return (FIRST, BACK)

    def take_path_away(self, name: str) -> None:
        self.told.append(f"without {name}")

    def give_path_back(self, name: str) -> None:
        self.told.append(f"with {name}")

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


def test_a_path_that_came_back_is_known_by_its_new_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """From when the testbed is made ready; the observer then watches it, and it is proven."""
    watched: list[Watch] = []
    proven: list[str] = []
    bed = bed_of(Devices(), SimpleNamespace(watch=watched.append))
    bed.map.paths = (FIRST, SECOND)
    monkeypatch.setattr(bed, "heal", lambda: None)
    monkeypatch.setattr(bed, "preflight", lambda: None)
    monkeypatch.setattr(bed.map, "wait_for_paths", lambda **_: None)
    monkeypatch.setattr(bed, "prove_target", lambda: proven.extend(p.name for p in bed.map.paths))
    bed.make_ready()
    assert bed.map.paths == (FIRST, BACK)
    assert [what.disks for what in watched] == [("sda", "sdc")]
    assert proven == ["sda", "sdc"]
    bed.make_ready()
    assert len(watched) == 1  # nothing else is there to be watched


def test_the_path_that_is_taken_away_is_the_one_that_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its old name may be that of a disk of somebody else."""
    devices = Devices()
    bed = bed_of(devices)
    monkeypatch.setattr(bed.map, "wait_for_paths", lambda **_: None)
    with bed.without_path("b"):
        assert devices.told == ["without sdc"]
    assert devices.told == ["without sdc", "with sdc"]
