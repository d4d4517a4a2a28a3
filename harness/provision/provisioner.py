"""Making a testbed that is ready for I/O, and removing it again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.cache import Store, prune, size_limit
from harness.config import Config
from harness.errors import HarnessError, HypervisorError, cure, defects, summary
from harness.host.folder import cache_folder
from harness.host.slots import someone_waits, turn
from harness.lacking import Lacking, as_error
from harness.preflight import End
from harness.provision.abandoned import remove_abandoned
from harness.provision.address_claims import Held
from harness.provision.attach import attach
from harness.provision.boot import boot, wire
from harness.provision.configure import configure
from harness.provision.fork import CannotSave, fork, make_golden
from harness.provision.prepare import resources_for
from harness.provision.prove import prove
from harness.provision.resources import Resources
from harness.provision.snapshot import Damaged, Golden, determinants, is_whole, key_of, opened
from harness.provision.step_titles import StepTitle
from harness.steps import Spent, step, warn
from harness.testbed.testbed import Testbed
from harness.topology import plan

_FORK_TRIES = 3
_EXAMINE = "`pathproof doctor` tries a fork and says what is missing"


@dataclass
class Provisioner:
    """Makes testbeds, one after another: forks of a golden snapshot, or booted cold.

    Made by `provisioner`. `held` keeps the snapshot safe from removal.
    """

    resources: Resources
    held: ExitStack
    _golden: Golden | None = field(default=None, init=False)
    _no_forks: str = field(default="", init=False)
    _forks_failed: Lacking | None = field(default=None, init=False)
    _addresses: Held | None = field(default=None, init=False)  # of the testbed made last

    @contextmanager
    def testbed(self) -> Iterator[Testbed]:
        """A new testbed, verified by I/O on every path, removed at the end of the block."""
        with ExitStack() as stack:
            with step(StepTitle.ALL, Spent.PROVISIONING):
                testbed = self._forked(stack) or self._booted(stack)
            yield testbed

    @contextmanager
    def cold(self) -> Iterator[Testbed]:
        """A testbed as of `testbed`, but always booted."""
        with ExitStack() as stack:
            with step(StepTitle.ALL, Spent.PROVISIONING):
                testbed = self._booted(stack)
            yield testbed

    @contextmanager
    def fork(self) -> Iterator[Testbed]:
        """A testbed as of `testbed`, but always forked. Raises HypervisorError if it cannot be."""
        with ExitStack() as stack:
            with step(StepTitle.ALL, Spent.PROVISIONING):
                testbed = self._forked(stack)
            if testbed is None:
                raise HypervisorError(f"there can be no fork: {self._no_forks}")
            yield testbed

    def prepare(self) -> str:
        """Have the golden snapshot made, if it is missing; returns why there can be none."""
        with step(StepTitle.ALL, Spent.PROVISIONING):
            self._find_golden()
        return self._no_forks

    @contextmanager
    def with_profile(self, name: str) -> Iterator[Provisioner]:
        """A provisioner with the timeouts of another profile; both have one testbed at a time."""
        config = self.resources.config
        initiator = config.initiator.model_copy(update={"profile": name})
        with ExitStack() as held:
            resources = replace(
                self.resources, config=config.model_copy(update={"initiator": initiator})
            )
            yield Provisioner(resources, held)

    @property
    def someone_waits(self) -> bool:
        """Whether somebody waits, here or on another host, for what the testbed has."""
        wanted = self._addresses is not None and self._addresses.wanted
        return wanted or someone_waits(self.resources.config, self.resources.bridges)

    @property
    def lacking(self) -> tuple[Lacking, ...]:
        """What testbeds have to do without from now on, although the configuration wants it."""
        return tuple(one for one in (self._forks_failed, self.resources.accel.lacking) if one)

    def keep(self) -> str | None:
        """Leave the machines running when this process ends; `pathproof down NAME` removes them."""
        self.resources.keep()
        return self.resources.folder.name

    def _booted(self, stack: ExitStack) -> Testbed:
        self._take_turn(stack)
        return self._from_nothing(stack, stack, self.resources.qemu_host.folder)

    def _from_nothing(self, power: ExitStack, links: ExitStack, disks: Path) -> Testbed:
        """A testbed with its disks in the folder `disks`, verified by I/O on every path.

        `links` ends our connections to the machines, `power` the machines; in that order.
        """
        resources = self.resources
        wired = wire(resources, disks, power)
        booted = boot(resources, wired, links)
        configured = configure(resources, booted, links)
        self._addresses = configured.addresses
        target, initiators = configured.target, configured.initiators
        nics = {name: configured.guests[name].nics for name in initiators}
        others = [
            End(name, guest.machine, guest.nics)
            for name, guest in configured.guests.items()
            if name not in initiators
        ]
        attached = attach(resources.config, target, initiators, nics, others)
        environment = resources.describe(attached.kernel, target)
        testbed = resources.assembled(
            configured.guests, target, initiators, attached.paths, environment
        )
        testbed.lacking = attached.lacking
        return prove(testbed)

    def _forked(self, stack: ExitStack) -> Testbed | None:
        """None if there can be no fork.

        The first failure may be that of a busy machine; after the second the snapshot is replaced.
        """
        failure: HarnessError | None = None
        for attempts_left in reversed(range(_FORK_TRIES)):
            golden = self._find_golden()
            if golden is None:
                return None
            with ExitStack() as attempt:
                self._take_turn(attempt)
                try:
                    testbed = fork(self.resources, golden, attempt)
                except HarnessError as error:
                    if defects(error):
                        raise
                    failure = error
                    warn(f"a fork failed: {summary(error)}")
                    damaged = isinstance(error, Damaged)
                else:
                    stack.enter_context(attempt.pop_all())
                    return testbed
            if attempts_left and (damaged or attempts_left == 1):
                self._drop(golden)
        assert failure is not None
        self._give_up_forks(
            f"{_FORK_TRIES} forks in a row failed, the last one: {summary(failure)}",
            cure(failure) or _EXAMINE,
        )
        return None

    def _find_golden(self) -> Golden | None:
        """The golden snapshot, made if it is missing or damaged; None if there can be none."""
        if not self._no_forks and (reason := self.resources.config.cannot_fork):
            self._no_forks = reason
            warn(f"testbeds are booted, not forked: {reason}")
        while self._golden is None and not self._no_forks:
            self._golden = self._open()
            if self._golden is None:
                self._make()
        return self._golden

    def _open(self) -> Golden | None:
        path = self.held.enter_context(self._store.using(self._key))
        if path is None:
            return None
        try:
            golden = opened(path, self._determinants)
        except Damaged as error:
            warn(f"{error.message}; it is made anew")
            self.held.close()
            return None
        prune(cache_folder(), size_limit())
        return golden

    def _make(self) -> None:
        determined_by = self._determinants
        try:
            with self._store.making(
                self._key, lambda folder: is_whole(folder, determined_by)
            ) as draft:
                if draft is None:
                    return
                images = {image.fingerprint for image in self.resources.images.values()}
                (draft / "needs").write_text("".join(f"images/{one}\n" for one in sorted(images)))
                (draft / "about.txt").write_text(f"{_about(self.resources.config)}\n")
                with ExitStack() as turn_taken:
                    self._take_turn(turn_taken)
                    make_golden(self.resources, draft, determined_by, self._from_nothing)
        except CannotSave as error:
            self._give_up_forks(error.message, error.hint or _EXAMINE)

    def _drop(self, golden: Golden) -> None:
        """Remove a snapshot, unless other processes use it: then it is tried once more."""
        self._golden = None
        self.held.close()
        if self._store.remove(golden.folder.name, though_open=True):
            warn("the snapshot is made anew")

    def _give_up_forks(self, reason: str, what_helps: str) -> None:
        """From now on testbeds are booted. Raises HarnessError if forks are required."""
        lacking = Lacking("forks", reason, what_helps)
        if lacking.name in self.resources.config.require:
            raise as_error(lacking)
        self._no_forks, self._forks_failed, self._golden = reason, lacking, None
        self.held.close()
        warn(f"testbeds are booted, not forked: {reason}\n  cure: {what_helps}")

    def _take_turn(self, stack: ExitStack) -> None:
        its = self.resources
        stack.enter_context(turn(its.config, its.folder.name, its.accel.accel, its.bridges))

    @property
    def _store(self) -> Store:
        return Store(cache_folder(), "snapshots")

    @cached_property
    def _determinants(self) -> dict[str, Any]:
        resources = self.resources
        return determinants(
            resources.config, resources.images, resources.accel.accel, resources.connection.versions
        )

    @property
    def _key(self) -> str:
        return key_of(self._determinants)


@contextmanager
def provisioner(config: Config) -> Iterator[Provisioner]:
    """All that testbeds are made with.

    Removes first what dead owners left behind. Everything is removed at the end of the block,
    unless it was kept.
    """
    if not config.initiator.is_made:
        raise HypervisorError(
            "no VM is made here: the initiator is an existing machine (initiator.machine)",
            hint="the suites run on it: `pytest suites/failover`",
        )
    remove_abandoned()
    with resources_for(config) as resources, ExitStack() as held:
        yield Provisioner(resources, held)


def _about(config: Config) -> str:
    return (
        f"{config.name}: {config.target.kind} on {config.machines.image}, "
        f"{len(plan(config).paths)} paths, profile {config.initiator.profile}"
    )
