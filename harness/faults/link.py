"""Cables pulled at the hypervisor: one end loses its carrier, nothing is sent to either."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.budget import BudgetTerm, Layer, Reconnecting
from harness.deadline import Deadline
from harness.faults.base import CONFIRM_TIMEOUT_S, Lab, Means
from harness.faults.silent_loss import FabricLost
from harness.topology import Role


class _PulledCable(FabricLost):
    def inject(self, lab: Lab) -> None:
        lab.set_link(self.role, self.fabric, up=False)

    def confirm(self, lab: Lab) -> None:
        self._wait_for_carrier(lab, up=False)

    def heal(self, lab: Lab) -> None:
        lab.set_link(self.role, self.fabric, up=True)

    def confirm_healed(self, lab: Lab) -> None:
        self._wait_for_carrier(lab, up=True)

    def recovery_terms(self, reconnecting: Reconnecting) -> tuple[BudgetTerm, ...]:
        """An attempt to log in may also fail, as nobody answers ARP: then open-iscsi pauses.

        Source: ISCSI_CONN_ERR_REOPEN_DELAY in open-iscsi's usr/initiator.c.
        """
        pause = BudgetTerm(
            "reopen delay",
            3,
            "open-iscsi's usr/initiator.c",
            "an attempt that failed, as nobody answered ARP, is followed by a pause",
            (Layer.LOGIN,),
        )
        return (pause, *super().recovery_terms(reconnecting))

    def _wait_for_carrier(self, lab: Lab, *, up: bool) -> None:
        nic = lab.nic(self.role, self.fabric)
        lab.observer(self.role).wait_for(
            lambda sample: sample.carriers.get(nic) is up,
            what=f"carrier {'up' if up else 'down'} on {self.role} {nic} (fabric {self.fabric})",
            deadline=Deadline.after(CONFIRM_TIMEOUT_S),
        )


@dataclass(frozen=True)
class LinkDown(_PulledCable):
    """The initiator's NIC on one fabric loses its carrier."""

    role: ClassVar[Role] = Role.INITIATOR
    means: ClassVar[Means] = Means.INITIATOR_CABLE

    @property
    def description(self) -> str:
        return f"the initiator's NIC on fabric {self.fabric} has no carrier (at the hypervisor)"


@dataclass(frozen=True)
class PeerLinkDown(_PulledCable):
    """The target's NIC on one fabric loses its carrier; the initiator sees a healthy link."""

    role: ClassVar[Role] = Role.TARGET
    means: ClassVar[Means] = Means.TARGET_CABLE

    @property
    def description(self) -> str:
        return f"the target's NIC on fabric {self.fabric} has no carrier (at the hypervisor)"
