"""What nftables does to the packets of a portal, on one machine. Source: nft(8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Self

from harness.deadline import Deadline, poll
from harness.errors import FaultError
from harness.faults.base import CONFIRM_TIMEOUT_S, Lab, Means
from harness.faults.kind import Possible
from harness.faults.one_end import AtOneEnd
from harness.faults.sampling import SampledByShell
from harness.faults.undoing import UndoneByShell
from harness.machine import Machine
from harness.measurements import MeansSample
from harness.topology import Portal, Role, Topology, called

_TIMEOUT_S = 30.0
DROP = "counter drop"


@dataclass(frozen=True)
class PortalFilter(UndoneByShell, SampledByShell, AtOneEnd):
    """One machine has rules for the packets to a portal (`requests`) and from it (`answers`).

    They count what they match. Traffic to other ports of the same address passes.
    """

    portal: str

    requests: ClassVar[str] = DROP
    answers: ClassVar[str] = DROP

    @property
    def where(self) -> str:
        return self.portal

    @property
    def table(self) -> str:
        """The nftables table of faults of that portal, which holds nothing else."""
        return f"pathproof_drop_{self.portal.replace('-', '_')}"

    def inject(self, lab: Lab) -> None:
        rules = render_rules(
            self.table,
            lab.topology.portal(self.portal).portal,
            self.role,
            requests=self.requests,
            answers=self.answers,
        )
        self._at(lab).run(["nft", "--file", "-"], stdin=rules.encode(), timeout_s=_TIMEOUT_S)

    def confirm(self, lab: Lab) -> None:
        """The rules are there and have matched packets: the initiator keeps trying.

        Where paths go on, few packets may match, as on a path in reserve: what is counted while the
        fault lasts has to prove it.
        """
        least = 0 if self.goes_on else 1
        poll(
            lambda: (counted := self._counted(lab)) is not None and counted >= least,
            what=f"a packet that {self.name} acts on",
            deadline=Deadline.after(CONFIRM_TIMEOUT_S),
            every_s=0.3,
        )

    def sampling(self, lab: Lab) -> str:
        """Where nft cannot list the table, its name alone shows that it is there, and no count."""
        return f"nft list table inet {self.table} 2>/dev/null || nft list tables"

    def samples_in(self, told: str, lab: Lab) -> Sequence[MeansSample]:
        where = f"nftables table {self.table} of {called(self.machine(lab.topology))}"
        missing, count = "", None
        if self.table not in told.split():
            missing = f"{where} is gone"
        elif f"table inet {self.table} {{" in told:
            if told.split().count("packets") < len([s for s in (self.requests, self.answers) if s]):
                missing = f"rules of {where} are gone"
            else:
                count = parse_counted(told)
        return [MeansSample(self.name, missing=missing, count=count, grows=self.goes_on)]

    def undoing(self, lab: Lab) -> Mapping[str, str]:
        # "destroy" would be idempotent by itself, but needs nftables 1.0.7.
        table = self.table
        script = (
            f"nft list table inet {table} >/dev/null 2>&1 || exit 0; nft delete table inet {table}"
        )
        return {self.machine(lab.topology): script}

    def confirm_healed(self, lab: Lab) -> None:
        tables = self._at(lab).run(["nft", "list", "tables"], timeout_s=_TIMEOUT_S).stdout
        if self.table in tables.split():
            raise FaultError(f"{self.name} is not healed: table {self.table} is still there")

    def _counted(self, lab: Lab) -> int | None:
        """Packets that the rules have matched so far; None if they are not there."""
        argv = ["nft", "list", "table", "inet", self.table]
        listing = self._at(lab).run(argv, timeout_s=_TIMEOUT_S, check=False)
        return parse_counted(listing.stdout) if listing.status == 0 else None

    def _at(self, lab: Lab) -> Machine:
        return lab.machine(self.machine(lab.topology))


@dataclass(frozen=True)
class TargetFilter(PortalFilter):
    """The target's guest has the rules."""

    role: ClassVar[Role] = Role.TARGET
    means: ClassVar[Means] = Means.TARGET_GUEST

    @classmethod
    def everywhere(cls, topology: Topology, _: Possible) -> tuple[Self, ...]:
        """One of each portal."""
        return tuple(cls(portal.name) for portal in topology.portals)

    def hits(self, topology: Topology) -> tuple[str, ...]:
        return topology.over_portal(self.portal)

    def machine(self, topology: Topology) -> str:  # there is one target
        return Role.TARGET.value


def render_rules(
    table: str, portal: Portal, role: Role, *, requests: str = DROP, answers: str = DROP
) -> str:
    """nft commands by which `role` treats packets of a portal, before all other rules.

    By default it drops both directions. A direction without a statement has no rule.
    """
    family = "ip6" if portal.address.version == 6 else "ip"
    rules = [
        (f"{family} {way}addr {portal.address} tcp {way}port {portal.port}", statement, comes_in)
        for way, statement, comes_in in (
            ("d", requests, role is Role.TARGET),
            ("s", answers, role is Role.INITIATOR),
        )
        if statement
    ]
    return (
        f"add table inet {table}\n"
        f"add chain inet {table} inbound {{ type filter hook input priority -300; }}\n"
        f"add chain inet {table} outbound {{ type filter hook output priority -300; }}\n"
        + "".join(
            f"add rule inet {table} {'inbound' if comes_in else 'outbound'} {match} {statement}\n"
            for match, statement, comes_in in sorted(rules, key=lambda rule: not rule[2])
        )
    )


def parse_counted(listing: str) -> int:
    """Packets counted by all rules of a listing.

    Real line: `ip daddr 172.16.0.1 tcp dport 3260 counter packets 3 bytes 156 drop`
    """
    words = listing.split()
    return sum(int(n) for word, n in pairwise(words) if word == "packets")
