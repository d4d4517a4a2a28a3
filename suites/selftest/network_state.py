"""What a machine says of its network, disks and daemons: compared before a fault and after it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from harness.deadline import Deadline, poll
from harness.machine import Machine

_ASKED = """
ip -o address; ip route; ip -6 route; ip -o link; tc qdisc show
grep . /proc/sys/net/ipv4/conf/*/promote_secondaries
if command -v nft >/dev/null; then nft list tables; fi
for unit in iscsid multipathd; do echo "$unit: $(systemctl is-active $unit || :)"; done
cat /sys/block/sd*/device/state 2>/dev/null | sort | uniq -c
ls /run/pathproof/faults 2>/dev/null || :
"""
# Which address of a subnet comes first: one that was taken away is the last when it is back. And
# what a NIC that is back still has to learn.
_PASSES = re.compile(r"secondary |NO-CARRIER,|state \w+|tentative |linkdown *| src \S+")


def network_state(machines: Iterable[Machine]) -> frozenset[str]:
    """Addresses, routes, links with their MTU, queueing disciplines and tables of nftables.

    How many disks are in which state, and which daemons of an initiator run. Without what the
    kernel chooses by itself, such as link-local addresses.
    """
    return frozenset(
        f"{machine.name}: {_PASSES.sub('', line)}"
        for machine in machines
        for line in machine.sh(_ASKED).stdout.splitlines()
        if "fe80:" not in line and "ff00::" not in line
    )


def require_state(machines: Iterable[Machine], before: frozenset[str], after: str) -> None:
    """Wait until all is as `before`: the kernel notes a carrier that comes back a moment later.

    Raises TimedOut with what differs.
    """
    every = tuple(machines)
    poll(
        lambda: network_state(every) == before,
        what=f"all as it was before {after}",
        deadline=Deadline.after(10),
        every_s=0.5,
        last_seen=lambda: "\n".join(sorted(network_state(every) ^ before)),
    )
