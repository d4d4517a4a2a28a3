"""What LIO is to serve, as data, and rtslib's saved form of it.

Sources: saveconfig.json(5) and the `setup` methods of rtslib; target_core_alua.c and
target_core_spc.c in drivers/target of the kernel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from harness.config.credentials import ChapConfig
from harness.config.model import TargetConfig
from harness.target.base import storage_path
from harness.topology import Controller, Portal, Topology


class AccessState(Enum):
    """The asymmetric access state of a portal group: SPC-4's number, and LIO's word for it."""

    OPTIMIZED = (0, "Active/Optimized")
    NON_OPTIMIZED = (1, "Active/NonOptimized")
    STANDBY = (2, "Standby")
    UNAVAILABLE = (3, "Unavailable")
    TRANSITIONING = (15, "Transitioning")


# Of a group that has a state. LIO's default is both, and then the state does not stay: dm-multipath
# sends SET TARGET PORT GROUPS to a group that it turns to, LIO makes that group optimized, and no
# other one gives way as it does on an array. So the initiator is only told.
ACCESS_TYPE = (1, "Implicit")

_STATES = {"optimized": AccessState.OPTIMIZED, "non-optimized": AccessState.NON_OPTIMIZED}


def access_state_of(word: str) -> AccessState:
    """What the configuration calls so."""
    return _STATES[word]


@dataclass(frozen=True)
class Unit:
    """A backstore: a file if `plugin` is `fileio`, a device if it is `block`.

    `serial` has at least 25 hexadecimal digits, `size` is in bytes.
    """

    name: str
    plugin: str
    path: str
    size: int
    serial: str
    write_back: bool = False


@dataclass(frozen=True)
class PortalGroup:
    """A target portal group (RFC 7143 section 2.2): its portals lead to these units.

    The place of a unit is its LUN. All groups have the same initiators and credentials.
    """

    tag: int
    portals: tuple[Portal, ...]
    units: tuple[Unit, ...]
    alua: AccessState = AccessState.OPTIMIZED


@dataclass(frozen=True)
class Admitted:
    """An initiator that may log in, and the LUNs that it sees: number -> whether it only reads.

    All others are masked from it.
    """

    iqn: str
    luns: Mapping[int, bool]


@dataclass(frozen=True)
class Serving:
    """All that LIO is to serve as one target."""

    iqn: str
    initiators: tuple[Admitted, ...]
    groups: tuple[PortalGroup, ...]
    chap: ChapConfig | None = None

    @property
    def has_access_states(self) -> bool:
        """Whether groups differ from the kernel's default one, of which all LUNs are members."""
        return any(group.alua is not AccessState.OPTIMIZED for group in self.groups)

    @property
    def units(self) -> list[Unit]:
        """Each once, though several groups may lead to it."""
        return list(dict.fromkeys(unit for group in self.groups for unit in group.units))


def wwid_of(serial: str) -> str:
    """The WWID of a LIO unit with that serial: NAA type 6, LIO's company id, then the serial.

    Source: spc_gen_naa_6h_vendor_specific() in drivers/target/target_core_spc.c; the leading 3
    says "NAA" in multipath-tools. `serial` has at least 25 hexadecimal digits.
    """
    digits = "".join(c for c in serial if c in "0123456789abcdef")
    return f"36001405{digits[:25]}"


def every_target(config: TargetConfig, topology: Topology) -> tuple[Serving, ...]:
    """What a testbed needs: its targets."""
    return tuple(serving(config, topology, iqn) for iqn in topology.target_iqns)


def serving(config: TargetConfig, topology: Topology, iqn: str = "") -> Serving:
    """One target of a testbed, the first one without `iqn`: its LUNs, reached by every portal.

    A portal group for each controller, since an access state is that of a group; one without.
    """
    iqn = iqn or topology.target_iqn
    units = tuple(
        Unit(
            lun.name,
            config.backstore,
            storage_path(config, lun),
            lun.size,
            lun.serial,
            # A disk has its own idea of its cache, and LIO goes by that.
            write_back=config.backstore == "fileio" and config.write_cache == "write-back",
        )
        for lun in topology.luns_of(iqn)
    )
    controllers = topology.controllers or (Controller(""),)
    groups = tuple(
        PortalGroup(
            tag,
            tuple(p.portal for p in topology.portals if p.controller == controller.name),
            units,
            _STATES[controller.access_state],
        )
        for tag, controller in enumerate(controllers, start=1)
    )
    initiators = tuple(
        Admitted(
            topology.machine(name).iqn,
            {
                number: name in lun.read_only
                for number, lun in enumerate(topology.luns_of(iqn))
                if name in lun.initiators
            },
        )
        for name in topology.initiators
    )
    return Serving(iqn, initiators, groups, config.chap)


def one_group_each(wanted: Serving, states: Sequence[AccessState]) -> Serving:
    """The same with a group for each portal, of these access states, in their order."""
    group = replace(wanted.groups[0], portals=tuple(p for g in wanted.groups for p in g.portals))
    groups = tuple(
        replace(group, tag=tag, portals=(portal,), alua=state)
        for tag, (portal, state) in enumerate(zip(group.portals, states, strict=True), start=1)
    )
    return replace(wanted, groups=groups)


def render(*targets: Serving) -> dict[str, Any]:
    """The whole configuration in rtslib's saved form. No unit is in two of the targets."""
    return {
        "fabric_modules": [],
        "storage_objects": [_storage_object(unit, one) for one in targets for unit in one.units],
        "targets": [
            {
                "fabric": "iscsi",
                "wwn": one.iqn,
                "tpgs": [_portal_group(group, one) for group in one.groups],
            }
            for one in targets
        ],
    }


def _storage_object(unit: Unit, wanted: Serving) -> dict[str, Any]:
    storage: dict[str, Any] = {
        "name": unit.name,
        "wwn": unit.serial,
        "plugin": unit.plugin,
        "dev": unit.path,
        "write_back": unit.write_back,
        "alua_tpgs": [
            {
                "name": alua_name(group),
                "tg_pt_gp_id": group.tag,  # the default group has 0
                "alua_access_type": ACCESS_TYPE[0],
                "alua_access_state": group.alua.value[0],
            }
            for group in wanted.groups
            if unit in group.units and wanted.has_access_states
        ],
    }
    return storage | ({"size": unit.size} if unit.plugin == "fileio" else {"readonly": False})


def _portal_group(group: PortalGroup, wanted: Serving) -> dict[str, Any]:
    luns = []
    for number, unit in enumerate(group.units):
        lun = {"index": number, "storage_object": f"/backstores/{unit.plugin}/{unit.name}"}
        luns.append(
            lun | ({"alua_tg_pt_gp_name": alua_name(group)} if wanted.has_access_states else {})
        )
    return {
        "tag": group.tag,
        "enable": True,
        "attributes": {"authentication": int(bool(wanted.chap)), "generate_node_acls": 0},
        "luns": luns,
        "node_acls": [
            {
                "node_wwn": initiator.iqn,
                "mapped_luns": [
                    {"index": number, "tpg_lun": number, "write_protect": read_only}
                    for number, read_only in initiator.luns.items()
                    if number < len(group.units)
                ],
                **_credentials(wanted.chap),
            }
            for initiator in wanted.initiators
        ],
        "portals": [
            {"ip_address": _address(portal), "port": portal.port, "iser": False}
            for portal in group.portals
        ],
    }


def _address(portal: Portal) -> str:
    """The address in the form that configfs uses for the folder of a portal."""
    return f"[{portal.address}]" if portal.address.version == 6 else str(portal.address)


def _credentials(chap: ChapConfig | None) -> dict[str, str]:
    given: dict[str, str] = {}
    if chap:
        given |= {"chap_userid": chap.incoming.user, "chap_password": chap.incoming.revealed}
    if chap and chap.outgoing:
        given |= {
            "chap_mutual_userid": chap.outgoing.user,
            "chap_mutual_password": chap.outgoing.revealed,
        }
    return given


def alua_name(group: PortalGroup) -> str:
    """What its units call the ALUA group of a portal group, if it has one of its own."""
    return group_name(group.tag)


def group_name(tag: int) -> str:
    """The same, by the tag of the portal group."""
    return f"group{tag}"
