"""Testbeds on an existing machine: reached over SSH, or this very host."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness import __version__
from harness.config import Config
from harness.deadline import Deadline
from harness.errors import InitiatorError
from harness.host.slots import someone_waits, turn
from harness.lacking import Lacking
from harness.machine import LocalMachine, Machine, SshEndpoint, SshMachine
from harness.observe import observing
from harness.preflight.links import LOWER_SCRIPT, link_problems, parse_lower
from harness.provision.attach import attach
from harness.provision.prove import prove
from harness.provision.step_titles import StepTitle
from harness.steps import Spent, step, warn
from harness.target import NoMachine, target_for
from harness.testbed.guest import Guest
from harness.testbed.testbed import Testbed
from harness.topology import Role, Topology, plan
from harness.transport import transport_for

_CONNECT_TIMEOUT_S = 30.0


@dataclass
class ExistingProvisioner:
    """Makes testbeds of a machine that stays: for each it is configured, and left as it was."""

    config: Config
    topology: Topology

    @contextmanager
    def testbed(self) -> Iterator[Testbed]:
        """A new testbed, verified by I/O on every path, undone at the end of the block."""
        with ExitStack() as stack:
            with step(StepTitle.ALL, Spent.PROVISIONING):
                testbed = self._made(stack)
            yield testbed

    def prepare(self) -> str:
        """Nothing is to be prepared; returns why there are no forks."""
        return "the initiator is an existing machine, and cannot be forked"

    @property
    def someone_waits(self) -> bool:
        """Whether somebody waits for the LUN."""
        return someone_waits(self.config)

    @property
    def lacking(self) -> tuple[Lacking, ...]:
        """Nothing that the configuration wants."""
        return ()

    def keep(self) -> str | None:
        """An existing machine is never kept as it is; a warning says so."""
        warn("nothing is kept: the initiator is an existing machine, and is left as it was found")
        return None

    def _made(self, stack: ExitStack) -> Testbed:
        config, topology = self.config, self.topology
        transport = transport_for(config)
        stack.enter_context(turn(config, config.name))
        machine = machine_of(config)
        stack.callback(machine.close)
        target = target_for(config.target, NoMachine("the external target"), topology)
        initiator = transport.existing_initiator(config, machine, topology, target.wwids)
        stack.enter_context(initiator.borrowed(config.initiator.fio))
        nics = nics_of(machine, topology)
        with step(StepTitle.CONFIGURE, Spent.CONFIGURATION):
            initiator.configure()
            observer = stack.enter_context(observing(machine, transport.maps))
        initiators = {Role.INITIATOR.value: initiator}
        attached = attach(config, target, initiators, {Role.INITIATOR.value: nics})
        testbed = Testbed(
            config,
            topology,
            guests={Role.INITIATOR.value: Guest(machine, observer, None, nics)},
            target=target,
            initiators=initiators,
            paths=attached.paths,
            environment={
                "Pathproof": __version__,
                "Initiator": where(config),
                "Guest kernel": attached.kernel,
                "Target": target.describe(),
                "Timeout profile": config.initiator.profile,
                "Path groups": config.initiator.path_grouping_policy,
                "Networks": ", ".join(f"{n.name} {n.subnet}" for n in topology.networks),
            },
            console=lambda name: f"the {name} is an existing machine, whose console is not read",
        )
        testbed.lacking = attached.lacking
        testbed.watch()
        return prove(testbed)


def where(config: Config) -> str:
    """Which machine the initiator is on."""
    ssh = config.initiator.ssh
    return f"{ssh.user}@{ssh.host}:{ssh.port}, an existing machine" if ssh else "this very host"


def machine_of(config: Config) -> Machine:
    """The initiator's machine, reached. Raises HarnessError if it cannot be."""
    ssh = config.initiator.ssh
    if ssh is None:
        return LocalMachine(Role.INITIATOR.value)
    key = Path(ssh.key).expanduser()
    if not key.exists():
        raise InitiatorError(f"initiator.ssh.key: {key} is not there")
    endpoint = SshEndpoint(ssh.host, ssh.port, ssh.user, key, ssh.host_key)
    with step(f"Log in to {endpoint}", Spent.PROVISIONING):
        return SshMachine.connect(
            Role.INITIATOR.value, endpoint, Deadline.after(_CONNECT_TIMEOUT_S)
        )


def nics_of(machine: Machine, topology: Topology) -> dict[str, str]:
    """The device that has the initiator's address of a link, by link.

    Raises InitiatorError for an address that the machine has not, and for two links on one NIC,
    whatever is made on it: VLANs, macvlans, bonds, bridges or virtual functions.
    """
    listing = machine.run(["ip", "-oneline", "address"]).stdout
    have = {words[3].partition("/")[0]: words[1] for words in map(str.split, listing.splitlines())}
    missing = [link for link in topology.links if str(link.address) not in have]
    if missing:
        wanted = ", ".join(f"{link.address} (network {link.network})" for link in missing)
        raise InitiatorError(
            f"{machine.name} has no address {wanted}; it has {', '.join(sorted(have))}",
            hint="networks.N.initiator is the address that the machine has on that network",
        )
    nics = {link.name: have[str(link.address)] for link in topology.links}
    below = parse_lower(machine.sh(LOWER_SCRIPT).stdout)
    if problems := link_problems(topology, nics, below):
        causes = "; ".join(problem.cause for problem in problems)
        raise InitiatorError(f"{machine.name} has {causes}", hint=problems[0].cure)
    return nics


@contextmanager
def existing_provisioner(config: Config) -> Iterator[ExistingProvisioner]:
    """Ready to make testbeds of an existing machine."""
    yield ExistingProvisioner(config, plan(config))
