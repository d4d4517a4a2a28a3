"""One of several targets is disabled for a while: its LUN's verdict fails, and no other does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from harness.checks import Verdict, judge_each, together, undisturbed
from harness.testbed import Testbed
from harness.topology import Role

_DISABLED_S = 5
# What a busy host does not leave unknown.
_NOT_OF_THE_HOST = ("no I/O errors", "data intact", "paths restored", "no unexpected path loss")
# One script each: $1 is the target's IQN, $2 is 0 or 1, whether it is to serve.
_LIO = (
    'for group in /sys/kernel/config/target/iscsi/"$1"/tpgt_*; do echo "$2" >"$group/enable"; done'
)
_TGT = r"""
tid=$(tgtadm --lld iscsi --mode target --op show | sed -n "s/^Target \([0-9]*\): $1\$/\1/p")
state=offline
[ "$2" = 0 ] || state=ready
tgtadm --lld iscsi --mode target --op update --tid "$tid" --name state --value $state
for nexus in $(tgtadm --lld iscsi --mode conn --op show --tid "$tid" |
    sed -n 's/^Session: \([0-9]*\)$/\1/p'); do
  [ "$2" = 1 ] ||
    tgtadm --lld iscsi --mode conn --op delete --tid "$tid" --sid "$nexus" --cid 0
done
"""
_SCRIPTS = {"lio": _LIO, "tgt": _TGT}


def test_a_target_that_serves_no_more_while_the_other_goes_on(testbed: Testbed, seed: int) -> None:
    """Every path to its LUN is lost, with the sessions of the other target over the same links."""
    topology, kind = testbed.topology, testbed.config.target.kind
    if len(topology.target_iqns) < 2 or kind not in _SCRIPTS:
        pytest.skip("needs several targets of kind lio or tgt: --topology two-targets")
    other, lun = topology.luns
    with testbed.io(testbed.layout.mixed(seed)) as io:
        io.wait_until_running()
        io.run_for(seconds=4)
        with disabled(testbed, lun.iqn, _SCRIPTS[kind]):
            io.run_for(seconds=_DISABLED_S)
        testbed.wait_for_paths(active=len(topology.paths))
        io.run_for(seconds=4)
    found = judge_each(io.measurements_by_lun, *undisturbed(testbed.config.budget.slack_s))
    for finding in together(found.values()).findings:
        print(finding)  # noqa: T201  # for people
    failed = {f.check for f in found[lun.name].findings if f.verdict is Verdict.FAIL}
    assert failed >= {"no stall", "no unexpected path loss"}
    assert "data intact" not in failed
    told = {f.check: f.verdict for f in found[other.name].findings}
    assert Verdict.FAIL not in told.values()
    assert {told[check] for check in _NOT_OF_THE_HOST} == {Verdict.PASS}


@contextmanager
def disabled(testbed: Testbed, iqn: str, script: str) -> Iterator[None]:
    """The target of that name refuses logins, and its sessions are ended."""
    machine = testbed.machine(Role.TARGET)
    machine.run(["sh", "-euc", script, "sh", iqn, "0"])
    try:
        yield
    finally:
        machine.run(["sh", "-euc", script, "sh", iqn, "1"])
