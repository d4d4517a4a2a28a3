"""Wrong wirings that a target of kind lio serves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from harness.deadline import Deadline, poll
from harness.target import LioTarget
from harness.target.lio import Serving, every_target, serving
from harness.testbed import Testbed
from harness.topology import Role
from harness.transport.dm_multipath.maps import MAPS_ARGV, find_map


@contextmanager
def exchanged_states(testbed: Testbed) -> Iterator[None]:
    """The target tells of each controller what the other one's state is."""
    target = testbed.target
    assert isinstance(target, LioTarget)
    wanted = serving(testbed.config.target, testbed.topology)
    one, other = wanted.groups
    swapped = (replace(one, alua=other.alua), replace(other, alua=one.alua))
    before = _priorities(testbed)
    target.serve(replace(wanted, groups=swapped))
    try:
        poll(
            lambda: _priorities(testbed).keys() == before.keys() and _priorities(testbed) != before,
            what="other priorities",
            deadline=Deadline.after(30),
            every_s=1,
            last_seen=lambda: str(_priorities(testbed)),
        )
        yield
    finally:
        target.serve(wanted)


def _priorities(testbed: Testbed) -> dict[str, int]:
    """What multipathd has of each disk: it asks anew with each check of a path."""
    said = testbed.machine(Role.INITIATOR).run(MAPS_ARGV).stdout
    found = find_map(said, testbed.map.attachment.wwid)
    return {path.disk: path.priority for path in found.paths} if found else {}


@contextmanager
def exchanged_luns(testbed: Testbed) -> Iterator[None]:
    """Each of two targets has the LUN of the other one."""
    one, other = wanted = every_target(testbed.config.target, testbed.topology)
    _served_anew(testbed, replace(one, groups=other.groups), replace(other, groups=one.groups))
    try:
        yield
    finally:
        _served_anew(testbed, *wanted)


def _served_anew(testbed: Testbed, *targets: Serving) -> None:
    """With sessions and maps made anew: a disk keeps the WWID that it had at first."""
    target, initiator = testbed.target, testbed.initiator
    assert isinstance(target, LioTarget)
    initiator.log_out()
    target.serve(*targets)
    initiator.log_in()
    initiator.wait_for_maps()
