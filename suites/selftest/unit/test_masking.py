"""What a target shows to which initiator: asked for, compared on the target, and preflighted."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.config import Config
from harness.config.ready import ready_topologies
from harness.errors import InitiatorError, PreflightFailed
from harness.preflight import run
from harness.preflight.masking import (
    Masking,
    SeenDisk,
    masking_for,
    masking_problems,
    parse_disks,
)
from harness.preflight.nics import nic_problems
from harness.target import LioTarget
from harness.target.lio import serving
from harness.target.lio.look import differences
from harness.target.lio.saveconfig import render
from harness.target.tgt import target as tgt
from harness.topology import plan
from harness.transport import Fitness
from suites.selftest.unit.scripted_machine import Answer, ScriptedMachine

CONFIG = Config.model_validate(ready_topologies()["two-initiators"])
TWO = plan(CONFIG)
LIO = LioTarget(CONFIG.target, ScriptedMachine(lambda _: Answer()), TWO)
WWIDS = [LIO.wwid_of(lun) for lun in TWO.luns]


def acls() -> dict[str, list[tuple[int, bool]]]:
    (group,) = render(serving(CONFIG.target, TWO))["targets"][0]["tpgs"]
    return {
        acl["node_wwn"].rpartition(":")[2]: [
            (one["tpg_lun"], one["write_protect"]) for one in acl["mapped_luns"]
        ]
        for acl in group["node_acls"]
    }


def test_lio_shows_each_initiator_its_luns_and_protects_what_it_only_reads() -> None:
    assert acls() == {
        "initiator": [(0, False), (2, False)],
        "initiator-second": [(1, False), (2, True)],
    }


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"lun_2 write protect": "0"}, "lun_2 write protect is 0, not 1"),
        ({"lun_0 write protect": "0"}, "lun_0 write protect is more than was asked for"),
        ({"lun_1 write protect": None}, "lun_1 write protect is missing, not 0"),
    ],
)
def test_what_lio_maps_otherwise_is_told(changed: dict[str, Any], says: str) -> None:
    """Both ways: an initiator that sees too much, and one that sees too little."""
    wanted = serving(CONFIG.target, TWO)
    told = [one.partition(" is ") for one in differences(wanted, {})]
    running: dict[str, str | None] = {key: v.partition(", not ")[2] for key, _, v in told}
    assert differences(wanted, cast(Any, running)) == []
    name = f"1 acl {TWO.of('second').initiator_iqn}"
    running |= {f"{name} {key}": value for key, value in changed.items()}
    known = {key: value for key, value in running.items() if value is not None}
    assert differences(wanted, known) == [f"{name} {says}"]


def test_tgt_admits_every_initiator() -> None:
    """By name; it cannot show them different LUNs."""
    config = Config.model_validate(
        {
            "target": {"kind": "tgt"},
            "initiators": [
                {"name": "second", "addresses": {"a": "172.16.0.102", "b": "172.16.1.102"}}
            ],
        }
    )
    commands = tgt.serving(config.target, plan(config))
    assert [one[-1].rpartition(":")[2] for one in commands if "bind" in one] == [
        "initiator",
        "initiator-second",
    ]


def disk(name: str, lun: int, *, read_only: bool = False) -> SeenDisk:
    return SeenDisk(name, read_only, f"naa.{WWIDS[lun][1:]}")


SEEN = (
    *(disk("sda", 1), disk("sdb", 2, read_only=True)),
    *(disk("sdc", 1), disk("sdd", 2, read_only=True)),
)


def masking() -> Masking:
    found = masking_for("second", LIO)
    assert found is not None
    return found


def causes(*disks: SeenDisk) -> list[str]:
    return [problem.cause for problem in masking_problems(masking(), disks)]


def test_there_is_nothing_to_mask_from_a_single_initiator() -> None:
    """It sees every LUN, and no command is spent on it."""
    only = LioTarget(Config().target, LIO.machine, plan(Config()))
    assert masking_for("initiator", only) is None
    assert masking().shown == {WWIDS[1]: False, WWIDS[2]: True}
    assert masking().hidden == {WWIDS[0]: "lun0"}


def test_what_is_shown_as_planned_is_no_problem() -> None:
    """Nor is a disk of somebody else one."""
    assert causes(*SEEN, SeenDisk("sde", True, "t10.ATA")) == []


def test_a_lun_that_is_masked_and_seen_is_told() -> None:
    """With the disks that it is."""
    (cause,) = causes(*SEEN, disk("sde", 0))
    assert cause.startswith(f"initiator second sees lun0 ({WWIDS[0]}) over sde, which is masked")


def test_write_protection_that_is_not_as_planned_is_told() -> None:
    """Writes of one that should only read would be read as damage by the other."""
    seen = (SEEN[0], disk("sdb", 2), disk("sdc", 1, read_only=True), SEEN[3])
    assert causes(*seen) == [
        f"sdc of initiator second is write-protected, and the LUN {WWIDS[1]} it may write to",
        f"sdb of initiator second can be written to, and the LUN {WWIDS[2]} is read-only for it",
    ]


def test_disks_are_read_as_sysfs_has_them() -> None:
    """The two lines were taken from an initiator with Linux 6.1; a disk may have no identity."""
    text = (
        "sda 0 naa.60014050e195342c9a00609dd88b778a\nsdb 1 naa.6001405aa66d3a0b59e1958aa40833f1\n"
    )
    first, second = parse_disks(text)
    assert first == SeenDisk("sda", False, "naa.60014050e195342c9a00609dd88b778a")
    assert second.is_lun("36001405aa66d3a0b59e1958aa40833f1")
    assert not first.is_lun("36001405aa66d3a0b59e1958aa40833f1")
    assert parse_disks("sdc 0 \n") == (SeenDisk("sdc", False, ""),)
    with pytest.raises(InitiatorError, match="'sdc '"):
        parse_disks("sdc \n")


def test_what_an_initiator_sees_stops_the_preflight() -> None:
    """Also where sessions, paths and maps are as planned."""
    said = "sda 0 " + SEEN[1].identity
    machine = ScriptedMachine(lambda _: Answer(said))
    initiator: Any = SimpleNamespace(
        machine=machine,
        topology=TWO.of("second"),
        wwids=tuple(WWIDS[1:]),
        fitness=lambda _: Fitness(),
        look_yourself="",
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(run, "_UNCHANGED_S", 0.01)
        with pytest.raises(PreflightFailed, match="sda of initiator second can be written to"):
            run.require_fit(initiator, masking=masking())


def test_a_further_initiator_is_told_by_its_name() -> None:
    """Else nobody knew which machine to look at."""
    topology = TWO.of("second")
    names = {nic.name: f"eth{nic.name[-1]}" for nic in topology.nics("second")}
    problems = list(nic_problems("second", topology, names, ()))
    assert [problem.cause for problem in problems] == [
        "initiator second has no device etha, its NIC second-a",
        "initiator second has no device ethb, its NIC second-b",
    ]
