"""What a sample asks of maps. A transport brings a part of its own, which takes the place of this.

Without one there are no maps.
"""

from typing import Dict, List


class WatchedMap:
    """The map of that name; `number` is its device number, 0 while it is not there."""

    def __init__(self, name: str) -> None:
        self.name = name.encode()
        self.number = 0

    def read(self) -> bytes:
        """Its status, as the host's end of the transport understands it; empty if there is none."""
        return b""

    def close(self) -> None:
        pass


def where(status: str) -> Dict[str, List[str]]:  # noqa: ARG001  # another part's takes it
    """By the number of each disk in that status: its name, session and origin."""
    return {}
