"""Several LUNs: what describes them, what serves them, and how the load is shared among them."""

from __future__ import annotations

from typing import Any

import pytest

from harness.config import Config, load
from harness.config.model import WorkloadConfig
from harness.errors import ConfigError, PreflightFailed, Problem
from harness.host.sharing import shared_by
from harness.hypervisor.domain_xml import DISK_SLOTS
from harness.preflight import Answer, Asked
from harness.provision import attach
from harness.target import NoMachine, target_for
from harness.target.base import storage_script
from harness.target.iet.target import wanted_target
from harness.target.lio import render, serving
from harness.target.tgt import target as tgt
from harness.target.tgt.show import ShownLun, ShownTarget
from harness.testbed.guest_disks import disk_names, serials
from harness.testbed.lun_layout import Layout
from harness.topology import Role, plan
from harness.transport import Attachment
from harness.units import KIB, MIB
from harness.workload import Area, Job, JobKind

FOUR = load(None, {"topology": ("luns", "--topology")}).config
ARRAY = {"kind": "external", "iqn": "iqn.2026-01.io.other:array"}
WWIDS = ("360014057043dfe0435de773ca03bbf04", "36001405ab1fe0435de773ca03bbf0400")
ON_BRIDGES = [
    {
        "name": name,
        "subnet": f"10.0.{number}.0/24",
        "portals": [f"10.0.{number}.1"],
        "initiator": f"10.0.{number}.2",
        "bridge": f"br{number}",
    }
    for number, name in enumerate("ab")
]
EACH = [{"wwid": WWIDS[0]}, {"wwid": WWIDS[1], "serial": "7"}]


def array(luns: object = EACH, **target: object) -> Config:
    described = {"target": {**ARRAY, **target}, "luns": luns, "networks": ON_BRIDGES}
    return Config.model_validate(described)


def of_kind(kind: str, **target: object) -> Config:
    return FOUR.model_copy(
        update={"target": FOUR.target.model_copy(update={"kind": kind, **target})}
    )


def test_each_lun_has_an_identity_of_its_own_and_the_first_that_of_the_only_one() -> None:
    """Else a testbed with one LUN would be another than before."""
    luns = plan(FOUR).luns
    assert [lun.name for lun in luns] == ["lun0", "lun1", "lun2", "lun3"]
    assert len({lun.serial for lun in luns}) == 4
    assert luns[0].serial == plan(Config()).luns[0].serial
    for kind in ("lio", "tgt", "iet"):
        wwids = target_for(of_kind(kind).target, NoMachine("x"), plan(FOUR)).wwids
        assert len(set(wwids)) == 4


def test_luns_of_an_array_are_those_that_are_named() -> None:
    target = target_for(array().target, NoMachine("x"), plan(array()))
    assert target.wwids == WWIDS
    assert all(wwid in target.describe() for wwid in WWIDS)
    assert {f"LUN {wwid}" for wwid in WWIDS} <= {str(one.title) for one in shared_by(array())}


@pytest.mark.parametrize(
    ("described", "says"),
    [
        ({"luns": [{}]}, "luns.0.size: is missing"),
        ({"luns": [{"size": "64MiB", "wwid": WWIDS[0]}]}, "luns.0.wwid: kind 'lio' makes its"),
        (
            {"luns": [{"size": "64MiB"}], "target": {"lun_size": "1GB"}},
            "target.lun_size: it is for one LUN",
        ),
        ({"luns": [{"size": "64MiB"}, {"size": "32MiB"}]}, "do not fit the LUN of 32.0 MiB"),
        ({"luns": [{"size": "64MiB"}] * 17}, "at most 16 items"),
        (
            {"luns": [{"size": "64MiB"}] * 12, "target": {"backstore": "block"}},
            "luns: 12, and with target.backstore .* room for 11",
        ),
    ],
)
def test_a_list_that_contradicts_the_target_is_refused(described: Any, says: str) -> None:
    """With its key."""
    with pytest.raises(ValueError, match=says):
        Config.model_validate(described)


@pytest.mark.parametrize(
    ("luns", "target", "says"),
    [
        (EACH, {"wwid": WWIDS[0]}, "target.wwid: it is for one LUN"),
        (EACH, {"serial": "7"}, "target.serial: it is for one LUN"),
        ([{"serial": "7"}], {}, "luns.0.wwid: is missing"),
        ([EACH[0] | {"size": "64MiB"}], {}, "luns.0.size: nothing is configured on an external"),
        ([EACH[0]] * 2, {}, "luns.0.wwid: two LUNs have"),
        ([EACH[1], {"wwid": WWIDS[0], "serial": "7"}], {}, "luns.0.serial: two LUNs have '7'"),
        (
            EACH,
            {"erase": "36001"},
            rf"--erase names 36001, and the WWIDs in .* {WWIDS[0]}, {WWIDS[1]}",
        ),
    ],
)
def test_a_list_that_contradicts_the_array_is_refused(luns: Any, target: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        array(luns, **target)


@pytest.mark.parametrize(("number", "backstore"), [(11, "block"), (16, "fileio")])
def test_a_guest_has_room_for_all_luns_that_are_accepted(number: int, backstore: str) -> None:
    """The system's is one of its disks; LUNs in files are not counted."""
    described = {"luns": [{"size": "64MiB"}] * number, "target": {"backstore": backstore}}
    config = Config.model_validate(described)
    assert len(serials(Role.TARGET, config.target, plan(config))) <= len(DISK_SLOTS)


def test_a_ready_topology_with_luns_takes_no_others(tmp_path: Any) -> None:
    """One without takes them."""
    file = tmp_path / "own.toml"
    file.write_text('[[luns]]\nsize = "64MiB"\n')
    with pytest.raises(ConfigError, match="topology: 'luns' has its own"):
        load(file, {"topology": ("luns", "--topology")})
    assert len(load(file, {"topology": ("two", "--topology")}).config.luns) == 1


def test_lio_serves_every_lun_from_a_file_of_its_own() -> None:
    saved = render(serving(FOUR.target, plan(FOUR)))
    files = [f"/srv/pathproof/lun{number}.img" for number in range(4)]
    assert [one["dev"] for one in saved["storage_objects"]] == files
    assert [one["wwn"] for one in saved["storage_objects"]] == [
        one.serial for one in plan(FOUR).luns
    ]
    (group,) = saved["targets"][0]["tpgs"]
    assert [lun["index"] for lun in group["luns"]] == [0, 1, 2, 3]
    assert [lun["tpg_lun"] for lun in group["node_acls"][0]["mapped_luns"]] == [0, 1, 2, 3]
    script = storage_script(FOUR.target, plan(FOUR))
    assert all(f"truncate -s {256 * MIB} {file}\n" in script for file in files)


def test_iet_serves_every_lun() -> None:
    units = wanted_target(of_kind("iet").target, plan(FOUR)).units
    assert [unit.number for unit in units] == [0, 1, 2, 3]
    assert len({(unit.path, unit.scsi_id, unit.scsi_sn) for unit in units}) == 4


def shown(*numbers: int) -> ShownTarget:
    """As tgtd would show these of the LUNs."""
    topology = plan(FOUR)
    luns = tuple(
        ShownLun(
            number + 1,
            "disk",
            tgt.scsi_id(topology.luns[number]),
            topology.luns[number].serial,
            True,
            "rdwr",
            f"/srv/pathproof/lun{number}.img",
        )
        for number in numbers
    )
    own = ShownLun(0, "controller", "", "", True, "null", "None")
    return ShownTarget(1, topology.target_iqn, "ready", (own, *luns), (), (topology.initiator_iqn,))


def test_tgt_serves_every_lun_and_is_compared_for_each() -> None:
    """From number 1 on: 0 is tgt's own controller."""
    config, topology = of_kind("tgt").target, plan(FOUR)
    made = [c for c in tgt.serving(config, topology) if "logicalunit" in c and "new" in c]
    assert [command[command.index("--lun") + 1] for command in made] == ["1", "2", "3", "4"]
    assert tgt.differences(config, topology, [shown(0, 1, 2, 3)]) == []
    assert "LUNs is [1, 2, 3], not [1, 2, 3, 4]" in tgt.differences(
        config, topology, [shown(0, 1, 2)]
    )


def test_a_disk_for_each_lun_where_luns_are_disks() -> None:
    """And with files the one that is always there."""
    blocks = of_kind("lio", backstore="block").target
    names = ("system", "lun0", "lun1", "lun2", "lun3")
    assert serials(Role.TARGET, blocks, plan(FOUR)) == names
    assert disk_names(Role.TARGET, blocks, plan(FOUR)) == ("vda", "vdb", "vdc", "vdd", "vde")
    assert serials(Role.TARGET, FOUR.target, plan(FOUR)) == names[:2]
    assert serials(Role.INITIATOR, blocks, plan(FOUR)) == ("system",)
    assert storage_script(blocks, plan(FOUR)).count("/cache_type\n") == 4


def test_the_load_of_all_luns_is_that_of_one() -> None:
    """So what is read lasts as long, and what is written is written again as soon."""
    one, four = Layout.of(WorkloadConfig()), Layout.of(WorkloadConfig(), 4)
    for alone, shared in zip(one.mixed(1), four.mixed(1), strict=True):
        mine = shared.shared_by(4)
        assert alone.pace is not None
        assert mine.pace is not None
        assert mine.pace == pytest.approx(alone.pace / 4, rel=0.05)
        assert alone.area.size / alone.pace == pytest.approx(mine.area.size / mine.pace, rel=0.05)
    assert four.write_area.end <= WorkloadConfig().region


def test_the_probe_stays_fine_enough_and_what_is_not_paced_stays_so() -> None:
    """With 16 LUNs it would be blind for more than 0.1 s."""
    probe = Layout.of(WorkloadConfig(), 16).probe(1.0, 1)
    assert probe.shared_by(16).iops == 20
    load = Job("load", JobKind.READ, Area(0, MIB), 64 * KIB, 8)
    assert load.shared_by(4) == load


def test_every_lun_is_claimed_whatever_becomes_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Data may be lost on the one that --erase names, and on no other."""
    asked: list[Asked] = []

    def claim(_: object, one: Asked) -> Answer:
        asked.append(one)
        if one.erase is None:
            raise PreflightFailed([Problem(f"{one.wwid} has data", "--erase")])
        return Answer.ERASE

    monkeypatch.setattr(attach, "claim", claim)
    config = array(erase=WWIDS[1])
    both: Any = [Attachment] * 2
    with pytest.raises(PreflightFailed) as caught:
        attach.claim_each(both, config)
    assert [problem.cause for problem in caught.value.problems] == [f"{WWIDS[0]} has data"]
    assert [(one.wwid, one.erase) for one in asked] == [(WWIDS[0], None), (WWIDS[1], WWIDS[1])]
