"""Faults by commands of the user's own: at switches, PDUs and arrays that only they can reach.

What such a command says proves nothing. Of paths that are lost their byte counters prove it, and
the sweep, which goes on asking; of those that go on a number that has to grow.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Self

from harness.budget import Effect
from harness.config.callouts import COMMANDS, CalloutConfig
from harness.faults import callout_records
from harness.faults.base import Fault, Lab, Means
from harness.faults.callout_records import Record
from harness.faults.kind import Family, Kind, Possible
from harness.faults.own_command import OwnCommand
from harness.measurements import MeansSample
from harness.topology import Topology

_LONGEST_SHOWN = 100
# So that what is counted has the time to grow, and is seen to.
_COUNTING_S = 6.0


@dataclass(frozen=True)
class Callout(Fault):
    """What a command of the user's own breaks, on the host of the harness, and another one mends.

    Before it is injected it is noted how to heal it: what these commands do is not known, so
    nothing is healed that was not noted.
    """

    own: CalloutConfig

    @classmethod
    def everywhere(cls, topology: Topology, _: Possible) -> tuple[Self, ...]:
        """Those of the configuration."""
        return tuple(cls(one) for one in topology.callouts)

    @property
    def where(self) -> str:
        return self.own.name

    def hits(self, topology: Topology) -> tuple[str, ...]:
        names = set(self.own.hit)
        return tuple(
            path.name
            for path in topology.paths
            if {
                "links": path.link.name,
                "portals": path.portal.name,
                "controllers": path.portal.controller,
                "paths": path.name,
            }[self.own.hit_by]
            in names
        )

    def disturbs(self, topology: Topology) -> tuple[str, ...]:
        return self.own.hit if self.own.hit_by == "links" else ()

    @property
    def needs(self) -> frozenset[Means]:
        return frozenset({Means.OWN_COMMANDS})

    @property
    def effects(self) -> frozenset[Effect]:
        return frozenset({Effect(self.own.effect)})

    @property
    def means_hidden(self) -> bool:
        return not self.own.count

    @property
    def lasts_s(self) -> float:
        return max(self.own.lasts_s, _COUNTING_S if self.own.count else 0.0)

    @property
    def description(self) -> str:
        command = shorten(shlex.join(self.own.inject), _LONGEST_SHOWN, placeholder=" …")
        what = self.own.hit_by if len(self.own.hit) > 1 else self.own.hit_by.removesuffix("s")
        return f"a command of the user's own breaks {what} {', '.join(self.own.hit)}: {command}"

    def inject(self, lab: Lab) -> None:
        """Nothing is broken that could not be healed, as a program is missing."""
        for what in COMMANDS:
            if self.own.command(what):
                self._command(what).require_program()
        confirm = self._command("confirm_healed") if self.own.confirm_healed else None
        mark = callout_records.note(Record(self.name, self._command("heal"), confirm))
        self._command("inject").succeed(mark)

    def confirm(self, lab: Lab) -> None:
        """By its word alone; without one the effect has to be there once it was injected."""
        if self.own.confirm:
            self._command("confirm").wait_for_success(self.name)

    def sample_means(self, lab: Lab) -> Sequence[MeansSample]:
        if not self.own.count:
            return []
        count = self._command("count").number(self.name)
        return [MeansSample(self.name, count=count, grows=True)]

    def heal(self, lab: Lab) -> None:
        callout_records.heal(self.name)

    def confirm_healed(self, lab: Lab) -> None:
        callout_records.confirm_healed(self.name)

    def _command(self, what: str) -> OwnCommand:
        limit_s: float = getattr(self.own, f"{what}_timeout_s", 0.0)
        folder = (self.own.folder or Path()).absolute()
        return OwnCommand(self.name, what, self.own.command(what), limit_s, str(folder))


def heal_callouts(topology: Topology) -> None:
    """Heal those of its callouts that this run has left, or one that was killed.

    Raises HarnessError if one cannot be healed.
    """
    if topology.callouts:
        callout_records.heal_left_behind({Callout(one).name for one in topology.callouts})


CALLOUT_KINDS = (
    Kind(
        Callout,
        "callout",
        Family.CALLOUT,
        "what a command of your own breaks: a port of a switch, a socket of a PDU, a part of an "
        "array ([callouts.md](callouts.md))",
        "what its `effect` says",
        Callout.everywhere,
        usual=True,
    ),
)
