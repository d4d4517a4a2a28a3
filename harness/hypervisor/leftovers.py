"""Clean up after a run that was killed: its guests live on until somebody stops them.

First libvirt is asked, in a process of its own, because a process can open one embedded root
in its life. Then QEMU is looked for among all processes, since libvirt does not know of each:
to learn what QEMU can do it starts one with `-daemonize` and keeps no record of it, and a
status file may be damaged. Before QEMU of a guest runs, its status file is written
(`qemuProcessLaunch` of libvirt 9.0), and a fork that has not got so far ends with its parent.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import harness
from harness.deadline import Deadline, poll
from harness.errors import HypervisorError, describe_command
from harness.hypervisor.tool import run_tool
from harness.locks import has_record_lock
from harness.steps import warn

_TIMEOUT_S = 60
_OWNER_TIMEOUT_S = 30
_DEATH_TIMEOUT_S = 20


def end_leftovers(root: Path) -> tuple[str, ...]:
    """Destroy every guest in the embedded root `root`, whose owner has ended; return their names.

    A QEMU that libvirt does not know is named by its process number. Raises HypervisorError if
    the owner lives, TimedOut and HypervisorError if a guest cannot be stopped.
    """
    root = root.absolute()
    _wait_for_owner(root)
    names: tuple[str, ...] = ()
    if any(file.name != "driver.pid" for file in root.glob("run/qemu/*.pid")):
        try:
            names = _ask_libvirt(root)
        except HypervisorError as error:
            warn(f"libvirt could not end the guests of {root}, so they are killed: {error.message}")
    return names + tuple(f"process {pid}" for pid in _kill_qemus(root))


def _wait_for_owner(root: Path) -> None:
    """Let a process that has the root open end; it may be sweeping for a run that was killed.

    libvirt holds a POSIX lock on its first byte for as long as it has the root open.
    """
    file = root / "run/qemu/driver.pid"

    poll(
        lambda: not has_record_lock(file),
        what=f"{root}: the process that has it open ends",
        deadline=Deadline.after(_OWNER_TIMEOUT_S),
        last_seen=lambda: f"process {file.read_text().strip()} has it open",
    )


def _ask_libvirt(root: Path) -> tuple[str, ...]:
    argv = [sys.executable, "-m", __name__, str(root)]
    try:
        done = run_tool(argv, _TIMEOUT_S, Path(harness.__file__).parent.parent)
    except subprocess.TimeoutExpired:
        raise HypervisorError(f"{root}: no answer from libvirt within {_TIMEOUT_S} s") from None
    if done.returncode != 0:
        outcome = f"exit status {done.returncode}"
        raise HypervisorError(
            describe_command(outcome, "this machine", argv, done.stdout, done.stderr, 0)
        )
    return tuple(json.loads(done.stdout))


def _kill_qemus(root: Path) -> list[int]:
    """Kill every QEMU whose command line names a file below `root`; return what they were.

    Raises HypervisorError for one that does not end.
    """
    killed: list[int] = []
    # Again after success: one that was killed may have had a child that was not listed yet.
    while found := [pid for pid in _processes() if _is_qemu_below(root, pid) and _kill(root, pid)]:
        killed += found
    return killed


def _processes() -> list[int]:
    return [int(process.name) for process in Path("/proc").glob("[0-9]*")]


def _kill(root: Path, pid: int) -> bool:
    """Kill it and see it end; False if it ended by itself, also if `pid` is another one now."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if not _is_qemu_below(root, pid):
            return False
        signal.pidfd_send_signal(process, signal.SIGKILL)
        if not select.select([process], [], [], _DEATH_TIMEOUT_S)[0]:
            raise HypervisorError(
                f"{root}: QEMU (process {pid}) is still there {_DEATH_TIMEOUT_S} s after SIGKILL",
                hint="such a process waits for the storage under its disks",
            )
    except ProcessLookupError:
        return False
    finally:
        os.close(process)
    return True


def _is_qemu_below(root: Path, pid: int) -> bool:
    """Whether it is QEMU, and no editor that shows its log, with a path below `root`."""
    process = Path(f"/proc/{pid}")
    try:
        program = (process / "exe").readlink().name
        arguments = (process / "cmdline").read_bytes()
    except OSError:
        return False
    return program.startswith("qemu") and os.fsencode(f"{root}/") in arguments


def _main(root: Path) -> None:
    from harness.config.uri import EMBEDDED
    from harness.hypervisor.connection import connect
    from harness.hypervisor.domain import destroy_all

    with connect(EMBEDDED, root) as connection:
        sys.stdout.write(json.dumps(destroy_all(connection)))


if __name__ == "__main__":
    try:
        _main(Path(sys.argv[1]))
    except HypervisorError as error:
        sys.exit(str(error))
