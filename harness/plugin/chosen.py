"""`--faults` and `--full`: which faults the tests of a fault are run with."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from harness.faults import Fault, PlannedFault, planned, select
from harness.plugin.run import KEY
from harness.testbed.means import possible
from harness.topology import plan

PARAMETER = "loss"


def chosen_losses(config: pytest.Config) -> tuple[PlannedFault, ...]:
    """The values of the parameter `loss`: the usual ones, all, or those that `--faults` selects.

    Raises ConfigError if `--faults` makes no sense or selects none.
    """
    loaded = config.stash[KEY].config
    every = planned(plan(loaded), possible(loaded))
    expression = config.getoption("faults")
    if expression is not None:
        return select(every, expression)
    if config.getoption("full"):
        return tuple(one for one in every if not one.kind.damaging)
    return tuple(one for one in every if one.kind.usual)


def leave_out_other_tests(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With `--faults` only tests are run that have one of these faults, or its kind, to try."""
    if config.getoption("faults") is None:
        return
    faults = [one.fault for one in chosen_losses(config)]
    kept: list[pytest.Item] = []
    others: list[pytest.Item] = []
    for item in items:
        (kept if _tries_one_of(faults, item) else others).append(item)
    config.hook.pytest_deselected(items=others)
    items[:] = kept


def _tries_one_of(faults: Sequence[Fault], item: pytest.Item) -> bool:
    """Whether a parameter of a test is one of these faults, or the class of one."""
    callspec = getattr(item, "callspec", None)
    values = callspec.params.values() if callspec else ()
    return any(
        (isinstance(value, Fault) and value in faults)
        or (isinstance(value, type) and value in {type(fault) for fault in faults})
        for value in values
    )
