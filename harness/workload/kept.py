"""What nobody writes to while tests run: its digests, and whether it is still the same."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.errors import CommandFailed, WorkloadError
from harness.machine import Machine
from harness.measurements import MAP, BlockFinding, Damage
from harness.units import KIB
from harness.workload.job import Area
from harness.workload.programs import keeper

_FOLDER = "/run/pathproof/kept"
_TIMEOUT_S = 300.0
_PIECE = 64 * KIB
_FAR = 1 << 41  # the 2^32nd sector: where 32 bits of a sector number begin anew
_PLACES = 24


@dataclass(frozen=True)
class Kept:
    """How many pieces were compared with their digests, and what was found instead of some.

    `failure` says why that is not known. `others` are places that lead to another LUN than the one
    that was noted, with what they say of it; `silent` are those that do not say, and why.
    `identity` is what was noted, "" if the device does not tell which LUN it is.
    """

    compared: int = 0
    findings: tuple[BlockFinding, ...] = ()
    failure: str = ""
    others: Mapping[str, str] = field(default_factory=dict)
    silent: Mapping[str, str] = field(default_factory=dict)
    identity: str = ""

    def then(self, later: Kept) -> Kept:
        """With what a second comparison found."""
        return Kept(
            min(self.compared, later.compared),
            tuple(dict.fromkeys((*self.findings, *later.findings))),
            self.failure or later.failure,
            {**self.others, **later.others},
            {**self.silent, **later.silent},
            self.identity,
        )


def canaries(size: int, after: int) -> tuple[Area, ...]:
    """Places all over a LUN of that size, none of them in the region that ends at `after`.

    The last piece, those on both sides of the 2^32nd sector, and some by chance, always the same
    for a LUN of this size. They are read only, so that they need no consent.
    """
    chance = random.Random(size)  # noqa: S311  # no secret
    wanted = [size // _PIECE * _PIECE - _PIECE, _FAR - _PIECE, _FAR]
    pieces = range(-(-after // _PIECE), size // _PIECE)
    wanted += [n * _PIECE for n in chance.sample(pieces, min(_PLACES, len(pieces)))]
    inside = sorted({at for at in wanted if after <= at <= size - _PIECE})
    return tuple(Area(at, 4 * KIB) for at in inside)


def keep(machine: Machine, device: str, lun: str, areas: Sequence[Area]) -> None:
    """Note what is there now, and which LUN it is. Raises CommandFailed if it cannot be read."""
    extents = "".join(f"{area.offset} {area.size}\n" for area in areas)
    machine.run(["mkdir", "-p", _FOLDER])
    argv = ["python3", "-I", "-S", "-c", keeper(), "keep", f"{_FOLDER}/{lun}", device]
    machine.run(argv, stdin=extents.encode(), timeout_s=_TIMEOUT_S)


def check(machine: Machine, lun: str, places: Mapping[str, str]) -> Kept:
    """Compare it with what was noted, and each place's identity with the LUN's.

    `places` are devices by name: the map first, then its paths.
    """
    devices = [f"{place}={device}" for place, device in places.items()]
    file = f"{_FOLDER}/{lun}"
    argv = ["python3", "-I", "-S", "-c", keeper(), "check", file, places[MAP], *devices]
    try:
        return parse(machine.run(argv, timeout_s=_TIMEOUT_S).stdout)
    except CommandFailed as error:
        why = error.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        return Kept(failure=f"what should not change was not compared: {why[0]}")


def parse(text: str) -> Kept:
    """What `keeper.py check` printed. Raises WorkloadError for another form.

    Real lines:

        4063232 misdirected 4259840
        b silent No such device or address
        compared 282 names 3:600140..., serial number '...', 131072 blocks of 512 bytes
    """
    *lines, last = text.splitlines() or [""]
    if not (end := re.fullmatch(r"compared (\d+) ?(.*)", last)):
        raise WorkloadError(f"not the end of a comparison: {last!r}")
    findings = []
    told: dict[str, dict[str, str]] = {"is": {}, "silent": {}}
    for line in lines:
        if match := re.fullmatch(r"(\d+) ([a-z]+) (\d+)", line):
            offset, problem, number = match.groups()
            damage = Damage.UNREADABLE if problem == "unreadable" else Damage.CHANGED
            findings.append(BlockFinding(int(offset), MAP, damage, _detail(problem, number)))
        elif match := re.fullmatch(r"(\S+) (is|silent) (.*)", line):
            told[match[2]][match[1]] = match[3]
        else:
            raise WorkloadError(f"not a line of a comparison: {line!r}")
    return Kept(int(end[1]), tuple(findings), "", told["is"], told["silent"], end[2])


def _detail(problem: str, number: str) -> str:
    match problem:
        case "misdirected":
            return f"nothing was written there; it holds what belongs at offset {number}"
        case "unreadable":
            return f"it cannot be read (errno {number})"
        case "changed":
            return "nothing was written there, and it is another block of the same place"
        case _:
            return f"nothing was written there, and it is {problem}"
