"""A fault as it was."""

from __future__ import annotations

from dataclasses import replace

from suites.selftest.unit.standstill import HEALED, at, measured


def test_the_order_to_heal_comes_before_it_is_carried_out() -> None:
    """Where it is not known when it was given, it counts as carried out at once."""
    (fault,) = measured().faults
    assert fault.ordered_ns == at(HEALED)
    assert replace(fault, healing_ns=at(HEALED - 1)).ordered_ns == at(HEALED - 1)
