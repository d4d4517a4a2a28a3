"""What one process has to run testbeds with, and how it starts and reaches their machines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from harness import __version__
from harness.concurrency import side_by_side
from harness.config import Config
from harness.deadline import Deadline
from harness.errors import HypervisorError, TimedOut
from harness.guest_images.store import BuiltImage
from harness.host.folder import Address, Folder, Manifest
from harness.host.qemu_host import QemuHost, console_name
from harness.hypervisor.accel import Choice
from harness.hypervisor.connection import Connection
from harness.hypervisor.domain import Domain, PortTaken, destroy_named
from harness.hypervisor.domain_xml import DomainSpec
from harness.hypervisor.networks import bridges_of
from harness.hypervisor.ports import lease_ports
from harness.machine import Machine, SshEndpoint, SshMachine
from harness.provision.domain_plan import (
    assign_ports,
    domain_name,
    domain_spec,
    listens,
    ports_needed,
)
from harness.steps import warn
from harness.target import NoMachine, Target, target_for
from harness.testbed.guest import Guest
from harness.testbed.testbed import Testbed
from harness.topology import Role, Topology
from harness.transport import Initiator, PathDisk, transport_for

_PORT_TRIES = 5
_EVIDENCE_LINES = 300  # of a console: the stacks of some twenty tasks

Disks = Mapping[str, Sequence[Path]]  # by machine

T = TypeVar("T")
_PANIC = "Kernel panic - not syncing"  # panic() in the kernel's kernel/panic.c


@dataclass
class Resources:
    """One folder and one connection to libvirt, for one testbed after another.

    The embedded libvirt gives a process one root for life, so the connection outlives a
    testbed; its machines have the same names in every testbed, so there is one at a time.
    The files of `images` are at `qemu_host`; machines of one role have the same.
    """

    config: Config
    topology: Topology
    folder: Folder
    qemu_host: QemuHost
    connection: Connection
    images: Mapping[Role, BuiltImage]
    client_key: Path
    accel: Choice
    kept: bool = False
    _direct_io: dict[Path, bool] = field(default_factory=dict, init=False)

    @cached_property
    def bridges(self) -> Mapping[str, str]:
        """The bridge of each libvirt network that the networks are, by the network's name."""
        return bridges_of(self.connection, self.config.networks)

    def keep(self) -> None:
        """Leave the machines running when this process ends; `pathproof down` removes them."""
        manifest = self.folder.manifest()
        if manifest is not None:
            self.folder.write(replace(manifest, kept=True))
            self.kept = True

    def power_on(
        self, stack: ExitStack, disks: Disks, begin: Callable[[DomainSpec, str], Domain]
    ) -> dict[str, Domain]:
        """Have `begin` start each machine, on other ports if somebody else was faster.

        The machines end with `stack`, unless they are kept.
        """
        for attempt in range(_PORT_TRIES):
            ports = stack.enter_context(
                lease_ports(ports_needed(self.topology), self.qemu_host.port_candidates())
            )
            try:
                return self._start(self._specs(disks, ports), begin, stack)
            except PortTaken:
                if attempt == _PORT_TRIES - 1:
                    raise
        raise AssertionError("unreachable")

    def _start(
        self,
        specs: Mapping[str, DomainSpec],
        begin: Callable[[DomainSpec, str], Domain],
        stack: ExitStack,
    ) -> dict[str, Domain]:
        domains: dict[str, Domain] = {}

        with ExitStack() as started:
            # Their names are written down before they run: whoever finds them must know them.
            self._write_manifest(specs)
            started.callback(self._power_off, domains, [s.name for s in specs.values()])
            # The others connect their cables, as they start, to the machines that listen.
            for name in sorted(self.topology.guests, key=lambda name: not listens(specs[name])):
                domains[name] = begin(specs[name], name)
            stack.enter_context(started.pop_all())
        return domains

    def _power_off(self, domains: Mapping[str, Domain], names: Sequence[str]) -> None:
        if self.kept:
            return
        try:
            side_by_side(*(domain.destroy for domain in domains.values()))
        finally:
            # An interrupt while libvirt starts a machine is heard once it runs, before it is
            # among `domains`.
            destroy_named(self.connection, names)
        self.folder.note_ended()

    def _write_manifest(self, specs: Mapping[str, DomainSpec]) -> None:
        self.folder.write(
            Manifest(
                name=self.config.name,
                uri=self.config.hypervisor.uri,
                kept=self.kept,
                domains=tuple(spec.name for spec in specs.values()),
                networks={
                    n.name: " - ".join(
                        ",".join(map(str, n.addresses(machine.name)))
                        for machine in self.topology.machines
                    )
                    for n in self.topology.networks
                },
                memory=sum(spec.memory_bytes for spec in specs.values()),
                machines={
                    name: Address(
                        spec.ssh_port,
                        str(self.client_key),
                        self.image_of(name).host_key,
                        self.qemu_host.proxy(spec.ssh_port),
                    )
                    for name, spec in specs.items()
                },
            )
        )

    def image_of(self, machine: str) -> BuiltImage:
        """The image of a machine's role."""
        return self.images[self.topology.role(machine)]

    def _specs(self, disks: Disks, ports: Sequence[int]) -> dict[str, DomainSpec]:
        wiring = assign_ports(self.topology, ports)
        direct_io = self.accel.accel == "kvm" and self._takes_direct_io(disks)
        return {
            machine: domain_spec(
                self.config,
                self.topology,
                machine,
                name=domain_name(self.folder.name, machine, alone=self.connection.is_embedded),
                accel=self.accel.accel,
                image=self.image_of(machine),
                disks=disks[machine],
                wiring=wiring,
                console_log=self.qemu_host.folder / console_name(machine),
                direct_io=direct_io,
            )
            for machine in self.topology.guests
        }

    def _takes_direct_io(self, disks: Disks) -> bool:
        """Whether O_DIRECT works for the target's disks and what they read through to."""
        if Role.TARGET not in disks:
            return False
        folders = {self.images[Role.TARGET].disk.parent, *(d.parent for d in disks[Role.TARGET])}
        for folder in sorted(folders - self._direct_io.keys()):
            self._direct_io[folder] = self.qemu_host.takes_direct_io(folder)
            if not self._direct_io[folder]:
                warn(
                    f"{folder}: no direct I/O there (O_DIRECT): the target's disks go through the "
                    "host's page cache, and a pause while that is written back looks like a stall "
                    "of the storage"
                )
        return all(self._direct_io[folder] for folder in folders)

    def log_in(self, name: str, domain: Domain) -> SshMachine:
        """Wait until a machine answers SSH. Raises TimedOut with the end of its console."""
        endpoint = SshEndpoint(
            "127.0.0.1",
            domain.spec.ssh_port,
            "root",
            self.client_key,
            self.image_of(name).host_key,
            self.qemu_host.proxy(domain.spec.ssh_port),
        )

        def still_there() -> None:
            if not domain.is_running:
                raise HypervisorError(
                    f"{name}: the VM ended while booting\n{self._console(domain)}"
                )
            if _PANIC in self.qemu_host.tail(domain.spec.console_log):
                raise HypervisorError(
                    f"{name}: the guest's kernel panicked while booting\n{self._console(domain)}"
                )

        try:
            return SshMachine.connect(
                name,
                endpoint,
                Deadline.after(self.config.machines.boot_timeout_s),
                still_there,
            )
        except TimedOut as error:
            raise TimedOut(
                f"{error.message}\n{self._console(domain)}",
                hint="a slow machine needs a larger machines.boot_timeout_s",
            ) from None

    def _console(self, domain: Domain) -> str:
        tail = self.qemu_host.tail(domain.spec.console_log)
        return "the end of its console:\n" + "\n".join(
            f"  {line}"
            for line in tail.splitlines() or ["(nothing; only errors are written there)"]
        )

    def target(self, machines: Mapping[str, Machine]) -> Target:
        """The driver of the configured target."""
        machine = machines.get(Role.TARGET) or NoMachine("the external target")
        return target_for(self.config.target, machine, self.topology)

    def initiators(self, machines: Mapping[str, Machine], target: Target) -> dict[str, Initiator]:
        """The driver of each initiator by its name, for those LUNs that it sees."""
        transport = transport_for(self.config)

        def driver(name: str) -> Initiator:
            own = self.topology.of(name)
            wwids = tuple(map(target.wwid_of, own.luns))
            return transport.initiator(self.config, machines[name], own, wwids)

        return {name: driver(name) for name in self.topology.initiators}

    def assembled(
        self,
        guests: Mapping[str, Guest],
        target: Target,
        initiators: Mapping[str, Initiator],
        paths: Mapping[str, Sequence[PathDisk]],
        environment: Mapping[str, str],
    ) -> Testbed:
        """The testbed of machines whose maps are there, watched from now on."""
        testbed = Testbed(
            self.config,
            self.topology,
            guests=guests,
            target=target,
            initiators=initiators,
            paths=paths,
            environment=environment,
            console=lambda name: self.qemu_host.tail(
                testbed.domain(name).spec.console_log, _EVIDENCE_LINES
            ),
        )
        testbed.watch()
        return testbed

    def describe(self, kernel: str, target: Target) -> dict[str, str]:
        """What the tests run on, for the report; `kernel` is the guests'."""
        return {
            "Pathproof": __version__,
            **self.connection.versions,
            "Acceleration": self.accel.accel,
            "Guest image": self.config.machines.image,
            "Guest kernel": kernel,
            "Target": target.describe(),
            "Timeout profile": self.config.initiator.profile,
            "Path groups": self.config.initiator.path_grouping_policy,
            "Networks": ", ".join(f"{n.name} {n.subnet}" for n in self.topology.networks),
        }


def by_machine(names: Sequence[str], action: Callable[[str], T]) -> dict[str, T]:
    """`action` for each machine, side by side."""
    return dict(
        zip(names, side_by_side(*((lambda n=name: action(n)) for name in names)), strict=True)
    )
