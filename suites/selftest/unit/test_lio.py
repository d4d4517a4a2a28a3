"""LIO: the WWID that its units will have, and the saved form of its configuration."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.config import Config
from harness.config.credentials import ChapConfig
from harness.target.base import backing_file
from harness.target.lio import AccessState, Serving, one_group_each, render, serving, wwid_of
from harness.target.lio.look import LOOK, differences, expected, parse_look
from harness.topology import plan

RECORDED = Path(__file__).parent / "recorded"


def test_the_wwid_is_known_before_anything_runs() -> None:
    """It is the one under which the built-in testbed's map really appeared."""
    listed = (RECORDED / "multipath-0.9.4-ll.txt").read_text().split()[0]
    assert wwid_of(plan(Config()).luns[0].serial) == listed


def test_the_wwid_is_what_sysfs_shows() -> None:
    """There with "naa." where multipath-tools put a 3."""
    line = (RECORDED / "pathproof-sessions-linux-6.1.txt").read_text().strip()
    assert "naa." + wwid_of(plan(Config()).luns[0].serial)[1:] == line.split("|")[-1]


@given(st.uuids())
def test_a_serial_may_be_a_uuid_with_its_dashes(uuid: object) -> None:
    """LIO skips what is no digit; what remains is 16 bytes of NAA type 6."""
    wwid = wwid_of(str(uuid))
    assert wwid == wwid_of(str(uuid).replace("-", ""))
    assert wwid.startswith("36001405")
    assert len(bytes.fromhex(wwid[1:])) == 16


def configured(**target: Any) -> Serving:
    config = Config.model_validate({"target": target})
    return serving(config.target, plan(config))


def with_controllers(first: str, second: str, *controllers: dict[str, str]) -> Serving:
    """With the portals of both networks on controllers of these names."""
    networks = Config().model_dump()["networks"]
    for network, controller in zip(networks, (first, second), strict=True):
        network["portals"][0]["controller"] = controller
    config = Config.model_validate({"networks": networks, "controllers": controllers})
    return serving(config.target, plan(config))


def test_groups_are_by_controller() -> None:
    """An access state is that of a group, so each controller's portals are in one of their own."""
    assert [group.alua for group in configured().groups] == [AccessState.OPTIMIZED]
    slow = {"name": "c2", "access_state": "non-optimized"}
    groups = with_controllers("c1", "c2", {"name": "c1"}, slow).groups
    assert [(group.tag, str(*group.portals), group.alua) for group in groups] == [
        (1, "172.16.0.1:3260", AccessState.OPTIMIZED),
        (2, "172.16.1.1:3260", AccessState.NON_OPTIMIZED),
    ]
    (group,) = with_controllers("c2", "c2", {"name": "c2"}).groups
    assert (len(group.portals), group.alua) == (2, AccessState.OPTIMIZED)


CHAP = ChapConfig.model_validate({"incoming": {"user": "me", "secret": "correct-horse"}})
MUTUAL = ChapConfig.model_validate(
    {
        "incoming": {"user": "me", "secret": "correct-horse"},
        "outgoing": {"user": "you", "secret": "battery-staple"},
    }
)


def acl(saved: dict[str, Any]) -> dict[str, Any]:
    (one,) = saved["targets"][0]["tpgs"][0]["node_acls"]
    return dict(one)


@pytest.mark.parametrize("backstore", ["fileio", "block"])
def test_every_reference_in_the_configuration_leads_somewhere(backstore: str) -> None:
    """LUN to storage object, mapped LUN to LUN; rtslib drops what dangles and goes on."""
    topology = plan(Config())
    saved = json.loads(json.dumps(render(configured(backstore=backstore))))
    (storage,), (target,) = saved["storage_objects"], saved["targets"]
    (group,) = target["tpgs"]
    assert group["luns"][0]["storage_object"] == f"/backstores/{storage['plugin']}/lun0"
    assert storage["name"] == "lun0"
    assert acl(saved)["mapped_luns"][0]["tpg_lun"] == group["luns"][0]["index"]
    assert acl(saved)["node_wwn"] == topology.initiator_iqn
    assert target["wwn"] == topology.target_iqn
    assert group["enable"] is True


def test_the_serial_is_pinned() -> None:
    """Otherwise LIO makes one up, and the map gets another name at every start."""
    assert render(configured())["storage_objects"][0]["wwn"] == plan(Config()).luns[0].serial


def test_only_the_one_initiator_is_let_in() -> None:
    """No access for whoever comes along."""
    attributes = render(configured())["targets"][0]["tpgs"][0]["attributes"]
    assert attributes == {"authentication": 0, "generate_node_acls": 0}


def test_acknowledged_means_written_unless_the_user_wants_otherwise() -> None:
    """A file is opened write-through, or a power loss would lose what was acknowledged."""
    (storage,) = render(configured())["storage_objects"]
    assert storage["write_back"] is False
    assert storage["dev"] == backing_file("lun0")
    assert storage["size"] == Config().target.lun_size
    (storage,) = render(configured(write_cache="write-back"))["storage_objects"]
    assert storage["write_back"] is True


def test_the_portals_are_those_that_were_planned_and_no_others() -> None:
    """Listening everywhere would let one network answer for the other."""
    portals = render(configured(port=3261))["targets"][0]["tpgs"][0]["portals"]
    assert [(p["ip_address"], p["port"]) for p in portals] == [
        ("172.16.0.1", 3261),
        ("172.16.1.1", 3261),
    ]


def test_credentials_belong_to_the_initiators_acl() -> None:
    """And the group insists on them; without `outgoing` the target proves nothing."""
    saved = render(configured(chap=CHAP))
    assert saved["targets"][0]["tpgs"][0]["attributes"]["authentication"] == 1
    assert acl(saved).items() >= {"chap_userid": "me", "chap_password": "correct-horse"}.items()
    assert "chap_mutual_password" not in acl(saved)
    both = acl(render(configured(chap=MUTUAL)))
    assert (both["chap_mutual_userid"], both["chap_mutual_password"]) == ("you", "battery-staple")


def test_groups_of_their_own_lead_to_one_unit() -> None:
    """Each portal in a group, with access states that multipath may prefer paths by."""
    each = one_group_each(configured(), [AccessState.OPTIMIZED, AccessState.NON_OPTIMIZED])
    saved = render(each)
    first, second = saved["targets"][0]["tpgs"]
    assert [group["tag"] for group in (first, second)] == [1, 2]
    assert [g["portals"][0]["ip_address"] for g in (first, second)] == ["172.16.0.1", "172.16.1.1"]
    (storage,) = saved["storage_objects"]
    assert [alua["alua_access_state"] for alua in storage["alua_tpgs"]] == [0, 1]
    assert [group["luns"][0]["alua_tg_pt_gp_name"] for group in (first, second)] == [
        alua["name"] for alua in storage["alua_tpgs"]
    ]


def test_an_initiator_cannot_change_access_states() -> None:
    """As it would when it fails over: then both groups are optimized, and nothing fails back."""
    each = one_group_each(configured(), [AccessState.OPTIMIZED, AccessState.NON_OPTIMIZED])
    (storage,) = render(each)["storage_objects"]
    assert [alua["alua_access_type"] for alua in storage["alua_tpgs"]] == [1, 1]
    by_state = {"1 lun_0 alua": "Active/Optimized", "2 lun_0 alua": "Active/NonOptimized"}
    told = differences(each, by_state | {"1 alua of lun_0": "Implicit and Explicit"})
    assert "1 alua of lun_0 is Implicit and Explicit, not Implicit" in told


def test_alike_groups_are_left_in_the_kernels_own() -> None:
    """One state is no preference."""
    saved = render(one_group_each(configured(), [AccessState.OPTIMIZED] * 2))
    assert saved["storage_objects"][0]["alua_tpgs"] == []
    assert all("alua_tg_pt_gp_name" not in tpg["luns"][0] for tpg in saved["targets"][0]["tpgs"])


def test_several_units_are_luns_in_their_order() -> None:
    """As data; a testbed has one."""
    base = configured()
    (group,) = base.groups
    (unit,) = group.units
    more = (unit, replace(unit, name="lun1", path="/other", serial="f" * 32))
    admitted = replace(base.initiators[0], luns={0: False, 1: False})
    saved = render(replace(base, groups=(replace(group, units=more),), initiators=(admitted,)))
    assert [storage["name"] for storage in saved["storage_objects"]] == ["lun0", "lun1"]
    luns = saved["targets"][0]["tpgs"][0]["luns"]
    assert [(lun["index"], lun["storage_object"][-4:]) for lun in luns] == [
        (0, "lun0"),
        (1, "lun1"),
    ]
    assert [mapped["index"] for mapped in acl(saved)["mapped_luns"]] == [0, 1]


def running() -> dict[str, str]:
    """What LOOK prints of a target that serves `MUTUAL`, as the kernel's files have it."""
    name = f"1 acl {plan(Config()).initiator_iqn}"
    text = (
        "1 enable=1\n1 authentication=1\n1 generate_node_acls=0\n"
        "1 portal 172.16.0.1:3260=yes\n1 portal 172.16.1.1:3260=yes\n"
        f"1 lun_0={backing_file('lun0')}\n1 lun_0 write cache=0\n1 lun_0 alua=Active/Optimized\n"
        f"{name}=yes\n{name} user=me\n{name} target's user=you\n{name} mutual=1\n"
        f"{name} secret=right\n{name} target's secret=right\n{name} lun_0 write protect=0\n"
    )
    return parse_look(text)


def test_what_runs_as_asked_has_no_differences() -> None:
    """The mutual credentials included."""
    assert differences(configured(chap=MUTUAL), running()) == []


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"1 authentication": "0"}, "1 authentication is 0, not 1"),
        ({"1 lun_0 write cache": "1"}, "1 lun_0 write cache is 1, not 0"),
        ({"1 portal 10.0.2.15:3260": "yes"}, "1 portal 10.0.2.15:3260 is more than was asked for"),
        ({"2 lun_0": "/other"}, "2 lun_0 is more than was asked for"),
        ({"1 lun_0 alua": "Standby"}, "1 lun_0 alua is Standby, not Active/Optimized"),
    ],
)
def test_what_runs_otherwise_is_told(changed: dict[str, str], says: str) -> None:
    """CHAP that is switched off would let anybody in, and every test would pass."""
    assert differences(configured(chap=MUTUAL), running() | changed) == [says]


def test_a_target_that_does_not_run_lacks_everything() -> None:
    """A restore that failed half-way leaves no group."""
    told = differences(configured(), {})
    assert "1 enable is missing, not 1" in told


def look(root: Path, iqn: str, chap: ChapConfig | None = None) -> str:
    script = LOOK.replace("/sys/kernel/config", str(root))
    return subprocess.run(
        ["sh", "-euc", script, "sh", iqn], input=expected(chap), capture_output=True, check=True
    ).stdout.decode()


def test_the_kernels_files_are_read_as_they_are(tmp_path: Path) -> None:
    """A tree of files like configfs has it, of a target that serves what was asked for."""
    wanted = configured(chap=MUTUAL)
    group = tmp_path / "target/iscsi" / wanted.iqn / "tpgt_1"
    unit = group / "lun/lun_0/0123456789"
    auth = group / "acls" / wanted.initiators[0].iqn / "auth"
    for folder in (
        auth.parent / "lun_0",
        *(group / "attrib", group / "np", unit / "attrib", auth),
        unit / "alua/default_tg_pt_gp",
    ):
        folder.mkdir(parents=True)
    for portal in wanted.groups[0].portals:
        (group / "np" / str(portal)).mkdir()
    files = {
        group / "enable": "1",
        group / "attrib/authentication": "1",
        group / "attrib/generate_node_acls": "0",
        unit / "udev_path": backing_file("lun0"),
        unit / "attrib/emulate_write_cache": "0",
        unit.parent / "alua_tg_pt_gp": (
            "TG Port Alias: default_tg_pt_gp\nTG Port Group ID: 0\n"
            "TG Port Primary Access State: Active/Optimized\n"
            "TG Port Primary Access Status: None\n"
            "TG Port Secondary Access State: None\nTG Port Secondary Access Status: None"
        ),
        unit / "alua/default_tg_pt_gp/alua_access_type": "Implicit and Explicit",
        auth / "userid": "me",
        auth / "password": "correct-horse",
        auth / "userid_mutual": "you",
        auth / "password_mutual": "battery-staple",
        auth / "authenticate_target": "1",
        auth.parent / "lun_0/write_protect": "0",
    }
    for file, content in files.items():
        file.write_text(f"{content}\n")
    said = look(tmp_path, wanted.iqn, MUTUAL)
    assert "correct-horse" not in said
    assert "battery-staple" not in said
    assert differences(wanted, parse_look(said)) == []
    assert parse_look(said)["1 alua of lun_0"] == "Implicit and Explicit"
    (auth / "password_mutual").write_text("battery-staples\n")
    (told,) = differences(wanted, parse_look(look(tmp_path, wanted.iqn, MUTUAL)))
    assert told == f"1 acl {wanted.initiators[0].iqn} target's secret is another, not right"


def test_without_a_target_nothing_is_read(tmp_path: Path) -> None:
    """A restore that failed leaves no group."""
    assert look(tmp_path, "iqn") == ""
