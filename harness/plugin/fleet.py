"""`pytest --fleet`: a run over many hosts, by pytest-xdist over the user's own ssh.

Its module-level hooks are a plugin of their own: xdist must have been configured before.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

import execnet
import pytest

from harness.config.fleet import load_fleet
from harness.errors import HarnessError
from harness.fleet import send_results
from harness.plugin.fleet_session import LIFELINE, FleetSession
from harness.plugin.run import KEY
from harness.plugin.scheduler import LabelsOf
from harness.plugin.workers import CLEAN_UP_S
from harness.schedule import Labels


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Say early that tests are distributed; which hosts are able to is known later."""
    if not _is_spread(config):
        return
    if config.getoption("numprocesses") is not None or config.getoption("tx"):
        raise pytest.UsageError("--fleet says where workers run; leave out -n and --tx")
    if config.getoption("dist") not in {"no", "load"}:
        raise pytest.UsageError("--fleet distributes tests with --dist load only")
    config.option.dist = "load"
    config.option.tx = ["ssh"]


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Replace xdist's session by the fleet's, or be the worker's end."""
    given: dict[str, Any] = getattr(config, "workerinput", {})
    plugins = config.pluginmanager
    if LIFELINE in given:
        plugins.register(OnHost(given[LIFELINE], config.stash[KEY].results))
    elif _is_spread(config):
        if config.stash[KEY].config.target.chap is not None:
            raise pytest.UsageError("--fleet takes no CHAP secrets to other hosts")
        try:
            fleet = load_fleet(config.getoption("fleet"))
        except HarnessError as error:
            raise pytest.UsageError(str(error)) from error
        plugins.unregister(name="dsession")
        plugins.unregister(name="terminaldistreporter")
        plugins.register(FleetSession(config, fleet), "dsession")


def labels_of(config: pytest.Config) -> LabelsOf | None:
    """What has the labels of the host behind a gateway, for the scheduler; None without a fleet."""
    if not _is_spread(config):
        return None

    def labels(spec: execnet.XSpec) -> Labels:
        session = config.pluginmanager.get_plugin("dsession")
        assert isinstance(session, FleetSession)
        return session.labels_of(spec)

    return labels


def _is_spread(config: pytest.Config) -> bool:
    """Whether this process is to spread its tests over a fleet."""
    asked = config.getoption("fleet") is not None and not config.option.collectonly
    return asked and not hasattr(config, "workerinput")


class OnHost:
    """The worker's end: results go to the controller; without a controller, the worker ends."""

    def __init__(self, lifeline: execnet.Channel, results: Path | None) -> None:
        self._lifeline = lifeline
        self._results = results
        self._tests_are_over = threading.Event()
        self._all_is_over = threading.Event()
        lifeline.setcallback(self._controller_left, endmarker=None)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self) -> Generator[None, object, object]:
        """Around Allure's, and before xdist says that the test is over."""
        result = yield
        self._send()
        return result

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self) -> Generator[None, object, object]:
        """Send the results when all is removed, inside xdist's hook, which needs a controller."""
        self._tests_are_over.set()
        try:
            return (yield)
        finally:
            self._send()
            self._all_is_over.set()

    def _send(self) -> None:
        if self._results is not None:
            with suppress(OSError):  # the other end is gone
                send_results(self._results, self._lifeline.send)

    def _controller_left(self, _: object) -> None:
        """End the tests, and wait until what they made is removed.

        Runs in execnet's receiving thread, which allows 15 s from its return to the end of this
        process: too little for a testbed.
        """
        if not self._tests_are_over.is_set():
            os.kill(os.getpid(), signal.SIGINT)
        self._all_is_over.wait(CLEAN_UP_S)
