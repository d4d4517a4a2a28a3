"""Commands of this project in messages, as the reader has to type them.

`./bootstrap COMMAND` runs a command without bringing it into the reader's PATH, so what it says to
do next needs the same words before it. In the shell of `./bootstrap bash` no command needs them.
"""

from __future__ import annotations

import os
import re
import shutil

VARIABLE = "PATHPROOF_BOOTSTRAP"  # bootstrap says there by which name it was called
_COMMAND = re.compile(r"`(?=(?:pathproof|pytest)\b)")


def typed(command: str) -> str:
    """`pathproof …` or `pytest …` with `./bootstrap` before it, if this user needs that."""
    return f"{before} {command}" if (before := _before()) else command


def as_typed(text: str) -> str:
    """`text` with each such command in backticks as it has to be typed."""
    return _COMMAND.sub(f"`{before} ", text) if (before := _before()) else text


def _before() -> str:
    if called := os.environ.get(VARIABLE):
        return called if "/" in called else f"./{called}"
    return "" if shutil.which("pathproof") else "./bootstrap"
