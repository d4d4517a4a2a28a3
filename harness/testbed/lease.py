"""Testbeds for one test after another: the same one while it is whole, a new one if it broke."""

from __future__ import annotations

from contextlib import ExitStack

from harness.config import Config
from harness.errors import BrokenTestbed, HarnessError
from harness.testbed.provision import Provisioner, provisioner
from harness.testbed.testbed import Testbed


class Testbeds:
    """Hands out a testbed per test. A failure to make one is remembered and told at once.

    Use as a context manager; leaving it removes everything, or keeps it if `keep` was called.
    """

    __test__ = False

    def __init__(self, config: Config) -> None:
        self._config = config
        self._stack = ExitStack()
        self._current = ExitStack()
        self._provisioner: Provisioner | None = None
        self._testbed: Testbed | None = None
        self._cause: str | None = None

    def __enter__(self) -> Testbeds:
        return self

    def __exit__(self, *exc_info: object) -> None:
        with self._stack, self._current:
            pass

    def ready(self) -> Testbed:
        """A whole testbed with every path active.

        Raises BrokenTestbed, with the first cause, once making one has failed.
        """
        if self._cause is not None:
            raise BrokenTestbed(f"no testbed: {self._cause}")
        try:
            testbed = self._whole()
            try:
                testbed.make_ready()
            except HarnessError as error:  # what the last test left cannot be mended: a new one
                testbed.broken = error.message
                testbed = self._whole()
                testbed.make_ready()
        except HarnessError as error:
            self._cause = error.message
            raise
        except ExceptionGroup as group:  # both machines at once
            self._cause = "; ".join(map(str, group.exceptions))
            raise
        return testbed

    def keep(self) -> str | None:
        """Leave the machines running; returns the testbed's name, None if there is none."""
        if self._provisioner is None or self._testbed is None:
            return None
        self._provisioner.keep()
        return self._provisioner.folder.name

    def _whole(self) -> Testbed:
        if self._provisioner is None:
            self._provisioner = self._stack.enter_context(provisioner(self._config))
        if self._testbed is not None and self._testbed.broken:
            self._testbed = None
            self._current.close()
        if self._testbed is None:
            self._testbed = self._current.enter_context(self._provisioner.testbed())
        return self._testbed
