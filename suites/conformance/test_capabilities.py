"""What the target can do, as its LUN reports over each path."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.target import LioTarget, target_for
from harness.target.lio import AccessState, every_target, one_group_each
from harness.testbed import Testbed
from harness.testbed.probe import probe, seen_in
from harness.topology import Role
from suites.conformance.tables import CAPABILITIES


def test_every_path_tells_of_what_the_kind_is_known_for(testbed: Testbed) -> None:
    """Every path reports the capabilities that this kind of target is known to have.

    LUNs of an array may have their access states, each over all of its paths the same.
    """
    luns = [list(paths.values()) for paths in probe(testbed).values()]
    assert all(len(set(features)) == 1 for features in luns)
    if testbed.target.kind == "external":
        return
    (features,) = {features for paths in luns for features in paths}
    seen = seen_in(features)
    assert (features.vendor, features.product) == (testbed.target.vendor, testbed.target.product)
    assert seen == replace(testbed.target.capabilities, chap=False, mutual_chap=False)
    CAPABILITIES.note(
        testbed.target.kind,
        {
            "ALUA": _word(seen.alua),
            "persistent reservations": _word(seen.persistent_reservations),
            "UNMAP": _word(seen.unmap),
            "COMPARE AND WRITE": _word(seen.compare_and_write),
        },
    )


@pytest.mark.requires("alua")
def test_access_states_of_several_groups_are_told(testbed: Testbed) -> None:
    """Paths to several groups report their access states, one not optimized, and reach one LUN."""
    target = testbed.target
    if not isinstance(target, LioTarget):
        pytest.skip(f"groups of a target of kind {target.kind} cannot be set")
    others = len(testbed.topology.portals) - 1
    if not others:
        pytest.skip("needs two portals, for a group each")
    testbed.broken = "its target was given groups of their own on purpose"
    states = [AccessState.NON_OPTIMIZED, *[AccessState.OPTIMIZED] * others]
    for initiator in testbed.initiators.values():
        initiator.log_out()
    targets = every_target(target.config, target.topology)
    target.serve(*(one_group_each(one, states) for one in targets))
    log_every_initiator_in(testbed)
    for features in (one for paths in probe(testbed).values() for one in paths.values()):
        assert "active/non optimized" in features.access_states
        assert "active/optimized" in features.access_states


@pytest.mark.parametrize("cache", ["write-through", "write-back"])
def test_every_path_tells_of_the_cache_that_was_asked_for(logged_out: Testbed, cache: str) -> None:
    """Every path reports the write cache that was asked for.

    Or the initiator's kernel would flush too little, and a crash of the target cost data.
    """
    config = logged_out.config.target.model_copy(update={"write_cache": cache})
    target_for(config, logged_out.machine(Role.TARGET), logged_out.topology).configure()
    log_every_initiator_in(logged_out)
    for one in logged_out.maps:
        for path in one.attachment.paths():
            said = logged_out.machine(one.machine).sh(
                f"cat /sys/block/{path.disk}/queue/write_cache"
            )
            assert said.stdout.strip() == cache.replace("-", " ")


def log_every_initiator_in(testbed: Testbed) -> None:
    """Log in on every path, and wait for the maps."""
    for initiator in testbed.initiators.values():
        initiator.log_in()
        initiator.wait_for_maps()


def _word(there: bool) -> str:
    return "yes" if there else "no"
