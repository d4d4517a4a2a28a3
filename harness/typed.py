"""Commands of this project in messages, as the reader has to type them.

`./bootstrap COMMAND` runs a command without bringing it into the reader's PATH, so what it says to
do next needs the same words before it. In the shell of `./bootstrap bash` no command needs them.
"""

from __future__ import annotations

import os
import re
import shutil

# bootstrap says there by which name it was called; empty if no command needs it.
VARIABLE = "PATHPROOF_BOOTSTRAP"
_COMMAND = re.compile(r"`(?=(?:pathproof|pytest)\b)")


def typed(command: str) -> str:
    """`pathproof …` or `pytest …` with `./bootstrap` before it, if this user needs that."""
    return f"{before} {command}" if (before := _before()) else command


def as_typed(text: str) -> str:
    """`text` with each such command in backticks as it has to be typed."""
    return _COMMAND.sub(f"`{before} ", text) if (before := _before()) else text


def _before() -> str:
    called = os.environ.get(VARIABLE)
    if called is None:
        return "" if shutil.which("pathproof") else "./bootstrap"
    return called if "/" in called or not called else f"./{called}"
