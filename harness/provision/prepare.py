"""What testbeds of one configuration are made with: the `Resources` of this process."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.concurrency import side_by_side
from harness.config import Config
from harness.config.image import ImageDefinition, load_image
from harness.config.sizes import sized_for
from harness.guest_images.store import BuiltImage, ImageStore
from harness.host.folder import cache_folder, claimed
from harness.host.qemu_host import QemuHost, qemu_host_for
from harness.hypervisor.accel import DEVICE, Choice, choose
from harness.hypervisor.connection import Connection, connect
from harness.hypervisor.elsewhere import accel_of, other_host
from harness.hypervisor.networks import bridges_of, require_apart
from harness.hypervisor.qemu_user import qemu_user, slow_start
from harness.provision.resources import Resources
from harness.provision.step_titles import StepTitle
from harness.steps import Spent, step, warn
from harness.topology import Role, plan


@contextmanager
def resources_for(config: Config) -> Iterator[Resources]:
    """Images, acceleration, a host for QEMU and a connection to libvirt.

    Their configuration has the sizes that suit the acceleration. Everything is removed at the end
    of the block, unless the testbed was kept.
    """
    definition = load_image(config.machines.image)
    topology = plan(config, secrets.token_hex(8))
    roles = tuple(dict.fromkeys(map(topology.role, topology.guests)))
    host = other_host(config.hypervisor.uri)
    there = accel_of(host, config.hypervisor.accel) if host is not None else None
    capabilities = cache_folder() / "libvirt-capabilities"
    with (
        claimed(config.name) as folder,
        qemu_host_for(host, config, folder) as qemu_host,
        connect(config.hypervisor.uri, folder.root, capabilities_cache=capabilities) as connection,
        _apart(config, connection),
        _images(config, definition, roles, qemu_host) as images,
    ):
        accel = _accelerated(config, there, images.kernel)
        config = sized_for(config, accel.accel)
        yield Resources(
            config,
            topology,
            folder,
            qemu_host,
            connection,
            images.by_role,
            images.client_key,
            accel,
        )


@contextmanager
def _apart(config: Config, connection: Connection) -> Iterator[None]:
    """Raises ConfigError, before anything is made, if two networks are one bridge."""
    require_apart(config.networks, bridges_of(connection, config.networks))
    yield


@dataclass(frozen=True)
class _Images:
    """`by_role` is what QEMU reads, `kernel` the initiator's on this host."""

    by_role: Mapping[Role, BuiltImage]
    kernel: Path
    client_key: Path


@contextmanager
def _images(
    config: Config, definition: ImageDefinition, roles: Sequence[Role], qemu_host: QemuHost
) -> Iterator[_Images]:
    """An image for each role, built if it is missing, and safe from removal in the block."""
    store = ImageStore(cache_folder(), config.machines.mirror)
    with ExitStack() as held:
        with step(StepTitle.IMAGES, Spent.PROVISIONING):
            built = held.enter_context(store.using(definition, roles))
            copies = side_by_side(*((lambda r=role: qemu_host.put(built[r])) for role in roles))
            images = dict(zip(roles, copies, strict=True))
        yield _Images(images, built[Role.INITIATOR].kernel, store.client_key)


def _accelerated(config: Config, there: Choice | None, kernel: Path) -> Choice:
    """How guests run: as is known of another host (`there`), or as is tried on this one."""
    user = qemu_user(config.hypervisor.uri)
    with step("Choose the acceleration", Spent.PROVISIONING):
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
    return accel
