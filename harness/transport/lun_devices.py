"""What the kernel calls the LUN under test, at each time of a test; pure.

A path that comes back may have another disk, its old number may go to a disk of somebody else, and
the map can be made anew: so what a line of the kernel's log is about depends on when it was said.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.units import NS_PER_S

# A line may be about what was seen a little earlier or later: samples come several times a second,
# and the clock of the kernel's log runs apart from theirs by some milliseconds. No device number
# is given to another within that time, as udev and multipathd have to look at it first.
_AROUND_NS = NS_PER_S


@dataclass(frozen=True)
class Look:
    """The map as it was at one moment: its number ("253:0"), and the path by each disk's number.

    The number is "" while there is no map.
    """

    at_ns: int
    map_number: str
    paths: Mapping[str, str]


@dataclass(frozen=True)
class LunDevices:
    """The LUN's devices on one machine, by looks in order of time; none on any other machine.

    `sessions` has the path of every session ("session1") that ever led to one of its disks: the
    kernel gives no number to another session.
    """

    looks: Sequence[Look] = ()
    sessions: Mapping[str, str] = field(default_factory=dict)

    def has_map(self, number: str, at_ns: int) -> bool:
        """Whether the device of that number was its map then."""
        return any(look.map_number == number for look in self._around(at_ns))

    def has_map_minor(self, minor: str, at_ns: int) -> bool:
        """Whether dm-`minor` was its map then: the kernel names these by their minor number."""
        return any(
            look.map_number.partition(":")[2] == minor
            for look in self._around(at_ns)
            if look.map_number
        )

    def path(self, disk: str, at_ns: int) -> str | None:
        """The path that a disk, by its number, was then; None if it was not in the map."""
        found = [look.paths[disk] for look in self._around(at_ns) if disk in look.paths]
        return found[-1] if found else None

    def _around(self, at_ns: int) -> Sequence[Look]:
        """The looks of that time, and the last before and the first after it."""
        first = bisect_left(self.looks, at_ns - _AROUND_NS, key=lambda look: look.at_ns)
        last = bisect_right(self.looks, at_ns + _AROUND_NS, key=lambda look: look.at_ns)
        return self.looks[max(0, first - 1) : last + 1]
