"""`--faults` and `--full`: which faults the tests of a fault are run with."""

from __future__ import annotations

import pytest

from harness.faults import Planned, planned, select
from harness.plugin.run import KEY
from harness.testbed.means import lacking
from harness.topology import plan

PARAMETER = "loss"


def chosen_losses(config: pytest.Config) -> tuple[Planned, ...]:
    """The values of the parameter `loss`: the usual ones, all, or those that `--faults` selects.

    Raises ConfigError if `--faults` makes no sense or selects none.
    """
    loaded = config.stash[KEY].config
    every = planned(plan(loaded), lambda fault: not lacking(loaded, fault.needs))
    expression = config.getoption("faults")
    if expression is not None:
        return select(every, expression)
    if config.getoption("full"):
        return tuple(one for one in every if not one.kind.damaging)
    return tuple(one for one in every if one.kind.usual)


def leave_out_other_tests(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With `--faults` only tests of a fault are run."""
    if config.getoption("faults") is None:
        return
    others = [item for item in items if not _is_of_a_fault(item)]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if _is_of_a_fault(item)]


def _is_of_a_fault(item: pytest.Item) -> bool:
    callspec = getattr(item, "callspec", None)
    return callspec is not None and PARAMETER in callspec.params
