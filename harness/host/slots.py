"""How many testbeds run at once, and whose turn it is to have one.

The queue for the places of a user's testbeds on this machine is in PATHPROOF_STATE/.slots.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Literal

from harness.config import Config
from harness.config.image import load_image
from harness.config.sizes import sized_for
from harness.errors import HarnessError
from harness.guest_images.store import ImageStore
from harness.host.folder import SLOTS, base, cache_folder
from harness.host.queue import Queue
from harness.host.sharing import NONE_KNOWN, Bridges, queues, why_alone
from harness.hypervisor.accel import expected
from harness.hypervisor.domain_xml import TRANSLATIONS
from harness.hypervisor.qemu_user import qemu_user
from harness.topology import Role, plan
from harness.units import MIB, format_size

# QEMU's own beside the guest's memory: 60 to 90 MiB were seen, without what emulation keeps.
_OVERHEAD = {"kvm": 128 * MIB, "tcg": 128 * MIB + TRANSLATIONS}
Accel = Literal["kvm", "tcg"]
_SHARE = 0.8  # of the memory; the rest is for the host


_MORE = (
    "`--testbeds` allows more at once, which then wait for processors, so that verdicts say less "
    "of the storage"
)
_ALONE = "a run with addresses (and a LUN, if that is external) of its own can be made beside it"


@dataclass(frozen=True)
class Limit:
    """How many testbeds may exist at once, why, and how to allow more."""

    testbeds: int
    reason: str
    more: str = _MORE

    def __str__(self) -> str:
        return f"{self.testbeds} at once ({self.reason})"


def limit_for(config: Config, accel: Accel | None = None) -> Limit:
    """How many testbeds of this configuration are possible at once.

    Without `accel`, guests run as is to be expected here.
    """
    if reason := why_alone(config):
        return Limit(1, reason, _ALONE)
    return _room(config, accel)


def _room(config: Config, accel: Accel | None) -> Limit:
    """The limit of this machine: as configured, or as many as it has cores and memory for.

    A core for each processor of the guests: one that has to wait stalls I/O by itself.
    """
    if config.hypervisor.testbeds != "auto":
        return Limit(config.hypervisor.testbeds, "hypervisor.testbeds")
    accel = accel or expected_accel(config)
    machines = sized_for(config, accel).machines
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    guests = len(plan(config).guests)
    processors = guests * machines.cpus
    fit = int(_SHARE * memory / (guests * (machines.memory + _OVERHEAD[accel])))
    reason = (
        f"{cores} cores, {processors} for each; "
        f"{format_size(memory)} of memory are enough for {fit}"
    )
    return Limit(max(1, min(cores // processors, fit)), reason)


def expected_accel(config: Config) -> Accel:
    """How guests are to be expected to run here, from what earlier runs found out."""
    wanted, kernel = config.hypervisor.accel, None
    if wanted != "auto":
        return wanted
    with suppress(HarnessError):  # no image yet, and whoever makes one says why
        store = ImageStore(cache_folder(), config.machines.mirror)
        if image := store.find(load_image(config.machines.image), Role.INITIATOR):
            kernel = image.kernel
    user = qemu_user(config.hypervisor.uri)
    return expected(wanted, cache_folder(), kernel=kernel, user=user)


@contextmanager
def turn(
    config: Config, what: str, accel: Accel | None = None, bridges: Bridges = NONE_KNOWN
) -> Iterator[None]:
    """Wait until there may be one more testbed, which others know as `what` meanwhile.

    Its guests run by `accel`, or as is to be expected here. `bridges` has that of each libvirt
    network, as far as it is known. What is shared on this host comes
    first: no run waits for that while it holds a place of this machine. Addresses that a testbed
    of another host uses are waited for later, by a machine that runs, and hold that place.
    """
    with ExitStack() as held:
        for queue in _queues(config, accel, bridges):
            held.enter_context(queue.turn(what))
        yield


def someone_waits(config: Config, bridges: Bridges = NONE_KNOWN) -> bool:
    """Whether somebody waits for what a testbed of this configuration has."""
    return any(queue.someone_waits for queue in _queues(config, bridges=bridges))


def _queues(
    config: Config, accel: Accel | None = None, bridges: Bridges = NONE_KNOWN
) -> list[Queue]:
    shared = queues(config, bridges)
    if not config.initiator.is_made:
        return shared  # no machine is started
    limit = _room(config, accel)
    folder = base() / SLOTS
    folder.mkdir(mode=0o700, exist_ok=True)
    title = "a place for one more testbed"
    return [*shared, Queue(folder, "testbed", limit.testbeds, title, f"{limit}")]
