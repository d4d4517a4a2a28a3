"""What multipathd tells of its maps. Source: multipathd(8)."""

from __future__ import annotations

import json
from dataclasses import dataclass

from harness.errors import InitiatorError

MAPS_ARGV = ["multipathd", "show", "maps", "json"]


@dataclass(frozen=True)
class MapPath:
    """One path as multipathd sees it: dm's state ("active"), and the path checker's ("ready").

    `priority` is what the prioritizer found, 50 for an optimized path of ALUA.
    """

    disk: str
    device: str
    dm_state: str
    checker_state: str
    priority: int


@dataclass(frozen=True)
class Map:
    """A multipath map: WWID, device-mapper name ("dm-0"), and its paths by path group."""

    wwid: str
    dm_name: str
    groups: tuple[tuple[MapPath, ...], ...]

    @property
    def paths(self) -> tuple[MapPath, ...]:
        """The paths of all groups."""
        return tuple(path for group in self.groups for path in group)


def find_map(text: str, wwid: str) -> Map | None:
    """The map of one LUN in `multipathd show maps json`; other maps may be whatever they are.

    Raises InitiatorError for any other answer, such as one that was cut off, or `timeout`, which
    multipathd prints with exit status 0. Real output, abridged: `{"maps": [{"uuid": "360014057…",
    "sysfs": "dm-0", "path_groups": [{"pri": 50, "group": 1, "paths": [{"dev": "sda", "dev_t":
    "8:0", "dm_st": "active", "chk_st": "ready", "pri": 50}]}]}]}`
    """
    try:
        for entry in json.loads(text)["maps"]:
            if entry.get("uuid") == wwid:
                return Map(
                    wwid,
                    entry["sysfs"],
                    tuple(
                        tuple(
                            MapPath(p["dev"], p["dev_t"], p["dm_st"], p["chk_st"], int(p["pri"]))
                            for p in group["paths"]
                        )
                        for group in entry["path_groups"]
                    ),
                )
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # JSON of another shape
        said = text.strip()[-100:] or "nothing"
        raise InitiatorError(
            f"multipathd's answer is not a list of maps: {error!r}; it ends in: {said}"
        ) from None
    return None
