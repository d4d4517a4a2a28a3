"""How packets are counted that the suite of planted defects holds up."""

from __future__ import annotations

from suites.selftest.defects.packets import packets_sent

# What `tc -s qdisc show` of iproute2 6.1.0 printed of a NIC; the spaces at the ends are gone.
LISTING = """\
qdisc tbf 8002: root refcnt 2 rate 2Mbit burst 16Kb lat 1s
 Sent 11972 bytes 82 pkt (dropped 0, overlimits 0 requeues 0)
 backlog 0b 0p requeues 0
"""


def test_packets_of_all_disciplines_count() -> None:
    assert packets_sent(LISTING) == 82
    assert packets_sent(2 * LISTING) == 164
    assert packets_sent("") == 0
