"""Several faults as one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.budget import Effect
from harness.concurrency import side_by_side
from harness.faults.base import Fault, Lab, Means
from harness.faults.sampling import sample_all
from harness.measurements import MeansSample
from harness.topology import Topology


@dataclass(frozen=True)
class Together(Fault):
    """Several faults, injected at once and healed at once."""

    faults: Sequence[Fault]

    def hits(self, topology: Topology) -> tuple[str, ...]:
        return tuple(dict.fromkeys(p for fault in self.faults for p in fault.hits(topology)))

    def limps(self, topology: Topology) -> tuple[str, ...]:
        """A path that one part loses does not go on, whatever another part does to it."""
        lost = {
            path
            for fault in self.faults
            for path in set(fault.hits(topology)) - set(fault.limps(topology))
        }
        return tuple(path for path in self.hits(topology) if path not in lost)

    def loses(self, topology: Topology) -> tuple[str, ...]:
        return tuple(dict.fromkeys(p for fault in self.faults for p in fault.loses(topology)))

    def disturbs(self, topology: Topology) -> tuple[str, ...]:
        return tuple(dict.fromkeys(p for fault in self.faults for p in fault.disturbs(topology)))

    def stops(self, topology: Topology) -> tuple[str, ...]:
        return tuple(dict.fromkeys(one for fault in self.faults for one in fault.stops(topology)))

    @property
    def holds_disks(self) -> bool:
        return any(fault.holds_disks for fault in self.faults)

    @property
    def where(self) -> str:
        return "+".join(dict.fromkeys(fault.where for fault in self.faults))

    @property
    def parts(self) -> Sequence[Fault]:
        return tuple(part for fault in self.faults for part in fault.parts)

    @property
    def needs(self) -> frozenset[Means]:
        return frozenset().union(*(fault.needs for fault in self.faults))

    @property
    def means_hidden(self) -> bool:
        return all(fault.means_hidden for fault in self.faults)

    @property
    def name(self) -> str:
        return " + ".join(fault.name for fault in self.faults)

    @property
    def lasts_s(self) -> float:
        return max(fault.lasts_s for fault in self.faults)

    def at_most_s(self, bears_s: float) -> float:
        return min(fault.at_most_s(bears_s) for fault in self.faults)

    @property
    def description(self) -> str:
        return "; ".join(fault.description for fault in self.faults)

    def inject(self, lab: Lab) -> None:
        for fault in self.faults:
            fault.inject(lab)

    def confirm(self, lab: Lab) -> None:
        self._all(lambda fault: fault.confirm(lab))

    def go_on(self, lab: Lab, over: threading.Event) -> None:
        self._all(lambda fault: fault.go_on(lab, over))

    def sample_means(self, lab: Lab) -> Sequence[MeansSample]:
        return sample_all(lab, self.parts)

    def heal(self, lab: Lab) -> None:
        self._all(lambda fault: fault.heal(lab))

    def confirm_healed(self, lab: Lab) -> None:
        self._all(lambda fault: fault.confirm_healed(lab))

    @property
    def effects(self) -> frozenset[Effect]:
        return frozenset().union(*(fault.effects for fault in self.faults))

    def _all(self, action: Callable[[Fault], None]) -> None:
        side_by_side(*((lambda f=fault: action(f)) for fault in self.faults))
