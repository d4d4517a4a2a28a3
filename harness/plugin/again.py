"""A test whose verdict is unknown is measured again, on a new testbed, before anything counts.

Tests are run as pytest runs them (`_pytest.runner.runtestprotocol`), with three differences for one
that is to be measured again. Its report waits until the test is cleaned up: if that fails, the lab
broke, and there is no other attempt. Its testbed is given back last: only then is it known whether
it may have to be kept. And only what belongs to the test alone is torn down: a process can open one
libvirt root in its life, which a fixture of the session holds.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from _pytest.runner import call_and_report, get_reraise_exceptions

from harness.plugin.attempts import Attempts
from harness.plugin.run import KEY, Run
from harness.reporting.outcomes import RERUN

PROPERTY = "measured_again"  # in JUnit files
# With these, pytest shows fixtures or waits for somebody who looks.
_BY_PYTEST = ("setuponly", "setupshow", "usepdb")


def run_attempts(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Run a test until it counts; None to leave it to pytest, which runs it once."""
    run = item.config.stash[KEY]
    run.attempts = Attempts(run.config.measure_again)
    left_to_pytest = any(map(item.config.getoption, _BY_PYTEST))
    if not isinstance(item, pytest.Function) or left_to_pytest or not run.attempts.most_again:
        run.attempts = Attempts()
        return None
    properties = item.user_properties[:]
    where = {"nodeid": item.nodeid, "location": item.location}
    again = True
    while again:
        item.ihook.pytest_runtest_logstart(**where)
        again = _attempt(item, nextitem, run)
        item.ihook.pytest_runtest_logfinish(**where)
        if again:
            unknown = "\n".join(run.attempts.unknown)
            run.attempts.begin_next()
            properties.append((PROPERTY, unknown))
            item.user_properties[:] = properties
            item._report_sections.clear()  # noqa: SLF001  # what it printed is in its own report
            item._initrequest()  # noqa: SLF001  # so does pytest for plugins that run tests again
    return True


def _attempt(item: pytest.Function, nextitem: pytest.Item | None, run: Run) -> bool:
    """Run a test once. Returns whether it is to be measured again."""
    try:
        if call_and_report(item, "setup").passed:
            call = call_and_report(item, "call", log=False)
            if run.attempts.unknown:
                return _clean_up_for_another(item, call, nextitem, run)
            item.ihook.pytest_runtest_logreport(report=call)
        call_and_report(item, "teardown", nextitem=_next(item, nextitem))
    finally:
        item._request = False  # type: ignore[assignment]  # noqa: SLF001  # as pytest does
        item.funcargs = None  # type: ignore[assignment]  # as pytest does
    return False


def _clean_up_for_another(
    item: pytest.Function, call: pytest.TestReport, nextitem: pytest.Item | None, run: Run
) -> bool:
    """Report an attempt whose verdict is unknown. Returns whether another can follow it."""
    try:
        teardown = call_and_report(item, "teardown", log=False, nextitem=item.parent)
        if not teardown.passed or _ends(item.session):
            run.attempts.end()
            run.note_failure(item.session)
        broken = _errors_of(item, run.attempts.give_back)
    except get_reraise_exceptions(item.config):  # the run is interrupted: none follows
        item.ihook.pytest_runtest_logreport(report=call)
        raise
    if broken:
        run.attempts.end()
    again = bool(run.attempts.unknown)
    if again:
        call.outcome = RERUN  # type: ignore[assignment]  # a fourth, where pytest has three
    for report in (call, teardown, *broken):
        item.ihook.pytest_runtest_logreport(report=report)
    if not again:
        _tear_down_the_rest(item, nextitem)
    return again


def _tear_down_the_rest(item: pytest.Function, nextitem: pytest.Item | None) -> None:
    """What the next test does not share."""
    down = item.session._setupstate.teardown_exact  # noqa: SLF001  # pytest has no other
    for report in _errors_of(item, lambda: down(_next(item, nextitem))):
        item.ihook.pytest_runtest_logreport(report=report)


def _errors_of(item: pytest.Function, action: Callable[[], None]) -> list[pytest.TestReport]:
    """Do a part of the clean-up. Returns its report if it fails, else nothing."""
    reraise = get_reraise_exceptions(item.config)
    call = pytest.CallInfo.from_call(action, when="teardown", reraise=reraise)
    return [item.ihook.pytest_runtest_makereport(item=item, call=call)] if call.excinfo else []


def _next(item: pytest.Function, nextitem: pytest.Item | None) -> pytest.Item | None:
    """None if the run ends here."""
    return None if _ends(item.session) else nextitem


def _ends(session: pytest.Session) -> bool:
    return bool(session.shouldfail or session.shouldstop)
