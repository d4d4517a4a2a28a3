"""LIO: the WWID that its units will have, and the saved form of its configuration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.config import Config
from harness.config.model import TargetConfig
from harness.target.lio import BACKING_FILE, render, wwid_of
from harness.topology import plan

RECORDED = Path(__file__).parent / "recorded"


def test_the_wwid_is_known_before_anything_runs() -> None:
    """It is the one under which the built-in testbed's map really appeared."""
    listed = (RECORDED / "multipath-0.9.4-ll.txt").read_text().split()[0]
    assert wwid_of(plan(Config()).lun.serial) == listed


def test_the_wwid_is_what_sysfs_shows() -> None:
    """There with "naa." where multipath-tools put a 3."""
    line = (RECORDED / "pathproof-sessions-linux-6.1.txt").read_text().strip()
    assert "naa." + wwid_of(plan(Config()).lun.serial)[1:] == line.split("|")[-1]


@given(st.uuids())
def test_a_serial_may_be_a_uuid_with_its_dashes(uuid: object) -> None:
    """LIO skips what is no digit; what remains is 16 bytes of NAA type 6."""
    wwid = wwid_of(str(uuid))
    assert wwid == wwid_of(str(uuid).replace("-", ""))
    assert wwid.startswith("36001405")
    assert len(bytes.fromhex(wwid[1:])) == 16


@pytest.mark.parametrize("backstore", ["fileio", "block"])
def test_every_reference_in_the_configuration_leads_somewhere(backstore: str) -> None:
    """LUN to storage object, mapped LUN to LUN; rtslib drops what dangles and goes on."""
    topology = plan(Config())
    saved = json.loads(json.dumps(render(topology, backstore)))
    (storage,), (target,) = saved["storage_objects"], saved["targets"]
    (group,) = target["tpgs"]
    assert group["luns"][0]["storage_object"] == f"/backstores/{storage['plugin']}/lun0"
    assert storage["name"] == "lun0"
    (acl,) = group["node_acls"]
    assert acl["mapped_luns"][0]["tpg_lun"] == group["luns"][0]["index"]
    assert acl["node_wwn"] == topology.initiator_iqn
    assert target["wwn"] == topology.target_iqn
    assert group["enable"] is True


def test_the_serial_is_pinned() -> None:
    """Otherwise LIO makes one up, and the map gets another name at every start."""
    topology = plan(Config())
    assert render(topology, "fileio")["storage_objects"][0]["wwn"] == topology.lun.serial


def test_only_the_one_initiator_is_let_in() -> None:
    """No access for whoever comes along."""
    attributes = render(plan(Config()), "fileio")["targets"][0]["tpgs"][0]["attributes"]
    assert attributes == {"authentication": 0, "generate_node_acls": 0}


def test_acknowledged_means_written() -> None:
    """A file is opened write-through, or a power loss would lose what was acknowledged."""
    (storage,) = render(plan(Config()), "fileio")["storage_objects"]
    assert storage["write_back"] is False
    assert storage["dev"] == BACKING_FILE
    assert storage["size"] == Config().target.lun_size


def test_there_is_a_portal_per_fabric_and_no_other() -> None:
    """Listening everywhere would let one fabric answer for the other."""
    topology = plan(Config(target=TargetConfig(port=3261)))
    portals = render(topology, "block")["targets"][0]["tpgs"][0]["portals"]
    assert [(p["ip_address"], p["port"]) for p in portals] == [
        ("172.16.0.1", 3261),
        ("172.16.1.1", 3261),
    ]
