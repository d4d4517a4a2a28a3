"""From nothing to a testbed ready for I/O, and back to nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from harness import __version__
from harness.concurrency import side_by_side
from harness.config import Config
from harness.config.image import load_image
from harness.deadline import Deadline
from harness.errors import HypervisorError, TimedOut
from harness.hypervisor.accel import Choice, choose
from harness.hypervisor.connection import EMBEDDED, Connection, connect
from harness.hypervisor.disk import create_disk, create_overlay
from harness.hypervisor.domain import Domain, PortTaken, destroy_named, start
from harness.hypervisor.domain_xml import DomainSpec
from harness.hypervisor.image import BuiltImage, ImageStore
from harness.hypervisor.ports import lease_ports
from harness.hypervisor.sweep import sweep
from harness.initiator import Initiator
from harness.machine import Machine, SshEndpoint, SshMachine
from harness.observe import Watch, observing
from harness.steps import Spent, attach, step, warn
from harness.target import target_for
from harness.testbed.domains import domain_spec, ports_needed, wire
from harness.testbed.folder import Address, Folder, Manifest, cache_folder, claimed, reap
from harness.testbed.network import configure_fabrics
from harness.testbed.stage import Stage
from harness.testbed.testbed import Guest, Testbed
from harness.topology import Role, Topology, plan
from harness.workload import FioRun

_PORT_TRIES = 5
_FILL_TIMEOUT_S = 300.0

T = TypeVar("T")


@dataclass
class Provisioner:
    """Makes testbeds, one after another, in one folder with one connection to libvirt.

    The embedded libvirt gives a process one root for life, so the connection outlives a
    testbed. Made by `provisioner`.
    """

    config: Config
    topology: Topology
    folder: Folder
    connection: Connection
    images: Mapping[Role, BuiltImage]
    client_key: Path
    accel: Choice
    kept: bool = False
    _count: int = field(default=0, init=False)

    def keep(self) -> None:
        """Leave the machines running when this process ends; `pathproof down` removes them."""
        manifest = self.folder.manifest()
        if manifest is not None:
            self.folder.write(replace(manifest, kept=True))
            self.kept = True

    @contextmanager
    def testbed(self) -> Iterator[Testbed]:
        """A new testbed, verified by I/O on every path, removed at the end of the block."""
        self._count += 1
        with ExitStack() as stack:
            with step(Stage.ALL, Spent.PROVISIONING):
                testbed = self._assemble(stack)
            yield testbed

    def _assemble(self, stack: ExitStack) -> Testbed:
        with step(Stage.START, Spent.PROVISIONING):
            domains = self._start_domains(stack)
        with step(Stage.BOOT, Spent.PROVISIONING):
            machines = _by_role(lambda role: self._log_in(role, domains[role]))
        for machine in machines.values():
            stack.callback(machine.close)
        target = target_for(self.config.target, machines[Role.TARGET], self.topology)
        initiator = Initiator(
            machines[Role.INITIATOR], self.topology, self.config.profile, target.wwid
        )
        configure = {Role.TARGET: target.configure, Role.INITIATOR: initiator.configure}

        def prepare(role: Role) -> Guest:
            nics = configure_fabrics(machines[role], role, self.topology)
            configure[role]()
            observer = stack.enter_context(observing(machines[role]))
            return Guest(machines[role], observer, domains[role], nics)

        with step(Stage.CONFIGURE, Spent.CONFIGURATION):
            guests = _by_role(prepare)
        initiator.log_in()
        initiator.wait_for_map()
        testbed = Testbed(
            self.config, self.topology, guests, target, initiator, self._environment(machines)
        )
        _watch(testbed)
        _fill(testbed)
        testbed.prove_paths()
        return testbed

    def _start_domains(self, stack: ExitStack) -> dict[Role, Domain]:
        """Start both, on other ports if somebody else was faster."""
        for attempt in range(_PORT_TRIES):
            ports = stack.enter_context(lease_ports(ports_needed(self.topology)))
            try:
                return self._start(self._specs(ports), stack)
            except PortTaken:
                if attempt == _PORT_TRIES - 1:
                    raise
        raise AssertionError("unreachable")

    def _start(self, specs: Mapping[Role, DomainSpec], stack: ExitStack) -> dict[Role, Domain]:
        domains: dict[Role, Domain] = {}
        with ExitStack() as started:
            # Their names are written down before they run: whoever finds them must know them.
            self._write_manifest(specs)
            started.callback(self._destroy_unless_kept, domains, [s.name for s in specs.values()])
            for role, spec in specs.items():
                domains[role] = start(self.connection, spec)
            stack.enter_context(started.pop_all())
        return domains

    def _destroy_unless_kept(self, domains: Mapping[Role, Domain], names: Sequence[str]) -> None:
        if self.kept:
            return
        try:
            side_by_side(*(domain.destroy for domain in domains.values()))
        finally:
            # An interrupt while libvirt starts a machine is heard once it runs, before it is
            # among `domains`.
            destroy_named(self.connection, names)

    def _write_manifest(self, specs: Mapping[Role, DomainSpec]) -> None:
        self.folder.write(
            Manifest(
                name=self.config.name,
                uri=self.config.hypervisor.uri,
                kept=self.kept,
                domains=tuple(spec.name for spec in specs.values()),
                fabrics={
                    f.name: f"{f.portal.address} - {f.initiator}" for f in self.topology.fabrics
                },
                memory=sum(spec.memory_bytes for spec in specs.values()),
                machines={
                    role.value: Address(
                        spec.ssh_port, str(self.client_key), self.images[role].host_key
                    )
                    for role, spec in specs.items()
                },
            )
        )

    def _specs(self, ports: Sequence[int]) -> dict[Role, DomainSpec]:
        """Both domains, their disks made."""
        disks = {}
        for role in Role:
            system = self.folder.path / f"{role}-{self._count}.qcow2"
            system.unlink(missing_ok=True)
            create_overlay(system, self.images[role].disk, "raw")
            disks[role] = [system]
        lun = self.folder.path / f"lun0-{self._count}.qcow2"
        create_disk(lun, self.topology.lun.size)
        disks[Role.TARGET].append(lun)
        wiring = wire(self.topology, ports)
        return {
            role: domain_spec(
                self.config,
                self.topology,
                role,
                name=f"{self.folder.name}-{role}-{self._count}",
                accel=self.accel.accel,
                image=self.images[role],
                disks=disks[role],
                wiring=wiring,
                console_log=self.folder.path / f"{role}-{self._count}-console.log",
            )
            for role in Role
        }

    def _log_in(self, role: Role, domain: Domain) -> SshMachine:
        endpoint = SshEndpoint(
            "127.0.0.1", domain.spec.ssh_port, "root", self.client_key, self.images[role].host_key
        )

        def still_there() -> None:
            if not domain.is_running:
                raise HypervisorError(f"{role}: the VM ended while booting\n{_console(domain)}")

        with step(f"Boot the {role}", Spent.PROVISIONING):
            try:
                return SshMachine.connect(
                    role.value,
                    endpoint,
                    Deadline.after(self.config.machines.boot_timeout_s),
                    still_there,
                )
            except TimedOut as error:
                raise TimedOut(
                    f"{error.message}\n{_console(domain)}",
                    hint="a slow machine needs a larger machines.boot_timeout_s",
                ) from None

    def _environment(self, machines: Mapping[Role, Machine]) -> dict[str, str]:
        release = machines[Role.INITIATOR].run(["uname", "-r"]).stdout.strip()
        return {
            "Pathproof": __version__,
            **self.connection.versions,
            "Acceleration": f"{self.accel.accel} ({self.accel.reason})",
            "Guest image": self.config.machines.image,
            "Guest kernel": release,
            "Target": f"{self.config.target.kind}, {self.config.target.backstore}",
            "Timeout profile": self.config.initiator.profile,
            "Fabrics": ", ".join(f"{f.name} {f.subnet}" for f in self.topology.fabrics),
        }


@contextmanager
def provisioner(config: Config) -> Iterator[Provisioner]:
    """Images, acceleration and a connection to libvirt, ready to make testbeds.

    Removes first what dead owners left behind. Everything is removed at the end of the block,
    unless it was kept.
    """
    reap(end_domains)
    definition = load_image(config.machines.image)
    capabilities = cache_folder() / "libvirt-capabilities"
    with (
        claimed(config.name) as folder,
        connect(config.hypervisor.uri, folder.root, capabilities_cache=capabilities) as connection,
    ):
        with step(Stage.IMAGES, Spent.PROVISIONING):
            store = ImageStore(cache_folder(), config.machines.mirror)
            images = store.ensure_all(definition)
        with step("Choose the acceleration", Spent.PROVISIONING):
            kernel = images[Role.INITIATOR].kernel
            accel = choose(config.hypervisor.accel, cache=cache_folder(), kernel=kernel)
        if accel.warning:
            warn(accel.warning)
        yield Provisioner(config, plan(config), folder, connection, images, store.client_key, accel)


def end_domains(folder: Folder) -> None:
    """End all domains of a testbed whose owner is gone."""
    manifest = folder.manifest()
    if manifest is None or manifest.uri == EMBEDDED:
        sweep(folder.root)
        return
    with connect(manifest.uri, folder.root) as connection:
        destroy_named(connection, manifest.domains)


def _by_role(action: Callable[[Role], T]) -> dict[Role, T]:
    roles = list(Role)
    return dict(
        zip(roles, side_by_side(*((lambda r=role: action(r)) for role in roles)), strict=True)
    )


def _watch(testbed: Testbed) -> None:
    """Tell both observers what their samples shall hold."""
    for role in Role:
        nics = tuple(testbed.nic(role, fabric) for fabric in testbed.fabrics())
        if role is Role.INITIATOR:
            disks = tuple(path.name for path in testbed.map.paths)
            testbed.observer(role).watch(Watch(disks, testbed.initiator.wwid, nics))
        else:
            testbed.observer(role).watch(Watch(nics=nics))


def _fill(testbed: Testbed) -> None:
    """Write the area that read jobs verify; the first I/O of a testbed."""
    with step(Stage.FIRST_IO, Spent.IO):
        machine = testbed.machine(Role.INITIATOR)
        with FioRun.started(machine, testbed.initiator.device, [testbed.layout.fill()]) as run:
            result = run.finish(_FILL_TIMEOUT_S)
    attach("fio report of the first I/O", result.report_text, "application/json")
    result.require_clean()


def _console(domain: Domain) -> str:
    tail = domain.console_tail()
    return "the end of its console:\n" + "\n".join(
        f"  {line}" for line in tail.splitlines() or ["(nothing; only errors are written there)"]
    )
