"""Who started the run must not decide what its tests see, nor what they look at."""

import os
import signal
from collections.abc import Generator

import pytest

from suites.selftest.needs import NO_PACKAGE_BRINGS

# A shell starts what runs in the background with SIGINT ignored, and children inherit that:
# those that are to be interrupted here would not be.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# Whether a command is told with `./bootstrap` before it depends on how this one was started.
os.environ["PATHPROOF_BOOTSTRAP"] = ""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, None, None]:
    return (yield from _skipping_for_good_reasons())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, None, None]:
    return (yield from _skipping_for_good_reasons())


def _skipping_for_good_reasons() -> Generator[None, None, None]:
    """In CI a test that is skipped for want of a package fails: `./bootstrap tox` brings it."""
    try:
        return (yield)
    except pytest.skip.Exception as skipped:
        if not os.environ.get("CI") or skipped.msg in NO_PACKAGE_BRINGS:
            raise
        pytest.fail(
            f"skipped in CI: {skipped.msg}\n"
            "`./bootstrap tox` installs what tests need: add it to the table in bootstrap; what no "
            "package brings is in suites/selftest/needs.py",
            pytrace=False,
        )
