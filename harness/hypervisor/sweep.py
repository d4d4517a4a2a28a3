"""Clean up after a run that was killed: its guests live on until somebody stops them.

A process of its own does the work, because a process can open one embedded root in its life.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import harness
from harness.errors import HypervisorError, describe_command

_TIMEOUT_S = 60


def sweep(root: Path) -> tuple[str, ...]:
    """Destroy every guest in the embedded root `root`, whose owner has ended; return their names.

    Raises HypervisorError if the owner lives, or a guest cannot be stopped.
    """
    if not any(file.name != "driver.pid" for file in root.glob("run/qemu/*.pid")):
        return ()
    argv = [sys.executable, "-m", __name__, str(root.absolute())]
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
            cwd=Path(harness.__file__).parent.parent,
        )
    except subprocess.TimeoutExpired:
        raise HypervisorError(
            f"{root}: its guests could not be stopped within {_TIMEOUT_S} s",
            hint=f"stop them by hand: their process numbers are in {root}/run/qemu",
        ) from None
    if done.returncode != 0:
        outcome = f"exit status {done.returncode}"
        raise HypervisorError(
            describe_command(outcome, "this machine", argv, done.stdout, done.stderr, 0)
        )
    return tuple(json.loads(done.stdout))


def _main(root: Path) -> None:
    from harness.hypervisor.connection import EMBEDDED, connect
    from harness.hypervisor.domain import destroy_all

    with connect(EMBEDDED, root) as connection:
        sys.stdout.write(json.dumps(destroy_all(connection)))


if __name__ == "__main__":
    try:
        _main(Path(sys.argv[1]))
    except HypervisorError as error:
        sys.exit(str(error))
