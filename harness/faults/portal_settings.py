"""Portals and portal groups of LIO that let nobody in any more."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from harness.budget import Effect
from harness.faults.cut_connections import connections_of
from harness.faults.kind import Family, Kind, Possible
from harness.faults.lio_setting import LioSetting
from harness.target.lio import live
from harness.topology import Topology

_THERE, _LISTENS, _CONNECTED = "there", "listens", "connected"


@dataclass(frozen=True)
class PortalRemoved(LioSetting):
    """LIO listens no more at one portal, in any target. Sessions that are there stay.

    So no path is broken: a login would be refused, and nobody has to log in.
    """

    portal: str

    @classmethod
    def everywhere(cls, topology: Topology, _: Possible) -> tuple[Self, ...]:
        """One of each portal."""
        return tuple(cls(portal.name) for portal in topology.portals)

    @property
    def where(self) -> str:
        return self.portal

    @property
    def effects(self) -> frozenset[Effect]:
        return frozenset({Effect.UNNOTICED})

    def hits(self, topology: Topology) -> tuple[str, ...]:
        return ()

    @property
    def description(self) -> str:
        return f"LIO does not listen at portal {self.portal}, and its sessions there stay"

    def changing(self, topology: Topology) -> str:
        return live.remove_portal(topology, topology.portal(self.portal))

    def restoring(self, topology: Topology) -> str:
        return live.restore_portal(topology, topology.portal(self.portal))

    def showing(self, topology: Topology) -> str:
        """Shell that prints what is at the portal, a word for each."""
        portal = topology.portal(self.portal)
        listening = shlex.join(["ss", "-tlnHO", "src", str(portal.portal)])
        return (
            f"{live.show_portal(topology, portal)}"
            f'[ -z "$({listening})" ] || echo {_LISTENS}\n'
            f'[ -z "$({connections_of(portal.portal)})" ] || echo {_CONNECTED}\n'
        )

    def unchanged(self, told: str, topology: Topology) -> str:
        words = told.split()
        if _THERE in words or _LISTENS in words:
            return f"LIO has portal {self.portal}"
        if _CONNECTED not in words:
            return f"no session is left at portal {self.portal}"
        return ""

    def changed(self, told: str, topology: Topology) -> str:
        words = told.split()
        if words.count(_THERE) < len(topology.iqns_at(topology.portal(self.portal))):
            return f"LIO lacks portal {self.portal}"
        return "" if _LISTENS in words else f"nobody listens at portal {self.portal}"


@dataclass(frozen=True)
class PortalClosed(PortalRemoved):
    """LIO listens no more at one portal, and its connections there are ended."""

    @property
    def effects(self) -> frozenset[Effect]:
        return frozenset({Effect.REFUSED})

    def hits(self, topology: Topology) -> tuple[str, ...]:
        return topology.over_portal(self.portal)

    @property
    def description(self) -> str:
        return f"LIO does not listen at portal {self.portal}, and its connections there are ended"

    def changing(self, topology: Topology) -> str:
        killing = connections_of(topology.portal(self.portal).portal, "--kill")
        return f"{super().changing(topology)}{killing} >/dev/null || :\n"

    def unchanged(self, told: str, topology: Topology) -> str:
        words = set(told.split())
        if words & {_THERE, _LISTENS}:
            return f"LIO has portal {self.portal}"
        return f"a connection is left at portal {self.portal}" if _CONNECTED in words else ""


@dataclass(frozen=True)
class LoginsRefused(LioSetting):
    """The portal group of one controller is disabled: its sessions end, and logins are refused.

    Each attempt to log in reaches the target, and is answered: "service unavailable".
    """

    controller: str

    @classmethod
    def everywhere(cls, topology: Topology, _: Possible) -> tuple[Self, ...]:
        """One of each controller."""
        return tuple(cls(one.name) for one in topology.controllers)

    @property
    def where(self) -> str:
        return self.controller

    @property
    def effects(self) -> frozenset[Effect]:
        return frozenset({Effect.REFUSED})

    def hits(self, topology: Topology) -> tuple[str, ...]:
        return topology.over_controller(self.controller)

    @property
    def description(self) -> str:
        return (
            f"the portal group of controller {self.controller} is disabled: its sessions end, and "
            "logins are refused"
        )

    def changing(self, topology: Topology) -> str:
        return live.set_group_enabled(topology, self.controller, enabled=False)

    def restoring(self, topology: Topology) -> str:
        return live.set_group_enabled(topology, self.controller, enabled=True)

    def showing(self, topology: Topology) -> str:
        return live.show_group_enabled(topology, self.controller)

    def unchanged(self, told: str, topology: Topology) -> str:
        return self._said(live.not_so(told, "0"), "enabled")

    def changed(self, told: str, topology: Topology) -> str:
        return self._said(live.not_so(told, "1"), "not enabled")

    def _said(self, iqns: Sequence[str], what: str) -> str:
        group = f"the portal group of controller {self.controller}"
        return f"{group} is {what} in {', '.join(iqns)}" if iqns else ""


PORTAL_SETTINGS_KINDS = (
    Kind(
        PortalRemoved,
        "portal",
        Family.SESSION,
        "LIO no longer listens at one portal; its sessions there stay",
        "nothing, as long as it need not log in",
        PortalRemoved.everywhere,
    ),
    Kind(
        PortalClosed,
        "portal",
        Family.SESSION,
        "LIO no longer listens at one portal, and its connections there are ended (`ss --kill`)",
        "the connection ends with a reset, and each new one is refused",
        PortalClosed.everywhere,
    ),
    Kind(
        LoginsRefused,
        "controller",
        Family.SESSION,
        "the portal group of one controller is disabled in LIO",
        "its sessions end; each login reaches the target and is refused (03/01, service "
        "unavailable)",
        LoginsRefused.everywhere,
    ),
)
