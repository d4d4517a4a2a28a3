"""Where blocks are read back: through the map, and over the disk that each path has by then."""

from __future__ import annotations

from harness.measurements import MAP
from harness.testbed.read_back import places_of
from harness.transport.path_disk import PathDisk

PATHS = (PathDisk("a", "sda", "8:0"), PathDisk("b", "sdb", "8:16"))


def test_a_path_is_read_over_the_disk_that_it_has_by_now() -> None:
    """It came back under another name; what was its name is somebody else's."""
    now = {"a": PATHS[0], "b": PathDisk("b", "sdx", "65:112")}
    assert places_of("/dev/mapper/x", PATHS, now) == {
        MAP: "/dev/mapper/x",
        "a": "/dev/sda",
        "b": "/dev/sdx",
    }


def test_a_path_without_a_disk_is_not_read_at_all() -> None:
    """That it was not is for the check to say."""
    now = {"a": PATHS[0]}
    assert places_of("/dev/mapper/x", PATHS, now) == {MAP: "/dev/mapper/x", "a": "/dev/sda"}
