"""A testbed that is ready for I/O, and what tests do with it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from harness.concurrency import side_by_side
from harness.config import Config
from harness.errors import (
    BrokenTestbed,
    FaultError,
    HypervisorError,
    LabCannot,
    MachineError,
    TimedOut,
    WorkloadError,
    summary,
)
from harness.faults import (
    Fault,
    InitiatorDrop,
    Injection,
    SilentDrop,
    Together,
    heal_everything,
    injected,
    least_loss_of,
)
from harness.lacking import Lacking
from harness.machine import Machine
from harness.measurements import PlannedSession, SessionSettings
from harness.observe import Observer, Watch
from harness.preflight import End
from harness.steps import Spent, step
from harness.target import Target
from harness.testbed import proofs
from harness.testbed.guest import Guest
from harness.testbed.guest_disks import disk_names
from harness.testbed.io_session import IoSession
from harness.testbed.lun_layout import Layout
from harness.testbed.map_view import (
    MapView,
    access_states_of,
    path_taken_away,
    wait_for_all_but,
    wait_for_paths,
    wait_until_lost,
)
from harness.testbed.means import lacking, possible
from harness.testbed.proofs import mark_target
from harness.testbed.target_vm import TargetVm
from harness.topology import Role, Topology, called
from harness.transport import Initiator, PathDisk, SeenState
from harness.workload import Job

if TYPE_CHECKING:
    from harness.hypervisor.domain import Domain

_FIRST = Role.INITIATOR.value


class Testbed:
    """Target, initiators, networks and maps. Implements `harness.faults.Lab`.

    Its machines go by their names; those of the first two are "target" and "initiator". `lacking`
    is what it does without, as the preflight found.
    """

    __test__ = False  # not a test class, whatever pytest may think of the name

    def __init__(
        self,
        config: Config,
        topology: Topology,
        *,
        guests: Mapping[str, Guest],
        target: Target,
        initiators: Mapping[str, Initiator],
        paths: Mapping[str, Sequence[PathDisk]],
        environment: Mapping[str, str],
        console: Callable[[str], str],
    ) -> None:
        self.config = config
        self.topology = topology
        self.target = target
        self.initiators = dict(initiators)
        self.layout = Layout.planned(config.workload, topology, config.profile)
        self.environment = {**environment, **self.layout.paces()}
        self.broken: str | None = None
        self.lacking: tuple[Lacking, ...] = ()
        self._guests = guests
        self._console = console
        self._io: IoSession | None = None
        self._fault: Fault | None = None
        attachments = {
            (name, lun.number): attachment
            for name, initiator in initiators.items()
            for lun, attachment in zip(topology.of(name).luns, initiator.attachments, strict=True)
        }
        self.maps = tuple(
            MapView(
                self.observer(one.machine),
                one,
                attachments[one.machine, one.lun.number],
                paths[one.name],
                lambda: self._io,
            )
            for one in topology.maps
        )

    @property
    def initiator(self) -> Initiator:
        """The first initiator: the only one, unless the configuration lists more."""
        return self.initiators[self.topology.initiators[0]]

    @property
    def map(self) -> MapView:
        """The first map: the only one, unless there are several LUNs or initiators."""
        return self.maps[0]

    @property
    def machines(self) -> tuple[str, ...]:
        """The names of the machines that commands run on: not that of an external target."""
        return tuple(self._guests)

    def machine(self, name: str) -> Machine:
        return self._guests[name].machine

    def observer(self, machine: str) -> Observer:
        return self._guests[machine].observer

    def domain(self, machine: str) -> Domain:
        """The hypervisor's end of a machine. Raises HypervisorError for an existing machine."""
        domain = self._guests[machine].domain
        if domain is None:
            raise HypervisorError(f"{called(machine)} is an existing machine, and no VM")
        return domain

    @property
    def domains(self) -> dict[str, Domain]:
        """The domain of every machine that is a VM of the testbed, by the machine's name."""
        guests = self._guests.values()
        return {guest.machine.name: guest.domain for guest in guests if guest.domain is not None}

    def answers(self, machine: str, within_s: float) -> bool:
        """Whether a machine is alive: its observer answers, or else, if that has ended, a shell."""
        observer = self.observer(machine)
        if observer.answers(within_s / 2):
            return True
        if not observer.ended:
            return False
        try:
            self.machine(machine).run(["true"], timeout_s=within_s / 2)
        except (MachineError, TimedOut):
            return False
        return True

    def console(self, machine: str) -> str:
        """The end of what a machine wrote to its serial console."""
        return self._console(machine)

    def power_off(self) -> None:
        """Pull the plug of every VM of the testbed: whatever waits for them ends with an error.

        Raises HypervisorError if there is none.
        """
        if not self.domains:
            raise HypervisorError("the testbed has no VM that could be powered off")
        side_by_side(*(domain.destroy for domain in self.domains.values()))

    def nics(self, machine: str) -> dict[str, str]:
        """The machine's name of each data NIC, by its name in the topology."""
        return dict(self._guests[machine].nics)

    def nic(self, machine: str, link: str) -> str:
        return self._guests[machine].nics[self.topology.nic_at(machine, link).name]

    def set_link(self, machine: str, link: str, *, up: bool) -> None:
        self.domain(machine).set_link(self.topology.nic_at(machine, link).mac, up=up)

    @property
    def target_vm(self) -> TargetVm:
        """The hypervisor's end of the target. Raises HypervisorError if it is no VM of the run."""
        return TargetVm(self.domain(Role.TARGET), self.config.target, self.topology)

    def access_states(self, paths: Collection[str]) -> list[tuple[str, SeenState]]:
        return access_states_of(self.maps, paths)

    def session_settings(self, initiator: str = _FIRST) -> tuple[SessionSettings, ...]:
        """The effective timeouts of every session of an initiator, read from sysfs now.

        Sessions with the target that are on no path are for the preflight to tell of.
        """
        return self.initiators[initiator].session_settings()

    def planned_sessions(self, initiator: str = _FIRST) -> tuple[PlannedSession, ...]:
        """One session for each path and target, with what the profile demands of it."""
        return self.initiators[initiator].planned_sessions()

    def preflight(self, *, wiring: bool = True) -> None:
        """Make sure that it is fit to be written to. Raises PreflightFailed, with each cure.

        Without `wiring` NICs and routes are left out.
        """
        guests = self._guests if wiring else {}
        ends = {name: End(name, guest.machine, guest.nics) for name, guest in guests.items()}
        self.lacking = proofs.require_all_fit(self.initiators, self.target, ends)

    def watch(self) -> None:
        """Tell each observer what its samples shall hold."""
        for name in self.machines:
            nics = tuple(self._guests[name].nics.values())
            own = [c for c in self.topology.cables if name in {Role.TARGET, c.machine}]
            cables = tuple(self.nic(name, cable.name) for cable in own)
            if name == Role.TARGET:
                what = Watch(self.lab_disks, nics=nics, cables=cables)
            else:
                maps = [one for one in self.maps if one.machine == name]
                disks = tuple(path.disk for one in maps for path in one.paths)
                names = tuple(one.attachment.map_name for one in maps)
                what = Watch(disks, names, nics, cables)
            self.observer(name).watch(what)

    @property
    def lab_disks(self) -> tuple[str, ...]:
        """What the target calls the disks that the lab lends to it."""
        if Role.TARGET not in self.machines:
            return ()
        return disk_names(Role.TARGET, self.config.target, self.topology)

    @contextmanager
    def io(self, jobs: Sequence[Job], *, within_s: float | None = None) -> Iterator[IoSession]:
        """Run I/O on every map for the length of the block, and measure it.

        Each job runs on every LUN of every initiator, with its share of the pace: in an initiator's
        own part of a LUN that others write to, and only reads where the target refuses writes.

        What is not over `within_s`, by default `workload.limit_s`, is ended and judged as it
        is, within 60 s if there is one LUN: see `harness.testbed.watchdog`.

        A failure in here makes the testbed unusable for later tests: what was cleared up in
        haste is not what they expect.
        """
        limit_s = self.config.workload.limit_s if within_s is None else within_s
        session = IoSession(self, jobs, limit_s)
        self._io = session
        try:
            with session.running():
                yield session
            if session.cut_short:
                self.broken = session.cut_short
        except Exception as error:
            self.broken = summary(error)
            raise
        finally:
            self._io = None

    @contextmanager
    def fault(self, fault: Fault) -> Iterator[Injection]:
        """Break something for the length of the block; the I/O in progress takes note."""
        if reason := lacking(self.config, fault.needs):
            raise LabCannot(f"{fault.name} is not possible here: {reason}")
        if self._fault is not None:
            raise FaultError(
                f"{fault.name} cannot be injected while {self._fault.name} lasts: it would be "
                "unknown which of them caused a stall",
                hint="Together(…) injects several faults as one",
            )
        session = self._io
        note = session.note_fault if session is not None else lambda _: None
        self._fault = fault
        try:
            with injected(fault, self, note) as injection:
                yield injection
        finally:
            self._fault = None

    def fail_over(self, fault: Fault, *, during_s: float, after_s: float) -> None:
        """Inject a fault, wait until its paths have failed, heal it, wait until all are back.

        I/O runs on `during_s` seconds while the paths are failed, or longer if the fault takes
        longer, or less if it must not last so long; and `after_s` once all are active again, which
        is a phase of its own. Paths that may go on are not waited for, nor those that only wait.
        """
        io = self._require_io()
        at_most_s = fault.at_most_s(io.bears_s)
        lasts_s = max(during_s, fault.lasts_s)
        with self.fault(fault):
            lost = fault.loses(self.topology)
            if lost and not fault.limps(self.topology):
                self.wait_for_all_but(lost)
            io.run_for(seconds=min(lasts_s, at_most_s), exactly=at_most_s < lasts_s)
        self.wait_for_all_but(())
        io.start_phase()
        io.run_for(seconds=after_s)

    def wait_for_paths(
        self,
        *,
        active: int,
        failed: int = 0,
        timeout_s: float | None = None,
        spent_on: Spent = Spent.WAITING,
    ) -> None:
        """Wait until every map has that many paths in each state. Raises CutShort in the end."""
        wait_for_paths(
            *(self.maps, self._io),
            active=active,
            failed=failed,
            timeout_s=timeout_s,
            spent_on=spent_on,
        )

    def wait_for_all_but(self, lost: Collection[str], *, spent_on: Spent = Spent.WAITING) -> None:
        """Wait until these paths have failed and all others are active. Raises CutShort."""
        wait_for_all_but(self.maps, self._io, lost, spent_on=spent_on)

    def wait_until_lost(self, paths: Sequence[str]) -> None:
        """Wait until no map has these paths active. Raises CutShort in the end."""
        wait_until_lost(self.maps, self._io, paths)

    def _require_io(self) -> IoSession:
        if self._io is None:
            raise WorkloadError("no I/O runs: call it inside `with testbed.io(…)`")
        return self._io

    def silent_drop(self, portal: str) -> Fault:
        """A portal that falls silent: by the initiator if the target is external."""
        fault = SilentDrop(portal)
        return InitiatorDrop(portal) if lacking(self.config, fault.needs) else fault

    def all_paths_lost(self) -> Fault:
        """Every portal falls silent at once."""
        return Together(tuple(self.silent_drop(one.name) for one in self.topology.portals))

    def least_loss_of(self, path: str) -> Fault:
        """What is possible here and takes that path, and as few others as can be.

        Raises LabCannot if whatever takes it leaves no other.
        """
        loss = least_loss_of(self.topology, path, possible(self.config))
        if loss is None:
            raise LabCannot(f"nothing that is possible here takes path {path} and leaves another")
        return loss

    def without_path(self, name: str) -> AbstractContextManager[None]:
        """Take a healthy path out of every map for the length of the block."""
        initiator = self.topology.path(name).machine
        maps = [one for one in self.maps if one.machine == initiator]
        return path_taken_away(maps, name, len(self.topology.of(initiator).paths))

    def make_ready(self) -> None:
        """Heal whatever may be broken, and wait until every path is active and leads to the target.

        Raises BrokenTestbed with the first cause if that is beyond repair.
        """
        if self.broken:
            raise BrokenTestbed(f"the testbed broke in an earlier test: {self.broken}")
        with step("Make sure that the testbed is intact", Spent.PROVISIONING):
            self.heal()
            self.wait_for_all_but((), spent_on=Spent.PROVISIONING)
            self.preflight()  # a path that came back has logged in anew
            self._look_at_the_paths()
            self.prove_target()

    def _look_at_the_paths(self) -> None:
        """Take note of the disks that paths have by now: those that came back may have others."""
        found = [one.attachment.paths() for one in self.maps]
        if found != [one.paths for one in self.maps]:
            for one, paths in zip(self.maps, found, strict=True):
                one.paths = paths
            self.watch()

    def heal(self) -> None:
        """Heal every kind of fault that is possible here, everywhere, be it there or not."""
        heal_everything(self, possible(self.config))

    def prove_target(self, marks: Sequence[bytes] = ()) -> None:
        """See over each path what the target's machine has just written to each LUN's first block.

        These are `marks`, if they were written already. Raises PreflightFailed for a path that
        leads to another LUN, whatever its name and WWID. An external target has no machine that
        could write; there `claim` marks the LUNs.
        """
        if Role.TARGET in self.machines:
            marks = marks or mark_target(self.machine(Role.TARGET), self.target)
            proofs.require_marks(marks, self.maps)

    def prove_paths(self) -> None:
        """Read the same stretch of each LUN over each path separately: all must agree.

        Raises InitiatorError if they don't, which means different disks behind one WWID.
        """
        proofs.require_same_data(self.maps)
