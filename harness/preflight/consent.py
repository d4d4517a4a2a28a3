"""May this LUN be written to? Never when in doubt; pure.

It must be named by its WWID in the configuration, and nothing else may use it. And one of these
must be true: it has Pathproof's marker and no signature that wipefs(8) knows, or it is proven blank
in full, or its owner said `--erase WWID`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from harness.config import Config
from harness.config.luns import LunConfig
from harness.errors import Problem
from harness.preflight.marker import Marker
from harness.units import format_size


class Answer(StrEnum):
    """What may be done with the LUN. PROVE: read it in full, then ask again."""

    MARKED = "it has our marker"
    BLANK = "it is blank in full"
    ERASE = "its owner said --erase"
    PROVE = "it must be proven blank"
    REFUSED = "it must not be written to"

    @property
    def permits(self) -> bool:
        """Whether it may be written to."""
        return self in {Answer.MARKED, Answer.BLANK, Answer.ERASE}


@dataclass(frozen=True)
class Asked:
    """What the user said: the WWIDs in the configuration and after `--erase`, if any.

    `region` is how many bytes tests will use.
    """

    wwid: str | None
    erase: str | None = None
    region: int = 0

    @classmethod
    def of(cls, config: Config, lun: LunConfig) -> Asked:
        """What a configuration says of one of its LUNs."""
        erase = config.target.erase
        return cls(lun.wwid, erase if erase == lun.wwid else None, config.workload.region)


@dataclass(frozen=True)
class Signature:
    """Something that libblkid recognises: a file system, a partition table, LVM, RAID, swap."""

    kind: str
    offset: int
    label: str = ""

    def __str__(self) -> str:
        named = f" labelled {self.label!r}" if self.label else ""
        return f"{self.kind}{named} at offset {self.offset}"


@dataclass(frozen=True)
class Scan:
    """Reading a LUN of `size` bytes in full.

    `read` bytes were read and `unmapped` ones never written, by the target's own account.
    `data_at` is where a byte is not zero; `failure` says why not all was read.
    """

    size: int
    read: int
    unmapped: int = 0
    data_at: int | None = None
    failure: str = ""

    @property
    def proves_blank(self) -> bool:
        """Whether every byte is known to be zero."""
        whole = self.read + self.unmapped == self.size
        return whole and self.data_at is None and not self.failure


@dataclass(frozen=True)
class Contents:
    """What was found on a LUN of `size` bytes, read over one path.

    `marker` is None where there is none, and `no_marker` says what is there. `uses` are those of
    others; `scan` is None as long as it was not read in full.
    """

    wwid: str
    size: int
    marker: Marker | None
    no_marker: str = ""
    signatures: tuple[Signature, ...] = ()
    uses: tuple[Problem, ...] = ()
    scan: Scan | None = None

    @property
    def is_blank(self) -> bool:
        """Whether every byte of it is known to be zero."""
        return self.scan is not None and self.scan.size == self.size and self.scan.proves_blank


@dataclass(frozen=True)
class Decision:
    """The answer; `problems` say why it is no."""

    answer: Answer
    problems: tuple[Problem, ...] = ()


def decide(asked: Asked, found: Contents) -> Decision:
    """Whether the LUN may be written to; the only place where that is decided."""
    if problems := (*_misnamed(asked, found), *found.uses):
        return Decision(Answer.REFUSED, problems)
    if asked.erase is not None:
        return Decision(Answer.ERASE)
    if problems := tuple(_occupants(found)):
        return Decision(Answer.REFUSED, problems)
    if found.marker is not None:
        return Decision(Answer.MARKED)
    if found.scan is None:
        return Decision(Answer.PROVE)
    return Decision(Answer.BLANK)


def _misnamed(asked: Asked, found: Contents) -> Iterator[Problem]:
    if asked.wwid is None:
        yield Problem(
            f"the LUN that was found, {found.wwid} with {format_size(found.size)}, is not named "
            "in the configuration",
            f'if it is the right one, `wwid = "{found.wwid}"` in [target]',
        )
    elif asked.wwid != found.wwid:
        yield Problem(
            f"the LUN is {found.wwid}, and the configuration names {asked.wwid}",
            "name the right one in target.wwid",
        )
    if asked.region > found.size:
        yield Problem(
            f"the LUN {found.wwid} has {format_size(found.size)}, and tests would use "
            f"{format_size(asked.region)}",
            "use a larger LUN, or make workload.region smaller",
        )
    if asked.erase is not None and asked.erase != found.wwid:
        yield Problem(
            f"--erase names {asked.erase}, and the LUN is {found.wwid}",
            "give the WWID of the LUN whose data may be lost, or leave it out",
        )


def _occupants(found: Contents) -> Iterator[Problem]:
    """Everything on the LUN that its owner may miss, as far as it was looked for."""
    wwid = found.wwid
    cure = f"use another LUN; if the data on this one is not needed, once: `--erase {wwid}`"
    for signature in found.signatures:
        yield Problem(f"the LUN {wwid} has data: {signature}", cure)
    if found.marker is not None and found.marker.wwid != wwid:
        yield Problem(f"the LUN {wwid} has the marker of {found.marker.wwid}: it is a copy", cure)
    if found.marker is not None and found.marker.size != found.size:
        yield Problem(
            f"the LUN {wwid} had {format_size(found.marker.size)} when it was marked, and has "
            f"{format_size(found.size)} now",
            cure,
        )
    if found.marker is None and (scan := found.scan) is not None and not found.is_blank:
        if scan.data_at is not None:
            what = f"has data: a byte at offset {scan.data_at} is not zero ({found.no_marker})"
        else:
            read = f"{scan.read} of {found.size} bytes were read"
            what = f"is not proven blank: {scan.failure or read}"
        yield Problem(f"the LUN {wwid} {what}", cure)
