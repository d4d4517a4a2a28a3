"""Saying things: one message a line, at once or held back until the next; and the clock."""

import json
import sys
import time
from typing import Any, Callable, Dict, List


class Voice:
    """Prints messages at once, or keeps them until the next that is printed at once."""

    def __init__(self) -> None:
        self.held: List[Callable[[], Dict[str, Any]]] = []
        self.encode = json.JSONEncoder(separators=(",", ":")).encode

    def say(self, message: Dict[str, Any]) -> None:
        self.held.append(lambda: message)
        self.flush()

    def flush(self) -> None:
        sys.stdout.write("".join(self.encode(message()) + "\n" for message in self.held))
        sys.stdout.flush()
        self.held.clear()


def now_ns() -> int:
    return int(time.monotonic() * 1e9)  # time.monotonic_ns() came with Python 3.7
