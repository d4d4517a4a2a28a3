"""What was seen of one LUN on one initiator during one test, before it is put on one clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.measurements import (
    FaultRecord,
    PlannedSession,
    ProcessorTime,
    ReadBack,
    SessionSettings,
    WriteHistory,
)
from harness.observe import Observation
from harness.testbed.histories import history_of
from harness.testbed.lun_io import LunIo, with_targets
from harness.testbed.phases import Phases
from harness.testbed.protocols import MeasuredTestbed
from harness.testbed.witness import Witness
from harness.timeline import Phase
from harness.topology import Role
from harness.transport import PathDisk, Transport, transport_for
from harness.workload import RunResult


@dataclass(frozen=True)
class LinkEnd:
    """The initiator's `nic` of a link, and the names of the paths over it."""

    link: str
    nic: str
    paths: tuple[str, ...]


@dataclass(frozen=True)
class Raw:
    """Everything that was seen of one LUN on one initiator during one test.

    `map` is the name of its map. `observations` are those of that initiator and of the target.
    `cables`: link -> the NIC at each end, by machine. `lab_disks` are disks of the target.
    """

    transport: Transport
    lun: str
    map: str
    result: RunResult
    observations: Mapping[str, Observation]
    paths: Sequence[PathDisk]
    phases: tuple[Phase, ...]
    settings: tuple[SessionSettings, ...]
    planned: tuple[PlannedSession, ...]
    faults: tuple[FaultRecord, ...]
    read_back: ReadBack | None
    path_listings: Mapping[str, str]
    machines: tuple[str, ...]
    existing: tuple[str, ...]
    processors: ProcessorTime | None = None
    cut_short: str = ""
    max_stall_s: float | None = None
    errors_forced: bool = False
    settings_after: tuple[SessionSettings, ...] | None = None
    cables: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    links: tuple[LinkEnd, ...] = ()
    lab_disks: tuple[str, ...] = ()
    history: WriteHistory | None = None
    initiator: str = Role.INITIATOR.value
    read_only: bool = False


def raw_of(
    testbed: MeasuredTestbed,
    witness: Witness,
    phases: Phases,
    of: LunIo,
    result: RunResult,
    seen: Mapping[str, Observation],
) -> Raw:
    """Take what belongs to a LUN out of what was seen of all machines, by their names."""
    budget, planned, sessions = testbed.config.budget, of.map.planned, witness.seen[of.machine]
    iqns = testbed.topology.iqns_of(planned.lun)
    settings, after = with_targets(iqns, sessions.settings), sessions.settings_after
    ends = (Role.TARGET, of.machine)
    return Raw(
        transport=transport_for(testbed.config),
        lun=planned.lun.name,
        initiator=of.machine,
        read_only=planned.read_only,
        map=of.map.attachment.map_name,
        result=result,
        observations={name: one for name, one in seen.items() if name in ends},
        paths=of.map.paths,
        phases=phases.over(of.machine),
        settings=settings,
        planned=with_targets(iqns, sessions.planned),
        settings_after=None if after is None else with_targets(iqns, after),
        faults=tuple(
            injection.on(of.machine).record(settings, budget.slack_s, sessions.allowances)
            for injection in phases.injections
        ),
        read_back=of.reading.back if of.reading else None,
        history=history_of(of, result),
        path_listings=witness.path_listings[planned.name],
        machines=tuple(name for name in witness.machines if name in ends),
        existing=witness.existing,
        processors=witness.processors,
        cut_short=of.cut_short,
        max_stall_s=budget.max_stall_s,
        errors_forced=of.errors_forced,
        lab_disks=testbed.lab_disks,
        cables={
            cable.name: {end: testbed.nic(end, cable.name) for end in ends}
            for cable in testbed.topology.of(of.machine).cables
        },
        links=_links(testbed, of.machine),
    )


def _links(testbed: MeasuredTestbed, initiator: str) -> tuple[LinkEnd, ...]:
    """The initiator's end of each link that has paths."""
    topology = testbed.topology.of(initiator)
    return tuple(
        LinkEnd(link.name, testbed.nic(initiator, link.name), paths)
        for link in topology.links
        if (paths := topology.over_link(link.name))
    )
