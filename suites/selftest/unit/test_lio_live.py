"""What is changed of LIO while it serves: the shell is run on folders as configfs has them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from harness.config import Config
from harness.config.ready import ready_topologies
from harness.target.lio import AccessState, live, render, serving
from harness.topology import Topology, plan


def ready(name: str) -> Topology:
    return plan(Config.model_validate(ready_topologies()[name]))


CONTROLLERS, TARGETS, TWO = ready("two-controllers"), ready("two-targets"), ready("two")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")


@pytest.fixture
def configfs(tmp_path: Path) -> Path:
    """All that LIO makes for the topologies here, as far as it is needed."""
    root = tmp_path / "target"
    for hba, lun in (("fileio_0", "lun0"), ("fileio_1", "lun1")):
        for tag, state in ((1, 0), (2, 1)):
            group = root / "core" / hba / lun / "alua" / f"group{tag}"
            write(group / "alua_access_state", str(state))
            write(group / "trans_delay_msecs", "0")
    iqns = {*CONTROLLERS.target_iqns, *TARGETS.target_iqns}
    for iqn in iqns:
        for tag in (1, 2):
            group = root / "iscsi" / iqn / f"tpgt_{tag}"
            write(group / "enable", "1")
            write(group / "lun" / "lun_0" / "alua_tg_pt_offline", "0")
            for portal in (*CONTROLLERS.portals, *TARGETS.portals):
                (group / "np" / str(portal.portal)).mkdir(parents=True, exist_ok=True)
    return root


def shell(script: str, root: Path, *, status: int = 0) -> str:
    """What it prints, with those folders in place of configfs."""
    argv = ["sh", "-euc", script.replace(live.CONFIGFS, str(root))]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    return done.stdout


def read(root: Path, files: Iterable[str]) -> list[str]:
    return [(root / file).read_text().strip() for file in files]


def group_of(tag: int, file: str) -> str:
    return f"core/fileio_0/lun0/alua/group{tag}/{file}"


def iscsi(topology: Topology, rest: str) -> list[str]:
    return [f"iscsi/{iqn}/{rest}" for iqn in topology.target_iqns]


def test_groups_and_units_have_the_names_that_the_configuration_gave_them() -> None:
    """What is changed is what was configured."""
    config = Config.model_validate(ready_topologies()["two-controllers"])
    saved = render(serving(config.target, CONTROLLERS))
    (unit,) = saved["storage_objects"]
    (target,) = saved["targets"]
    assert unit["name"] == "lun0"
    assert [one["name"] for one in unit["alua_tpgs"]] == ["group1", "group2"]
    assert [group["tag"] for group in target["tpgs"]] == [1, 2]
    assert [live.tag_of(CONTROLLERS, name) for name in ("c1", "c2")] == [1, 2]
    assert live.tag_of(TWO, "") == 1


def test_states_are_set_shown_and_restored(configfs: Path) -> None:
    states = {"c1": AccessState.UNAVAILABLE, "c2": AccessState.OPTIMIZED}
    shell(live.set_access_states(CONTROLLERS, states, 3000), configfs)
    files = [group_of(tag, "alua_access_state") for tag in (1, 2)]
    delays = [group_of(tag, "trans_delay_msecs") for tag in (1, 2)]
    assert (read(configfs, files), read(configfs, delays)) == (["3", "0"], ["3000", "3000"])
    shown = shell(live.show_access_states(CONTROLLERS, states), configfs)
    assert live.parse_access_states(shown) == [("c1", "unavailable"), ("c2", "active/optimized")]
    shell(live.restore_access_states(CONTROLLERS), configfs)
    assert (read(configfs, files), read(configfs, delays)) == (["0", "1"], ["0", "0"])


def test_a_state_that_cannot_be_set_is_an_error(configfs: Path) -> None:
    """Also if it is not the last one."""
    (configfs / group_of(1, "alua_access_state")).unlink()
    (configfs / group_of(1, "alua_access_state")).mkdir()
    states = {"c1": AccessState.STANDBY, "c2": AccessState.OPTIMIZED}
    shell(live.set_access_states(CONTROLLERS, states), configfs, status=1)
    assert read(configfs, [group_of(2, "alua_access_state")]) == ["0"]


def test_states_that_are_not_known_are_told_as_they_are() -> None:
    assert live.parse_access_states("c1 15\nc2 \nc2 7\n") == [
        *(("c1", "transitioning"), ("c2", "gone"), ("c2", "7"))
    ]
    assert {live.word_of(state) for state in AccessState} == {
        *("active/optimized", "active/non-optimized", "standby", "unavailable", "transitioning")
    }


def test_without_preferred_controllers_there_are_no_states_to_restore(configfs: Path) -> None:
    """Their LUNs are in the kernel's own group."""
    assert live.planned_states(TWO) == {}
    assert live.planned_states(CONTROLLERS) == {
        "c1": AccessState.OPTIMIZED,
        "c2": AccessState.NON_OPTIMIZED,
    }
    shell(live.restore_access_states(TWO), configfs)
    assert read(configfs, [group_of(2, "alua_access_state")]) == ["1"]


def test_luns_go_offline_in_one_group_of_each_target(configfs: Path) -> None:
    """Each target's LUNs begin at 0."""
    files = iscsi(TARGETS, "tpgt_1/lun/lun_0/alua_tg_pt_offline")
    shell(live.set_offline(TARGETS, "", offline=True), configfs)
    assert read(configfs, files) == ["1", "1"]
    assert shell(live.show_offline(TARGETS, ""), configfs) == "lun0 1\nlun1 1\n"
    shell(live.set_offline(TARGETS, "", offline=False), configfs)
    shown = shell(live.show_offline(TARGETS, ""), configfs)
    assert (live.not_so(shown, "0"), live.not_so(shown, "1")) == ([], ["lun0", "lun1"])
    shell(live.set_offline(CONTROLLERS, "c2", offline=True), configfs)
    others = iscsi(CONTROLLERS, "tpgt_1/lun/lun_0/alua_tg_pt_offline")
    assert read(configfs, others) == ["0"]


def test_a_group_is_enabled_only_if_it_is_not(configfs: Path) -> None:
    """LIO refuses it otherwise: here its file is one that nobody can write."""
    (file,) = iscsi(CONTROLLERS, "tpgt_2/enable")
    shell(live.set_group_enabled(CONTROLLERS, "c2", enabled=False), configfs)
    assert read(configfs, [file]) == ["0"]
    shown = shell(live.show_group_enabled(CONTROLLERS, "c2"), configfs)
    assert live.not_so(shown, "1") == [CONTROLLERS.target_iqn]
    shell(live.set_group_enabled(CONTROLLERS, "c2", enabled=True), configfs)
    assert read(configfs, [file]) == ["1"]
    was = (configfs / file).stat().st_mtime_ns
    shell(live.set_group_enabled(CONTROLLERS, "c2", enabled=True), configfs)
    assert (configfs / file).stat().st_mtime_ns == was


def test_a_portal_is_removed_from_its_group_in_each_target_and_comes_back(configfs: Path) -> None:
    """Also if it was not removed, or from one target only."""
    portal = TARGETS.portals[0]
    folders = [configfs / one for one in iscsi(TARGETS, f"tpgt_1/np/{portal.portal}")]
    assert shell(live.show_portal(TARGETS, portal), configfs) == "there\nthere\n"
    shell(live.remove_portal(TARGETS, portal), configfs)
    assert not any(folder.exists() for folder in folders)
    assert shell(live.show_portal(TARGETS, portal), configfs) == ""
    for group in configfs.glob(f"iscsi/*/tpgt_2/np/{portal.portal}"):
        group.rmdir()
    folders[0].mkdir()
    for _ in range(2):
        shell(live.restore_portal(TARGETS, portal), configfs)
        assert all(folder.is_dir() for folder in folders)


def test_a_portal_that_somebody_put_elsewhere_is_left_there(configfs: Path) -> None:
    """And a target that is served no more."""
    portal = TARGETS.portals[0]
    first, second = TARGETS.target_iqns
    shell(live.remove_portal(TARGETS, portal), configfs)
    shutil.rmtree(configfs / "iscsi" / second)
    shell(live.restore_portal(TARGETS, portal), configfs)
    assert not (configfs / "iscsi" / first / "tpgt_1/np" / str(portal.portal)).exists()
    assert not (configfs / "iscsi" / second).exists()


def test_a_portal_of_a_controller_is_in_the_controllers_group() -> None:
    """By the name that configfs has for it, IPv6 in brackets."""
    portal = CONTROLLERS.portal("a2")
    (folder,) = live.portal_folders(CONTROLLERS, portal)
    assert folder.endswith(f"{CONTROLLERS.target_iqn}/tpgt_2/np/172.16.0.2:3260")
    ipv6 = ready("ipv6")
    (folder,) = live.portal_folders(ipv6, ipv6.portals[0])
    assert folder.endswith(f"/np/'[{ipv6.portals[0].portal.address}]:3260'")
