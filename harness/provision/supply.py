"""Testbeds for one test after another: a new one for each, or the same while it is intact."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING

from harness.config import Config
from harness.errors import BrokenTestbed, HarnessError, defects, summary
from harness.faults import heal_callouts
from harness.lacking import Lacking
from harness.provision.existing import ExistingProvisioner, existing_provisioner
from harness.testbed.testbed import Testbed
from harness.topology import plan

if TYPE_CHECKING:
    from harness.provision.provisioner import Provisioner

# Whoever waits for the place of a testbed that tests share gets it at the end of a test after this
# time: so long that a testbed that has to be booted is worth it.
_TURN_S = 300.0


class Scope(StrEnum):
    """The tests that share a testbed: none, those of a module, or all."""

    TEST = "test"
    MODULE = "module"
    SESSION = "session"


class Testbeds:
    """Lends a testbed to each test. A failure to make one is remembered and told at once.

    Use as a context manager; leaving it removes everything, or keeps it if `keep` was called.
    """

    __test__ = False

    def __init__(self, config: Config) -> None:
        self._config = config
        self._stack = ExitStack()
        self._current = ExitStack()
        self._provisioner: Provisioner | ExistingProvisioner | None = None
        self._testbed: Testbed | None = None
        self._owner: object = None
        self._made_at = 0.0
        self._cause: str | None = None

    def __enter__(self) -> Testbeds:
        return self

    def __exit__(self, *exc_info: object) -> None:
        with self._stack, self._current:
            pass

    @contextmanager
    def lent(self, owner: object = None) -> Iterator[Testbed]:
        """A testbed with every path active, for the length of the block.

        The same `owner` gets the same testbed again, while it is intact and its turn lasts; None
        stands for one block, after which the testbed is removed. Raises BrokenTestbed, with the
        first cause, once making one has failed.
        """
        testbed = self._ready(owner)
        try:
            yield testbed
        finally:
            if owner is None:
                self._return()

    @property
    def lacking(self) -> tuple[Lacking, ...]:
        """What the testbed that is lent has to do without, although the configuration wants it."""
        return self._provisioner.lacking if self._provisioner is not None else ()

    def renew(self) -> None:
        """Lend a new testbed next, whoever had the last one."""
        self._owner = None

    def keep(self) -> str | None:
        """Leave the machines running; returns the testbed's name, None if there is none."""
        if self._provisioner is None or self._testbed is None:
            return None
        return self._provisioner.keep()

    def _ready(self, owner: object) -> Testbed:
        if self._cause is not None:
            raise BrokenTestbed(f"no testbed: {self._cause}")
        try:
            if owner is None or owner != self._owner or self._testbed is None or self._gives_way():
                return self._new(owner)
            try:
                self._testbed.make_ready()
            except HarnessError as error:  # what the last test left cannot be mended
                if defects(error):
                    raise
                return self._new(owner)
        except HarnessError as error:
            if not defects(error):
                self._cause = summary(error)
            raise
        return self._testbed

    def _new(self, owner: object) -> Testbed:
        self._return()
        heal_callouts(plan(self._config))
        if self._provisioner is None:
            self._provisioner = self._stack.enter_context(_maker(self._config))
        testbed = self._current.enter_context(self._provisioner.testbed())
        self._testbed, self._owner = testbed, owner
        self._made_at = time.monotonic()
        return testbed

    def _gives_way(self) -> bool:
        """Whether it is time to let somebody else have a testbed."""
        had_s = time.monotonic() - self._made_at
        return self._provisioner is not None and had_s > _TURN_S and self._provisioner.someone_waits

    def _return(self) -> None:
        self._testbed = None
        self._current.close()


def _maker(config: Config) -> AbstractContextManager[Provisioner | ExistingProvisioner]:
    if not config.initiator.is_made:
        return existing_provisioner(config)
    from harness.provision.provisioner import provisioner  # needs libvirt

    return provisioner(config)
