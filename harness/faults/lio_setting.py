"""A setting of LIO that is changed while it serves, and changed back."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence

from harness.deadline import Deadline, poll
from harness.faults.base import CONFIRM_TIMEOUT_S, SAMPLE_TIMEOUT_S, Lab, Means
from harness.faults.sampling import SampledByShell
from harness.faults.undoing import UndoneByShell
from harness.measurements import MeansSample
from harness.topology import Role, Topology

_TARGET = Role.TARGET.value
# It waits for commands that sessions still have under way.
_TIMEOUT_S = 30.0


class LioSetting(UndoneByShell, SampledByShell):
    """What shell on the target changes, changes back, and shows."""

    @property
    def needs(self) -> frozenset[Means]:
        return frozenset({Means.LIO})

    def machine(self, topology: Topology) -> str:  # there is one target
        return _TARGET

    @abstractmethod
    def changing(self, topology: Topology) -> str:
        """Shell that changes it."""

    @abstractmethod
    def restoring(self, topology: Topology) -> str:
        """Shell that changes it back, whether it was changed or not."""

    @abstractmethod
    def showing(self, topology: Topology) -> str:
        """Shell that shows it."""

    @abstractmethod
    def unchanged(self, told: str, topology: Topology) -> str:
        """What is as it was planned, by what that printed, as half a sentence; else empty."""

    @abstractmethod
    def changed(self, told: str, topology: Topology) -> str:
        """What is not as it was planned, by what that printed; else empty."""

    def inject(self, lab: Lab) -> None:
        lab.machine(_TARGET).sh(self.changing(lab.topology), timeout_s=_TIMEOUT_S)

    def confirm(self, lab: Lab) -> None:
        self._wait_until_nothing_is(self.unchanged, lab)

    def sampling(self, lab: Lab) -> str:
        return self.showing(lab.topology)

    def samples_in(self, told: str, lab: Lab) -> Sequence[MeansSample]:
        return [MeansSample(self.name, missing=self.unchanged(told, lab.topology))]

    def undoing(self, lab: Lab) -> Mapping[str, str]:
        return {_TARGET: self.restoring(lab.topology)}

    def confirm_healed(self, lab: Lab) -> None:
        self._wait_until_nothing_is(self.changed, lab)

    def _wait_until_nothing_is(self, what: Callable[[str, Topology], str], lab: Lab) -> None:
        wrong = ""

        def settled() -> bool:
            nonlocal wrong
            told = lab.machine(_TARGET).sh(self.showing(lab.topology), timeout_s=SAMPLE_TIMEOUT_S)
            wrong = what(told.stdout, lab.topology)
            return not wrong

        poll(
            settled,
            what=f"LIO's settings for {self.name}",
            deadline=Deadline.after(CONFIRM_TIMEOUT_S),
            every_s=0.3,
            last_seen=lambda: wrong,
        )
