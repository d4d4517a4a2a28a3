"""What can be changed of LIO while it serves: shell that does so, and what it says of it. Pure.

All of it is in configfs, and gone with the next configuration. Sources in drivers/target of the
kernel: target_core_configfs.c and target_core_alua.c for access states, for what belongs to a LUN
and a portal group target_core_fabric_configfs.c, for portals and groups iscsi/iscsi_target_tpg.c.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping

from harness.target.lio.saveconfig import AccessState, access_state_of, group_name
from harness.topology import TargetPortal, Topology

CONFIGFS = "/sys/kernel/config/target"
# The first line of a state's file, or nothing. The shell reads by itself, as `cat` takes 20 ms.
_READ = 'read_of() { REPLY=; { IFS= read -r REPLY <"$1"; } 2>/dev/null || :; }\n'

# $1 is the folder of a group, $2 its state; before that it is in transition for $3 ms, and the
# write returns when that is over.
_SET_STATE = r"""set_state() {
  echo "$3" >"$1/trans_delay_msecs"
  echo "$2" >"$1/alua_access_state"
}"""
# $1 is the folder of a target, $2 of one of its groups, $3 the portal.
_RESTORE_PORTAL = r"""restore() {
  for there in "$1"/tpgt_*/np/"$3"; do
    [ ! -d "$there" ] || return 0
  done
  [ ! -d "$1/$2/np" ] || mkdir "$1/$2/np/$3"
}
"""
# As an initiator's kernel calls them: drivers/scsi/scsi.c.
_WORDS = {
    AccessState.OPTIMIZED: "active/optimized",
    AccessState.NON_OPTIMIZED: "active/non-optimized",
    AccessState.STANDBY: "standby",
    AccessState.UNAVAILABLE: "unavailable",
    AccessState.TRANSITIONING: "transitioning",
}


def tag_of(topology: Topology, controller: str) -> int:
    """The tag of a controller's portal group; 1, if there are no controllers."""
    names = [one.name for one in topology.controllers]
    return names.index(controller) + 1 if names else 1


def _alua_folders(topology: Topology, controller: str) -> list[str]:
    """Where the ALUA group of a controller is, of each unit; the folder above depends on rtslib."""
    group = group_name(tag_of(topology, controller))
    return [f"{CONFIGFS}/core/*/{lun.name}/alua/{group}" for lun in topology.luns]


def _group_folders(topology: Topology, controller: str) -> list[str]:
    """The folder of a controller's portal group in each target."""
    tag = tag_of(topology, controller)
    return [f"{CONFIGFS}/iscsi/{shlex.quote(iqn)}/tpgt_{tag}" for iqn in topology.target_iqns]


def _lun_folders(topology: Topology, controller: str) -> list[tuple[str, str]]:
    """The name of each LUN, and its folder in a controller's portal group."""
    groups = zip(topology.target_iqns, _group_folders(topology, controller), strict=True)
    return [
        (lun.name, f"{folder}/lun/lun_{number}")
        for iqn, folder in groups
        for number, lun in enumerate(topology.luns_of(iqn))
    ]


def planned_states(topology: Topology) -> dict[str, AccessState]:
    """The access state of each controller; none if all are the same, and none has a group."""
    states = {one.name: access_state_of(one.access_state) for one in topology.controllers}
    return states if set(states.values()) - {AccessState.OPTIMIZED} else {}


def set_access_states(
    topology: Topology, states: Mapping[str, AccessState], transition_ms: int = 0
) -> str:
    """Shell that gives controllers access states, at all LUNs, all of them at once.

    For so many ms before that they are in transition.
    """
    lines = [
        f'set_state {folder} {state.value[0]} {transition_ms} & pids="$pids $!"'
        for name, state in states.items()
        for folder in _alua_folders(topology, name)
    ]
    waiting = "failed=0\nfor pid in $pids; do wait $pid || failed=1; done\nexit $failed"
    return "\n".join([_SET_STATE, "pids=", *lines, waiting])


def restore_access_states(topology: Topology, transition_ms: int = 0) -> str:
    """Shell that gives each controller the access state that it was planned with."""
    return set_access_states(topology, planned_states(topology), transition_ms)


def show_access_states(topology: Topology, controllers: Iterable[str]) -> str:
    """Shell that prints the access state of each of these controllers at each LUN."""
    return _READ + "".join(
        f'read_of {folder}/alua_access_state; echo "{name} $REPLY"\n'
        for name in controllers
        for folder in _alua_folders(topology, name)
    )


def parse_access_states(text: str) -> list[tuple[str, str]]:
    """A controller and the word for its state, of each line: `c1 15`, or `c1 ` if it has none."""
    words = {str(state.value[0]): word for state, word in _WORDS.items()}
    split = (line.split(" ", 1) for line in text.splitlines())
    return [(name, words.get(number, number or "gone")) for name, number in split]


def word_of(state: AccessState) -> str:
    """A state as an initiator's kernel calls it."""
    return _WORDS[state]


def set_offline(topology: Topology, controller: str, *, offline: bool) -> str:
    """Shell that takes every LUN offline in a controller's portal group, or brings it back.

    Offline is a secondary access state of the LUN there: each command gets NOT READY 04/12.
    """
    number = int(offline)
    return "".join(
        f"echo {number} >{folder}/alua_tg_pt_offline\n"
        for _, folder in _lun_folders(topology, controller)
    )


def show_offline(topology: Topology, controller: str) -> str:
    """Shell that prints for each LUN whether it is offline there: `lun0 1`."""
    return _READ + "".join(
        f'read_of {folder}/alua_tg_pt_offline; echo "{lun} $REPLY"\n'
        for lun, folder in _lun_folders(topology, controller)
    )


def set_group_enabled(topology: Topology, controller: str, *, enabled: bool) -> str:
    """Shell that disables a controller's portal group in each target, or enables it.

    To disable it ends its sessions; after that a login is answered with 03/01 (service
    unavailable). LIO refuses what it has already.
    """
    number = int(enabled)
    return _READ + "".join(
        f'read_of {one}/enable; [ "$REPLY" = {number} ] || echo {number} >{one}/enable\n'
        for one in _group_folders(topology, controller)
    )


def show_group_enabled(topology: Topology, controller: str) -> str:
    """Shell that prints for each target whether that group is enabled: `iqn… 1`."""
    groups = zip(topology.target_iqns, _group_folders(topology, controller), strict=True)
    return _READ + "".join(
        f'read_of {folder}/enable; echo {shlex.quote(iqn)} "$REPLY"\n' for iqn, folder in groups
    )


def not_so(text: str, wanted: str) -> list[str]:
    """The names of the lines `name value` that have another value than that."""
    split = (line.split(" ", 1) for line in text.splitlines())
    return [name for name, value in split if value != wanted]


def portal_folders(topology: Topology, portal: TargetPortal) -> Iterator[str]:
    """The folder of a portal in each target: while it is there, LIO listens."""
    for folder in _group_folders(topology, portal.controller):
        yield f"{folder}/np/{shlex.quote(str(portal.portal))}"


def remove_portal(topology: Topology, portal: TargetPortal) -> str:
    """Shell after which LIO listens no more at a portal. Sessions that are there stay."""
    return "".join(f"rmdir {one}\n" for one in portal_folders(topology, portal))


def restore_portal(topology: Topology, portal: TargetPortal) -> str:
    """Shell after which LIO listens at a portal, whether it did before or not.

    A target that has the portal in another group, or has no such group, is left as it is: somebody
    else configured it.
    """
    return _RESTORE_PORTAL + "".join(
        f"restore {folder.rpartition('/')[0]} {folder.rpartition('/')[2]} "
        f"{shlex.quote(str(portal.portal))}\n"
        for folder in _group_folders(topology, portal.controller)
    )


def show_portal(topology: Topology, portal: TargetPortal) -> str:
    """Shell that prints a line for each target that has the portal."""
    return "".join(f"[ ! -d {one} ] || echo there\n" for one in portal_folders(topology, portal))
