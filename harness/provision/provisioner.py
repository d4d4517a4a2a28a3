"""From nothing to a testbed ready for I/O, and back to nothing."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from harness.cache import Store, prune, size_limit
from harness.config import Config
from harness.config.image import load_image
from harness.config.sizes import sized_for
from harness.config.uri import EMBEDDED
from harness.errors import HarnessError, HypervisorError, cure, defects, summary
from harness.guest_images.store import ImageStore, remove_unfinished
from harness.host.folder import Folder, cache_folder, claimed, reap
from harness.host.hypervisor_host import end_guests, has_place_of_its_own, place_for, reached
from harness.host.slots import someone_waits, turn
from harness.hypervisor.accel import DEVICE, choose
from harness.hypervisor.connection import connect
from harness.hypervisor.domain import destroy_named
from harness.hypervisor.elsewhere import accel_of, other_host
from harness.hypervisor.qemu_user import qemu_user, slow_start
from harness.hypervisor.sweep import sweep
from harness.lacking import Lacking, as_error
from harness.provision.boot import boot
from harness.provision.fork import CannotSave, fork, make_golden
from harness.provision.site import Site, by_role
from harness.provision.snapshot import Damaged, Golden, determinants, is_whole, key_of, opened
from harness.provision.stage import Stage
from harness.steps import Spent, step, warn
from harness.testbed.testbed import Testbed
from harness.topology import Role, plan

_FORK_TRIES = 3
_EXAMINE = "`pathproof doctor` tries a fork and says what is missing"


@dataclass
class Provisioner:
    """Makes testbeds, one after another: forks of a golden snapshot, or booted cold.

    Made by `provisioner`. `held` keeps the snapshot safe from removal.
    """

    site: Site
    held: ExitStack
    _golden: Golden | None = field(default=None, init=False)
    _no_forks: str = field(default="", init=False)
    _forks_failed: Lacking | None = field(default=None, init=False)

    @contextmanager
    def testbed(self) -> Iterator[Testbed]:
        """A new testbed, verified by I/O on every path, removed at the end of the block."""
        with ExitStack() as stack:
            with step(Stage.ALL, Spent.PROVISIONING):
                testbed = self._forked(stack) or self._booted(stack)
            yield testbed

    @contextmanager
    def cold(self) -> Iterator[Testbed]:
        """As `testbed`, and booted in any case."""
        with ExitStack() as stack:
            with step(Stage.ALL, Spent.PROVISIONING):
                testbed = self._booted(stack)
            yield testbed

    @contextmanager
    def fork(self) -> Iterator[Testbed]:
        """As `testbed`, and forked or a HypervisorError."""
        with ExitStack() as stack:
            with step(Stage.ALL, Spent.PROVISIONING):
                testbed = self._forked(stack)
            if testbed is None:
                raise HypervisorError(f"there can be no fork: {self._no_forks}")
            yield testbed

    def prepare(self) -> str:
        """Have the golden snapshot made, if it is missing; returns why there can be none."""
        with step(Stage.ALL, Spent.PROVISIONING):
            self._find_golden()
        return self._no_forks

    @contextmanager
    def with_profile(self, name: str) -> Iterator[Provisioner]:
        """The same site with other timeouts; of both together there is one testbed at a time."""
        config = self.site.config
        initiator = config.initiator.model_copy(update={"profile": name})
        with ExitStack() as held:
            site = replace(self.site, config=config.model_copy(update={"initiator": initiator}))
            yield Provisioner(site, held)

    @property
    def someone_waits(self) -> bool:
        """Whether somebody waits, here or on another host, for what the testbed has."""
        addresses = self.site.addresses
        return someone_waits(self.site.config) or (addresses is not None and addresses.wanted)

    @property
    def lacking(self) -> tuple[Lacking, ...]:
        """What testbeds have to do without from now on, although the configuration wants it."""
        return tuple(one for one in (self._forks_failed, self.site.accel.lacking) if one)

    def keep(self) -> str | None:
        """Leave the machines running when this process ends; `pathproof down NAME` removes them."""
        self.site.keep()
        return self.site.folder.name

    def _booted(self, stack: ExitStack) -> Testbed:
        self._take_place(stack)
        return boot(self.site, stack, stack, self.site.place.folder)

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
                self._take_place(attempt)
                try:
                    testbed = fork(self.site, golden, attempt)
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
        if not self._no_forks and (reason := self.site.config.cannot_fork):
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
                images = {image.fingerprint for image in self.site.images.values()}
                (draft / "needs").write_text("".join(f"images/{one}\n" for one in sorted(images)))
                (draft / "about.txt").write_text(f"{_about(self.site.config)}\n")
                with ExitStack() as place:
                    self._take_place(place)
                    make_golden(self.site, draft, determined_by)
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
        if lacking.name in self.site.config.require:
            raise as_error(lacking)
        self._no_forks, self._forks_failed, self._golden = reason, lacking, None
        self.held.close()
        warn(f"testbeds are booted, not forked: {reason}\n  cure: {what_helps}")

    def _take_place(self, stack: ExitStack) -> None:
        site = self.site
        stack.enter_context(turn(site.config, site.folder.name, site.accel.accel))

    @property
    def _store(self) -> Store:
        return Store(cache_folder(), "snapshots")

    @cached_property
    def _determinants(self) -> dict[str, Any]:
        site = self.site
        return determinants(site.config, site.images, site.accel.accel, site.connection.versions)

    @property
    def _key(self) -> str:
        return key_of(self._determinants)


@contextmanager
def provisioner(config: Config) -> Iterator[Provisioner]:
    """Images, acceleration and a connection to libvirt, ready to make testbeds.

    Removes first what dead owners left behind. Everything is removed at the end of the block,
    unless it was kept.
    """
    if not config.initiator.is_ours:
        raise HypervisorError(
            "no VM is made here: the initiator is an existing machine (initiator.machine)",
            hint="the suites run on it: `pytest suites/failover`",
        )
    try:
        reap(end_domains)
    except HarnessError as error:  # of another host perhaps, which cannot be reached
        warn(str(error))
    remove_unfinished(cache_folder())
    definition = load_image(config.machines.image)
    topology = plan(config, secrets.token_hex(8))
    host = other_host(config.hypervisor.uri)
    there = accel_of(host, config.hypervisor.accel) if host is not None else None
    capabilities = cache_folder() / "libvirt-capabilities"
    with (
        claimed(config.name) as folder,
        place_for(host, config, folder) as place,
        connect(config.hypervisor.uri, folder.root, capabilities_cache=capabilities) as connection,
        ExitStack() as held,
        ExitStack() as images_held,
    ):
        with step(Stage.IMAGES, Spent.PROVISIONING):
            store = ImageStore(cache_folder(), config.machines.mirror)
            built = images_held.enter_context(store.using(definition, topology.guests))
            images = by_role(topology.guests, lambda role: place.put(built[role]))
        with step("Choose the acceleration", Spent.PROVISIONING):
            kernel = built[Role.INITIATOR].kernel
            user = qemu_user(config.hypervisor.uri)
            accel = there or choose(
                config.hypervisor.accel,
                cache=cache_folder(),
                kernel=kernel,
                required="kvm" in config.require,
                user=user,
            )
        if accel.warning:
            warn(accel.warning)
        if slow := slow_start(user, DEVICE):
            warn(f"machines may start slowly: {slow}")
        config = sized_for(config, accel.accel)
        site = Site(config, topology, folder, place, connection, images, store.client_key, accel)
        yield Provisioner(site, held)


def end_domains(folder: Folder) -> None:
    """End all domains of a testbed whose owner is gone; remove its files outside its folder."""
    manifest = folder.manifest()
    if manifest is None or manifest.uri == EMBEDDED:
        sweep(folder.root)
        return
    with ExitStack() as stack:
        connection = stack.enter_context(connect(manifest.uri, folder.root))
        if has_place_of_its_own(manifest.uri):
            place = stack.enter_context(reached(other_host(manifest.uri), folder.name))
            end_guests(connection, manifest.domains, place)
        else:
            destroy_named(connection, manifest.domains)


def _about(config: Config) -> str:
    return (
        f"{config.name}: {config.target.kind} on {config.machines.image}, "
        f"{len(config.fabrics)} fabrics, profile {config.initiator.profile}"
    )
