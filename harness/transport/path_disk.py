"""Which disk a path is at the moment."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PathDisk:
    """The SCSI disk that the planned path `path` is now: its name ("sda") and number ("8:0").

    `origin` is the portal and the interface of open-iscsi, which stay when the disk gets another
    name and number, as "172.16.0.1:3260,default"; it is "" if it is not known.
    """

    path: str
    disk: str
    device: str
    origin: str = ""

    def __str__(self) -> str:
        return f"{self.path} ({self.disk})"
