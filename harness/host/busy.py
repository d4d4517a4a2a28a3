"""Load on the host: what a run looks like where other programs want its processors."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

_LOOP = "while True: pass"


@contextmanager
def busy(loops: int) -> Iterator[None]:
    """So many programs that want a processor all the time, for the length of the block."""
    with ExitStack() as stack:
        for _ in range(loops):
            process = stack.enter_context(subprocess.Popen([sys.executable, "-I", "-c", _LOOP]))
            stack.callback(process.kill)
        yield
