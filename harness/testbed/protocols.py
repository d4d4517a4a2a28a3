"""What measuring needs of a testbed; `Testbed` is one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from harness.config import Config
from harness.machine import Machine
from harness.measurements import PlannedSession, SessionSettings
from harness.observe import Observer
from harness.testbed.lun_layout import Layout
from harness.topology import PlannedMap, Topology
from harness.transport import Attachment, Initiator, PathDisk

if TYPE_CHECKING:
    from harness.hypervisor.domain import Domain


class Map(Protocol):
    """The map of a LUN on one initiator."""

    @property
    def planned(self) -> PlannedMap: ...

    @property
    def attachment(self) -> Attachment: ...

    @property
    def paths(self) -> Sequence[PathDisk]: ...


class MeasuredTestbed(Protocol):
    """Machines that are configured and watched, with the maps between them."""

    @property
    def config(self) -> Config: ...

    @property
    def topology(self) -> Topology: ...

    @property
    def initiators(self) -> Mapping[str, Initiator]: ...

    @property
    def layout(self) -> Layout: ...

    @property
    def maps(self) -> Sequence[Map]: ...

    @property
    def machines(self) -> tuple[str, ...]: ...

    @property
    def lab_disks(self) -> tuple[str, ...]: ...

    @property
    def domains(self) -> Mapping[str, Domain]: ...

    def nic(self, machine: str, link: str) -> str: ...

    def machine(self, name: str) -> Machine: ...

    def observer(self, machine: str) -> Observer: ...

    def domain(self, machine: str) -> Domain: ...

    def console(self, machine: str) -> str: ...

    def answers(self, machine: str, within_s: float) -> bool: ...

    def session_settings(self, initiator: str) -> tuple[SessionSettings, ...]: ...

    def planned_sessions(self, initiator: str) -> tuple[PlannedSession, ...]: ...

    def heal(self) -> None: ...

    def power_off(self) -> None: ...
