"""What measuring needs of a testbed; `Testbed` is one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from harness.config import Config
from harness.machine import Machine
from harness.measurements import PlannedSession, SessionSettings
from harness.observe import Observer
from harness.topology import Lun, Role, Topology
from harness.transport import Attachment, Initiator, PathDisk

if TYPE_CHECKING:
    from harness.hypervisor.domain import Domain


class Map(Protocol):
    """The map of a LUN."""

    @property
    def lun(self) -> Lun: ...

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
    def initiator(self) -> Initiator: ...

    @property
    def maps(self) -> Sequence[Map]: ...

    @property
    def roles(self) -> tuple[Role, ...]: ...

    @property
    def lab_disks(self) -> tuple[str, ...]: ...

    @property
    def domains(self) -> Mapping[str, Domain]: ...

    def nic(self, role: Role, link: str) -> str: ...

    def machine(self, role: Role) -> Machine: ...

    def observer(self, role: Role) -> Observer: ...

    def domain(self, role: Role) -> Domain: ...

    def console(self, role: Role) -> str: ...

    def answers(self, role: Role, within_s: float) -> bool: ...

    def session_settings(self) -> tuple[SessionSettings, ...]: ...

    def planned_sessions(self) -> tuple[PlannedSession, ...]: ...

    def heal(self) -> None: ...

    def power_off(self) -> None: ...
