"""A target that is there already, an array or a server: nothing is configured on it.

Nor does anything run there: it is reached by its portals alone. What its LUN is, and that it may
be written to, is found out on the initiator before the first write (`harness.preflight`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness.config.model import TargetKind
from harness.errors import MachineError
from harness.machine import Machine, Process
from harness.target.base import Target
from harness.target.capabilities import Capabilities
from harness.topology import Lun

# Matches no WWID, so that a multipath.conf made of it takes nothing on.
UNNAMED = "not-named"


class NoMachine(Machine):
    """The computer of an external target: no command runs there."""

    def start(
        self, argv: Sequence[str], *, on_line: Callable[[bytes], None] | None = None
    ) -> Process:
        raise MachineError(f"`{argv[0]}` cannot run on {self.name}: Pathproof has no access to it")

    def close(self) -> None:
        """Nothing to give up."""


class ExternalTarget(Target):
    """Described by the configuration; `vendor` and `product` are known once it is reached."""

    kind: TargetKind = "external"
    vendor = ""
    product = ""
    capabilities = Capabilities()

    def wwid_of(self, lun: Lun) -> str:
        """By the configuration, UNNAMED if it has none."""
        return lun.wwid or UNNAMED

    def configure(self) -> None:
        """Leave it as it is."""

    def describe(self) -> str:
        """One line for the report."""
        chap = self.config.chap
        proof = "mutual CHAP" if chap and chap.outgoing else "CHAP" if chap else "no CHAP"
        iqns = ", ".join(self.topology.target_iqns)
        return f"external, {iqns}, LUN {', '.join(self.wwids)}, {proof}"
