"""The host where QEMU runs: this one, or one that a RemoteHost reaches."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, cast

from harness.errors import MachineError, Problem
from harness.machine.base import COMMAND_TIMEOUT_S, Completed
from harness.machine.local import LocalMachine

REACH_TIMEOUT_S = 30.0
_PIECE = 1 << 20

# tmpfs refuses it before Linux 6.6, and so do some file systems that lie on others.
_TRY_DIRECT_IO = """
file=$(mktemp -p "$1" direct-io-XXXXXX)
trap 'rm -f "$file"' EXIT
dd if=/dev/zero "of=$file" bs=4096 count=1 oflag=direct
"""

# IFF_UP is 1 (linux/if.h); a bridge of Open vSwitch has no folder `bridge`, and libvirt would need
# to be told of it.
_LOOK_AT_BRIDGE = """
cd /sys/class/net
add="ip link add $1 type bridge && ip link set $1 up"
test -e "$1" || { echo "is not there"; echo "as root \\`$add\\` makes it, without a port"
  echo "to reach an array it needs the NIC that leads there as its port, as root" \\
    "\\`ip link set NIC master $1\\`; addresses of that NIC then belong on the bridge"
  exit; }
test -d "$1/bridge" || { echo "is no bridge of the kernel, but another kind of interface"; exit; }
flags=$(cat "$1/flags")
test $((flags & 1)) = 1 || { echo "is down"; echo "as root \\`ip link set $1 up\\`"; exit; }
for port in "$1"/brif/*; do
  test -e "$port" || continue
  mtu=$(cat "$port/../mtu") name=${port##*/}
  test "$mtu" -ge "$2" || { echo "has port $name, whose MTU is $mtu and not $2"
    echo "as root \\`ip link set $name mtu $2\\`, and at the switch behind it"; exit; }
done
"""

# In hundredths of a second. A port of a bridge with spanning tree listens for the one time, and
# learns for the other: br_forward_delay_timer_expired() in net/bridge/br_stp_timer.c.
_BRIDGE_DELAY = """
cd "/sys/class/net/$1/bridge"
stp=$(cat stp_state) delay=$(cat forward_delay)
test "$stp" = 0 || echo $((2 * delay))
"""


class HypervisorHost(LocalMachine):
    """The host where QEMU runs: this one."""

    def reach(self, argv: Sequence[str], *, timeout_s: float = REACH_TIMEOUT_S) -> Completed:
        """Run the first command there."""
        return self.run(argv, timeout_s=timeout_s)

    def pipe(self, source: Sequence[str], argv: Sequence[str]) -> Completed:
        """Run a command there that reads what the command `source` writes here, of any length.

        Returns when both have ended, whatever `argv` says of it. Raises MachineError if
        `source` failed.
        """
        with (
            subprocess.Popen(source, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as made,
            self.background(argv) as process,
        ):
            output = cast(IO[bytes], made.stdout)
            with suppress(MachineError):  # its exit status will explain
                while piece := output.read(_PIECE):
                    process.send(piece)
            output.close()
            process.close_input()
            done = process.wait(COMMAND_TIMEOUT_S)
        if done.status == 0 and made.returncode != 0:
            raise MachineError(f"{source[0]} failed with exit status {made.returncode}")
        return done

    def tunnel(self, port: int) -> tuple[str, ...]:  # another host has one
        """The command that connects to `port` of its 127.0.0.1; empty if none is needed."""
        return ()

    def takes_direct_io(self, folder: Path) -> bool:
        """Whether files there can be opened with O_DIRECT, which is tried."""
        argv = ["sh", "-euc", _TRY_DIRECT_IO, "sh", str(folder)]
        return self.run(argv, check=False).status == 0

    def bridge_problem(self, name: str, mtu: int = 0) -> Problem | None:
        """What keeps machines from a bridge of that name there; None if nothing does.

        Each of its ports must let frames of `mtu` bytes through.
        """
        said = self.run(["sh", "-euc", _LOOK_AT_BRIDGE, "sh", name, str(mtu)]).stdout
        cause, _, cure = said.strip().partition("\n")
        return Problem(f"bridge {name} {cause}", cure) if cause else None

    def bridge_delay_s(self, name: str) -> float:
        """For how long a machine that is new on a bridge there is not heard; 0 if at once."""
        said = self.run(["sh", "-euc", _BRIDGE_DELAY, "sh", name], check=False).stdout
        return int(said or 0) / 100
