"""Packets that are held up, dropped or refused on purpose; each way counts how many they were."""

from __future__ import annotations

import re
from collections.abc import Iterable

from harness.faults.portal_filter import parse_counted, render_rules
from harness.machine import Machine
from harness.testbed import Testbed
from harness.topology import Role, TargetPortal

TABLE = "planted"
_LIST = f"nft list table inet {TABLE}"
UNDO = f"{_LIST}; nft delete table inet {TABLE}"
_TIMEOUT_S = 60.0


def hamper(machine: Machine, nics: Iterable[str], limit: str) -> None:
    """Have a queueing discipline at the end of what each NIC sends, such as `netem delay 50ms`."""
    machine.sh("; ".join(f"tc qdisc replace dev {nic} root {limit}" for nic in nics))


def relieve(machine: Machine, nics: Iterable[str]) -> int:
    """Take it away again, and say how many packets went through it."""
    each = (f"tc -s qdisc show dev {nic}; tc qdisc delete dev {nic} root" for nic in nics)
    return packets_sent(machine.sh("; ".join(each)).stdout)


def packets_sent(listing: str) -> int:
    """Those of all queueing disciplines of a listing.

    Real line: ` Sent 4130 bytes 41 pkt (dropped 0, overlimits 0 requeues 0)`
    """
    return sum(map(int, re.findall(r"^ *Sent \d+ bytes (\d+) pkt", listing, re.MULTILINE)))


def silence_rules(portal: TargetPortal) -> str:
    """A command for the target, from which on it hears and says nothing at a portal."""
    return f"nft --file - <<'END'\n{render_rules(TABLE, portal.portal, Role.TARGET)}END"


def silence(testbed: Testbed, portal: TargetPortal, pause_s: float, times: int = 1) -> int:
    """Let the target hear nothing at a portal, so often and for so long each time.

    How many packets it dropped.
    """
    return on_target(
        testbed,
        f"for n in $(seq {times}); do\n"
        f"{silence_rules(portal)}\nsleep {pause_s}; {UNDO}; sleep 0.8\n"
        "done",
    )


def reset(testbed: Testbed, portal: TargetPortal) -> int:
    """Let the target reset the connections to a portal for a moment, and say how often it did."""
    at = portal.portal
    family = "ip6" if at.address.version == 6 else "ip"
    refuse = f"{family} daddr {at.address} tcp dport {at.port} counter reject with tcp reset"
    return on_target(
        testbed,
        f"nft --file - <<'END'\nadd table inet {TABLE}\n"
        f"add chain inet {TABLE} inbound {{ type filter hook input priority -300; }}\n"
        f"add rule inet {TABLE} inbound {refuse}\nEND\n"
        f"sleep 0.1; {UNDO}",
    )


def on_target(testbed: Testbed, script: str) -> int:
    """Run a script on the target that lists rules, and say how many packets they met."""
    done = testbed.machine(Role.TARGET).sh(script, timeout_s=_TIMEOUT_S)
    return parse_counted(done.stdout)
