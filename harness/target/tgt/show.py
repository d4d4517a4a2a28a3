"""What tgtd serves, as `tgtadm --op show` prints it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.errors import TargetError


@dataclass(frozen=True)
class ShownLun:
    """A logical unit; 0 is tgt's own controller."""

    number: int
    kind: str
    scsi_id: str
    scsi_sn: str
    online: bool
    backing_store: str
    path: str


@dataclass(frozen=True)
class ShownTarget:
    """A target. An account that the target proves itself with is `name (outgoing)`."""

    tid: int
    iqn: str
    state: str
    luns: tuple[ShownLun, ...]
    accounts: tuple[str, ...]
    acl: tuple[str, ...]


def parse_targets(text: str) -> list[ShownTarget]:
    r"""Targets from `tgtadm --mode target --op show`. Raises TargetError for another form.

    Real output, shortened:

        Target 1: iqn.2026-01.io.pathproof:storage
            System information:
                Driver: iscsi
                State: ready
            I_T nexus information:
            LUN information:
                LUN: 1
                    Type: disk
                    SCSI ID: 600000007043dfe0435de773ca03bbf0
                    SCSI SN: 7043dfe0435de773ca03bbf0
                    Online: Yes
                    Backing store type: rdwr
                    Backing store path: /srv/pathproof/lun0.img
            Account information:
                me
                you (outgoing)
            ACL information:
                iqn.2026-01.io.pathproof:initiator
    """
    parts = re.split(r"^Target (\d+): (\S+)$", text, flags=re.MULTILINE)
    if parts[0].strip():
        raise TargetError(f"not a list of tgt's targets: {parts[0].splitlines()[0]!r}")
    try:
        return [
            _target(int(tid), iqn, body)
            for tid, iqn, body in zip(parts[1::3], parts[2::3], parts[3::3], strict=True)
        ]
    except (KeyError, ValueError) as error:
        raise TargetError(f"tgtadm shows a target in another form: {error!r}") from None


def _target(tid: int, iqn: str, body: str) -> ShownTarget:
    pieces = re.split(r"^ {4}(\S[^:\n]*):$", body, flags=re.MULTILINE)
    sections = dict(zip(pieces[1::2], pieces[2::2], strict=True))
    numbered = re.split(r"^ {8}LUN: (\d+)$", sections["LUN information"], flags=re.MULTILINE)
    return ShownTarget(
        tid,
        iqn,
        _settings(sections["System information"])["State"],
        tuple(
            _lun(int(number), lines)
            for number, lines in zip(numbered[1::2], numbered[2::2], strict=True)
        ),
        _entries(sections["Account information"]),
        _entries(sections["ACL information"]),
    )


def _lun(number: int, lines: str) -> ShownLun:
    shown = _settings(lines)
    return ShownLun(
        number,
        shown["Type"],
        shown["SCSI ID"],
        shown["SCSI SN"],
        shown["Online"] == "Yes",
        shown["Backing store type"],
        shown["Backing store path"],
    )


def _settings(lines: str) -> dict[str, str]:
    split = (line.partition(": ") for line in lines.splitlines())
    return {name.strip(): value.strip() for name, found, value in split if found}


def _entries(lines: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in lines.splitlines() if line.strip())


def parse_portals(text: str) -> set[str]:
    """Where tgtd listens, from `tgtadm --mode portal --op show`.

    Real output: `Portal: 172.16.0.1:3260,1`. If it cannot have an address, it listens on all:
    `Portal: 0.0.0.0:3260,1`.
    """
    return set(re.findall(r"^Portal: (\S+),\d+$", text, re.MULTILINE))
